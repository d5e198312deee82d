# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from ipaddress import ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import TAGGED, Filter
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule, rules_of
from ansible_collections.virtnet.qos.plugins.module_utils._tc_filters import (
    U32_CLASSID,
    Encoded,
    Filters,
    filters_of,
    lifter,
    rule,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    KIND,
    OPTIONS,
    Message,
    attribute,
    attributes,
    nested,
)

MAJOR = 0x1389
CLASSID = MAJOR << 16 | 5


def told(said: Encoded, handle: int = 9, info: int | None = None, more: bytes = b"") -> Message:
    """Return a filter as if a kernel told just what it was sent."""
    data = attribute(KIND, said.kind.encode() + b"\0") + attribute(OPTIONS, said.options) + more
    return Message(3, handle, MAJOR << 16, said.info if info is None else info, data)


def changed(said: Encoded, changes: dict[int, bytes | None]) -> Encoded:
    options = {**attributes(said.options), **changes}
    return said._replace(options=nested({key: value for key, value in options.items() if value is not None}))


def read(*messages: Message) -> Filters:
    return filters_of(MAJOR, messages)


def networks(version: int) -> st.SearchStrategy[object]:
    size = 32 if version == 4 else 128
    addresses = st.ip_addresses(v=4) if version == 4 else st.ip_addresses(v=6)
    # A network of everything is no part of a match: no kernel would tell of it.
    return st.builds(lambda ip, bits: ip_network((ip, bits), strict=False), addresses, st.integers(1, size))


PORTS = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda pair: (min(pair), max(pair)))


@st.composite
def matches(draw: st.DrawFn) -> Match:
    if draw(st.integers(0, 5)) == 0:
        mark = draw(st.integers(1, 2**32 - 1))  # no handle may be 0
        return Match(fwmark=(mark, mark | draw(st.integers(0, 2**32 - 1))))
    version = draw(st.sampled_from([4, 6]))
    protocol = draw(st.one_of(st.none(), st.integers(0, 255), st.sampled_from([6, 17, 132])))
    ports = st.one_of(st.none(), PORTS, st.integers(1, 65535).map(lambda port: (port, port)))
    with_ports = protocol in (6, 17, 132)
    return Match(
        vlan=draw(st.one_of(st.none(), st.integers(0, 4094))),
        dscp=draw(st.one_of(st.none(), st.integers(0, 63))),
        src=draw(st.one_of(st.none(), networks(version))),  # type: ignore[arg-type]
        dst=draw(st.one_of(st.none(), networks(version))),  # type: ignore[arg-type]
        ip_proto=protocol,
        src_port=draw(ports) if with_ports else None,
        dst_port=draw(ports) if with_ports else None,
    )


@given(matches())
def test_a_rule_is_read_as_it_was_sent(match: Match) -> None:
    assume(match != Match())
    for each in rules_of(match):
        handle = each.match.fwmark[0] if each.match.fwmark else 9
        assert read(told(rule(each, CLASSID), handle)) == Filters(rules={each: Filter(5, handle)})


VLAN = rule(Rule(Match(vlan=100), True), CLASSID)
INNER = rule(Rule(Match(vlan=100, dscp=46), True, 4), CLASSID)
SOURCE = rule(Rule(Match(src=ip_network("192.0.2.0/24")), False, 4), CLASSID)
PORT = rule(Rule(Match(ip_proto=6, dst_port=(80, 90)), False, 6), CLASSID)
MARK = rule(Rule(Match(fwmark=(9, 15)), None), CLASSID)


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        # What a kernel tells besides: flags that it is in no hardware, and how much is; the EtherType of a tag or not
        (VLAN, {22: struct.pack("=I", 8), 86: bytes(4)}),
        (VLAN, {8: None}),
        (INNER, {8: b"\x08\0"}),
        (INNER, {8: None}),
    ],
)
def test_what_the_kernel_adds_does_not_matter(said: Encoded, changes: dict[int, bytes | None]) -> None:
    assert read(told(changed(said, changes))).rules == read(told(said)).rules != {}


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        (VLAN, {1: None}),
        (VLAN, {1: struct.pack("=I", 1 << 16 | 5)}),
        (VLAN, {1: struct.pack("=I", MAJOR << 16)}),
        (VLAN, {23: None}),
        (VLAN, {8: b"\x08\0"}),
        (VLAN, {8: b"\x88\xa8"}),
        (VLAN, {24: b"\3"}),
        (VLAN, {3: b""}),
        (VLAN, {22: struct.pack("=I", 2)}),
        (VLAN, {25: b"\x08\0"}),
        (INNER, {25: b"\x08\6"}),
        (INNER, {25: None}),
        (INNER, {8: b"\x86\xdd"}),
        (INNER, {74: b"\xff"}),
        (INNER, {73: b"\xb9"}),
        (INNER, {74: None}),
        (SOURCE, {8: None}),
        (SOURCE, {11: b"\xff\0\xff\0"}),
        (SOURCE, {10: b"\xc0\0\2\1"}),
        (SOURCE, {10: b"\xc0\0\2"}),
        (SOURCE, {10: None, 11: None}),
        (PORT, {9: b"\x11", 90: None}),
        (PORT, {9: None}),
        (PORT, {90: b"\0"}),
        (PORT, {19: b"\0\1", 36: b"\xff\xff"}),
        (MARK, {5: struct.pack("=I", 7)}),
        (MARK, {3: b"eth0\0"}),
        (MARK, {4: b""}),
    ],
)
def test_what_does_more_or_less_is_not_ours(said: Encoded, changes: dict[int, bytes | None]) -> None:
    found = read(told(changed(said, changes)))
    assert not found.rules
    assert len(found.strays) == 1


