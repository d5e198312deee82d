# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import combinations, permutations, product
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import (
    PREFERENCES,
    Match,
    Network,
    Rule,
    rules_of,
    undecided,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match_options import parse_match
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
SIDES = ("src", "dst")


class Packet(NamedTuple):
    """A packet; ``version`` 0 has no IP header."""

    mark: int
    vlan: int | None
    version: int
    dscp: int
    proto: int
    src: Any
    dst: Any
    src_port: int
    dst_port: int


def fits(match: Match, packet: Packet) -> bool:
    if match.fwmark and packet.mark & match.fwmark[1] != match.fwmark[0]:
        return False
    if match.vlan not in (None, packet.vlan):
        return False
    if match.families and packet.version not in match.families:
        return False
    numbers = ((match.dscp, packet.dscp), (match.ip_proto, packet.proto))
    networks = ((match.src, packet.src), (match.dst, packet.dst))
    ports = ((match.src_port, packet.src_port), (match.dst_port, packet.dst_port))
    return (
        all(wanted in (None, value) for wanted, value in numbers)
        and all(network is None or address in network for network, address in networks)
        and all(span is None or span[0] <= port <= span[1] for span, port in ports)
    )


def packets(*matches: Match) -> Iterator[Packet]:
    """Give packets enough that one of them fits all of the matches if any packet does."""
    marks = [0]
    for match in matches:
        marks += [mark | match.fwmark[0] for mark in marks] if match.fwmark else []

    def values(name: str, usual: Any) -> set[Any]:
        return {usual, *(getattr(match, name) for match in matches)} - {None}

    for version in (0, 4, 6):
        usual = ipaddress.ip_address("::1" if version == 6 else "127.0.0.1")
        addresses = [
            {
                usual,
                *(
                    each.network_address
                    for match in matches
                    if (each := getattr(match, name)) and each.version == usual.version
                ),
            }
            for name in SIDES
        ]
        ports = [
            {9, *(span[0] for match in matches if (span := getattr(match, name)))} for name in ("src_port", "dst_port")
        ]
        yield from map(
            Packet._make,
            product(
                marks,
                {None, *values("vlan", 7)},
                [version],
                values("dscp", 9),
                values("ip_proto", 99),
                *addresses,
                *ports,
            ),
        )


def networks(version: int) -> st.SearchStrategy[Network | None]:
    texts = {
        4: ["10.0.0.0/8", "10.16.0.0/12", "10.0.0.1/32", "192.0.2.0/24"],
        6: ["2001:db8::/32", "2001:db8::/64", "fe80::/16"],
    }
    return st.sampled_from([None, *map(ipaddress.ip_network, texts[version])])


@st.composite
def matches(draw: st.DrawFn) -> Match:
    if draw(st.integers(0, 4)) == 0:
        mask = draw(st.sampled_from([0xFFFFFFFF, 0xFF, 0xF0, 0xF]))
        value = draw(st.sampled_from([0x1, 0x11, 0x10, 0x20]).filter(lambda value: not value & ~mask))
        return Match(fwmark=(value, mask))
    version = draw(st.sampled_from([4, 6]))
    src, dst = draw(networks(version)), draw(networks(version))
    protocols = [None, TCP, UDP]
    if src or dst:
        protocols.append(ICMP if version == 4 else ICMPV6)
    else:
        protocols += [ICMP, ICMPV6]
    proto = draw(st.sampled_from(protocols))
    ports = st.sampled_from([None, (80, 80), (80, 81), (81, 90), (1, 65535)]) if proto in (TCP, UDP) else st.none()
    vlan, dscp = draw(st.sampled_from([None, 0, 10, 20])), draw(st.sampled_from([None, 0, 8, 46]))
    match = Match(None, vlan, dscp, src, dst, proto, draw(ports), draw(ports))
    return match if match.options() else Match(vlan=10)


def rank(match: Match) -> tuple[bool, int]:
    return (True, bin(match.fwmark[1]).count("1")) if match.fwmark else (False, match.bits)


@given(matches(), matches())
def test_matches_overlap_when_a_packet_fits_both(one: Match, other: Match) -> None:
    there_is = any(fits(one, packet) and fits(other, packet) for packet in packets(one, other))
    assert one.overlaps(other) == other.overlaps(one) == there_is


@given(st.dictionaries(matches(), st.integers(1, 3), max_size=12))
def test_all_that_is_undecided_is_found(owners: dict[Match, int]) -> None:
    found = [frozenset(pair) for pair in undecided(owners)]
    assert len(set(found)) == len(found)
    assert set(found) == {
        frozenset((one, other))
        for one, other in combinations(owners, 2)
        if owners[one] != owners[other] and rank(one) == rank(other) and one.overlaps(other)
    }


# They fix 8, 24 or 32 bits, and look at frames of both IP versions, or of one that their options may not show.
ALIKE = [
    {"ip_proto": "icmp"},
    {"ip_proto": "icmpv6"},
    {"ip_proto": "tcp"},
    {"ip_proto": "udp"},
    *({side: network} for side in SIDES for network in ("10.0.0.0/8", "11.0.0.0/8", "fd00::/8")),
    {"ip_proto": "tcp", "dst_port": "80"},
    {"ip_proto": "tcp", "dst_port": "81"},
    {"ip_proto": "tcp", "src_port": "81"},
    {"ip_proto": "udp", "dst_port": "80"},
    {"ip_proto": "icmp", "dst": "10.0.0.0/16"},
    {"ip_proto": "icmpv6", "dst": "fd00::/16"},
    {"src": "10.0.0.0/8", "dst": "10.0.0.0/16"},
    {"src": "fd00::/24"},
    *({"ip_proto": "tcp", "dst": "10.0.0.0/11", "dst_port": ports} for ports in ("76-80", "80-87", "81-88")),
    {"ip_proto": "tcp", "dst": "10.0.0.0/10", "dst_port": "80-83"},
    {"ip_proto": "tcp", "dst": "10.0.0.0/13", "dst_port": "70-100"},
    {"vlan": 10, "dscp": "cs1", "dst": "8.0.0.0/6"},
]


@given(st.lists(st.sampled_from(ALIKE), unique_by=str, max_size=12))
def test_all_that_is_undecided_is_found_whatever_comes_first(options: list[dict[str, Any]]) -> None:
    problems = Problems()
    owners = {match: index for index, each in enumerate(options) if (match := parse_match(each, "match.", problems))}
    assert {frozenset(pair) for pair in undecided(owners)} == {
        frozenset(pair)
        for pair in combinations(owners, 2)
        if rank(pair[0]) == rank(pair[1])
        and any(all(fits(match, packet) for match in pair) for packet in packets(*pair))
    }


def test_an_order_in_which_a_protocol_of_one_ip_version_comes_first() -> None:
    icmp, tcp, ours = Match(ip_proto=ICMP), Match(ip_proto=TCP), Match(src=ipaddress.ip_network("fd00::/8"))
    for order in permutations((icmp, tcp, ours)):
        (pair,) = undecided({match: index for index, match in enumerate(order)})
        assert set(pair) == {tcp, ours}


@pytest.mark.parametrize("ports", [1, 4, 7])
def test_matches_that_have_nothing_in_common_are_not_compared(ports: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(Match, "overlaps", lambda self, other: compared.append((self, other)))
    spans = [(first, first + ports - 1) for first in range(1, 1000 * ports, ports)]
    owners = {Match(ip_proto=proto, dst_port=span): span[0] for proto in (TCP, UDP) for span in spans}
    owners.update((Match(fwmark=(mark, 0xFFFF)), mark) for mark in range(1, 1000))
    # Two of one owner are no pair, however many there are.
    wide = {Match(**{side: ipaddress.ip_network(f"10.{number}.0.0/23")}) for side in SIDES for number in range(200)}
    owners.update(dict.fromkeys(wide, 0))
    assert not list(undecided(owners))
    assert len(compared) <= 2 * len(spans)


def seen_by(packet: Packet, rule: Rule) -> bool:
    """Whether the kernel asks this filter about such a frame."""
    return rule.tagged in (None, packet.vlan is not None) and rule.family in (0, packet.version)


@given(matches(), matches())
def test_the_match_that_wins_is_the_one_that_fixes_more(one: Match, other: Match) -> None:
    loser, winner = sorted((one, other), key=rank)
    for packet in packets(one, other):
        asked = sorted(
            (rule.preference, match == winner)
            for match in dict.fromkeys((one, other))
            for rule in rules_of(match)
            if seen_by(packet, rule) and fits(match, packet)
        )
        assert len(asked) == len({match for match in (one, other) if fits(match, packet)})
        if asked and rank(winner) > rank(loser):
            assert asked[0][1] == fits(winner, packet)
    assert all(rule.preference in PREFERENCES for match in (one, other) for rule in rules_of(match))


@given(matches())
def test_a_match_is_written_as_it_may_be_pasted_back(match: Match) -> None:
    problems = Problems()
    assert parse_match(match.options(), "match[0].", problems) == match
    assert problems.found == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"fwmark": "16"}, Match(fwmark=(16, 0xFFFFFFFF))),
        ({"fwmark": "0x10/0xFF"}, Match(fwmark=(16, 0xFF))),
        ({"dscp": "EF", "vlan": 0}, Match(dscp=46, vlan=0)),
        ({"dscp": "0"}, Match(dscp=0)),
        ({"src": "10.0.0.0/255.0.0.0"}, Match(src=ipaddress.ip_network("10.0.0.0/8"))),
        ({"dst": "2001:DB8::1"}, Match(dst=ipaddress.ip_network("2001:db8::1/128"))),
        ({"ip_proto": "132", "src_port": "443"}, Match(ip_proto=132, src_port=(443, 443))),
        ({"ip_proto": "tcp", "dst_port": "8000-8999", "src": None}, Match(ip_proto=6, dst_port=(8000, 8999))),
    ],
)
def test_what_is_written_is_understood(options: dict[str, Any], match: Match) -> None:
    problems = Problems()
    assert parse_match(options, "match[0].", problems) == match
    assert problems.found == []


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({}, "match[0] {}: matches nothing in particular; name one of fwmark, vlan, dscp, src,"),
        ({"vlan": 4095}, "match[0].vlan 4095: a VLAN id is from 0 to 4094, as IEEE 802.1Q keeps this one for itself"),
        ({"vlan": -1}, "match[0].vlan -1: a VLAN id is from 0 to 4094"),
        ({"fwmark": "x"}, "match[0].fwmark 'x': not a mark of 32 bits"),
        ({"fwmark": "1/"}, "not a mark of 32 bits"),
        ({"fwmark": "010"}, "not a mark of 32 bits"),
        ({"fwmark": "4294967296"}, "not a mark of 32 bits"),
        ({"fwmark": "0"}, "no filter for a mark of 0"),
        ({"fwmark": "0x110/0xff"}, "the mask leaves no mark that could be 0x110; write 0x110/0x1ff, or 0x110 for that"),
        ({"fwmark": "1", "vlan": 5, "dscp": "ef"}, "looks at nothing else, so vlan and dscp cannot stand beside it"),
        ({"dscp": "64"}, "match[0].dscp '64': neither a number from 0 to 63 nor a known name"),
        ({"dscp": "gold"}, "match[0].dscp 'gold': neither"),
        ({"ip_proto": "256"}, "match[0].ip_proto '256': neither a number from 0 to 255"),
        ({"ip_proto": "tcp", "dst_port": "0"}, "match[0].dst_port '0': not a port from 1 to 65535"),
        ({"ip_proto": "tcp", "dst_port": "1-65536"}, "not a port from 1 to 65535, nor a range"),
        ({"ip_proto": "tcp", "dst_port": "http"}, "not a port"),
        ({"ip_proto": "tcp", "dst_port": "90-80"}, "'90-80': the range ends before it begins; write 80-90."),
        ({"dst_port": "80"}, "has ports has one; give match[0].ip_proto: tcp or udp or sctp."),
        ({"ip_proto": "icmp", "src_port": "80"}, "match[0].src_port '80': only a packet of a protocol that has ports"),
        ({"src": "10.1.0.0/8"}, "not a network; write 10.0.0.0/8 for the network, or 10.1.0.0 for the address."),
        ({"src": "10.0.0.0/33"}, "match[0].src '10.0.0.0/33': not an IP network"),
        ({"src": "fe80::1%eth0"}, "not an IP network"),
        ({"src": "host.example"}, "not an IP network"),
        ({"src": "10.0.0.1", "dst": "::1"}, "match[0].dst '::1/128': no packet goes from IPv4 to IPv6"),
        ({"src": "10.0.0.1", "ip_proto": "icmpv6"}, "match[0].src '10.0.0.1/32': icmpv6 is of IPv6"),
        ({"dst": "::1", "ip_proto": "1"}, "match[0].dst '::1/128': icmp is of IPv4"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], fragment: str) -> None:
    problems = Problems()
    assert parse_match(options, "match[0].", problems) is None
    (problem,) = problems.found
    assert fragment in problem