def test_what_is_elsewhere_or_there_twice_is_not_ours() -> None:
    both = read(told(VLAN), told(VLAN, handle=10))
    assert (len(both.rules), [each.handle for each in both.strays]) == (1, [10])
    (stray,) = tuple(read(told(VLAN, info=VLAN.info + (3 << 16))).strays)
    assert (stray.kind, stray.preference, stray.protocol) == ("flower", (VLAN.info >> 16) + 3, TAGGED)
    assert len(read(told(VLAN, info=5999 << 16 | VLAN.info & 0xFFFF)).foreign) == 1
    assert len(read(told(VLAN, more=attribute(11, struct.pack("=I", 5)))).foreign) == 1
    assert read(told(VLAN, more=attribute(11, bytes(4)))).rules


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        *((kind, 1) for kind in ("basic", "flower", "fw", "matchall", "route", "rsvp", "rsvp6", "u32")),
        ("bpf", 3),
        ("flow", 3),
        ("tcindex", 5),
        ("cgroup", None),
        ("of somebody", None),
    ],
)
def test_where_a_filter_points_is_said_by_one_attribute_of_each_kind(kind: str, number: int | None) -> None:
    options = {other: struct.pack("=I", MAJOR << 16 | other) for other in range(1, 8)}
    (found,) = read(told(Encoded(kind, 3 << 16, nested(options)))).foreign
    assert (found.text, found.minor) == (f"{kind} filter 0x9 at preference 3", number)
    assert read(told(Encoded(kind, 3 << 16, b""))).foreign[0].minor is None
    (elsewhere,) = filters_of(MAJOR + 1, [told(Encoded(kind, 3 << 16, nested(options)))]).foreign
    assert elsewhere.minor is None


def test_what_is_attached_to_a_class_is_somebodys_whatever_it_is() -> None:
    for said in (VLAN, MARK, lifter()):
        message = told(said, handle=0x80000800)._replace(parent=MAJOR << 16 | 7)
        found = read(message)
        (each,) = found.foreign
        preference = said.info >> 16
        assert each.text == f"{said.kind} filter 0x80000800 at preference {preference} of class 1389:7"
        assert (each.preference, each.parent) == (preference, 7)
        assert found == Filters(foreign=[each])
    # u32's hash tables there are others.
    other = changed(lifter(), {U32_CLASSID: struct.pack("=I", CLASSID)})._replace(info=6100 << 16)
    there = told(other, 0x80000800)
    assert [stray.handle for stray in read(there, there._replace(parent=MAJOR << 16 | 7)).strays] == [0]


def test_what_is_no_filter_is_left_out() -> None:
    assert read(Message(3, 0, 0, VLAN.info, attribute(KIND, b"flower\0"))) == Filters()
    assert read(told(lifter(), handle=0x80000000)) == Filters()


def test_a_lifter_is_known_by_what_it_does() -> None:
    said, handle = lifter(), 0x80000800
    assert read(told(changed(said, {9: bytes(24), 11: bytes(4)}), handle)).lifts == {TAGGED: True}
    changes: list[dict[int, bytes | None]] = [{1: bytes(4)}, {5: bytes(32)}, {7: None}, {8: b"lo\0"}]
    for each in changes:
        assert read(told(changed(said, each), handle)).lifts == {TAGGED: False}
    assert read(told(said, handle), told(said, handle + 1)).lifts == {TAGGED: False}
