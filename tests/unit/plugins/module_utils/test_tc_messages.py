# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    TAGGED,
    Curve,
    Filter,
    HfscClass,
    Leaf,
    Stray,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    KIND,
    OPTIONS,
    ROOT,
    Message,
    attribute,
    attributes,
    split,
    tc_message,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_messages import (
    as_made,
    counters_by_class,
    request_of,
    roots_of,
    tree_of,
)
from ansible_collections.virtnet.qos.tests.kernel.scenarios import MAJOR, SCENARIOS, Scenario
from ansible_collections.virtnet.qos.tests.unit.recordings import recorded

CURVES = HfscClass(rt=Curve(1, 0, 2**32 - 1), ls=Curve(2**32 - 1, 10, 33), ul=Curve(2**32 - 2), parent=7)


def read(name: str, major: int = MAJOR) -> Tree:
    parts = recorded(name)
    return tree_of(major, Link("veth"), parts["qdisc"], parts["class"], parts["filter"])


def sent(step: Step) -> tuple[int, int, Message]:
    """Return the number and the flags of the request for a step, and what it says."""
    ((number, flags, sequence, body),) = split(request_of(step, 3, MAJOR, Link(), 77))
    assert sequence == 77
    message = tc_message(body)
    assert message
    assert message.device == 3
    return number, flags, message


@pytest.mark.parametrize(("name", "scenario"), SCENARIOS.items(), ids=SCENARIOS)
def test_what_a_kernel_told_is_read(name: str, scenario: Scenario) -> None:
    assert read(name) == scenario.tree


def test_a_quantum_that_no_new_leaf_was_given_is_the_default() -> None:
    limit, quantum, default = ("limit", 7), ("quantum", 300), ("quantum", 1518)
    made = {1: Leaf("fq_codel", 1, (limit,)), 2: Leaf("sfq", 2), 3: Leaf("fq_codel", 3, (quantum,))}
    steps = [Step("classes", 1, None, CURVES)] + [Step("leaves", minor, None, leaf) for minor, leaf in made.items()]
    steps += [Step("leaves", 4, Leaf("fq_codel", 4, (quantum,)), Leaf("fq_codel", 4))]
    steps += [Step("leaves", 5, None, Leaf("fq_codel", 5)), Step("leaves", 6, Leaf("fq_codel", 6), None)]
    told = {1: (limit, default), 2: (default,), 3: (quantum,), 4: (default,)}
    leaves = {minor: Leaf("sfq" if minor == 2 else "fq_codel", minor, options) for minor, options in told.items()}
    # The fourth was there before; the fifth somebody took away.
    assert as_made(Tree(leaves=leaves), steps) == Tree(leaves={**made, 4: leaves[4]})


def everything(tree: Tree) -> Iterator[Step]:
    for part in ("qdisc", "classes", "leaves", "filters"):
        for key, value in getattr(tree, part).items():
            yield Step(part, key, None, value)


@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if scenario.ours])
def test_what_is_sent_is_what_a_kernel_tells_of_it(name: str) -> None:
    told = recorded(name)
    parts = {"qdisc": "qdisc", "classes": "class", "leaves": "qdisc", "filters": "filter"}
    for step in everything(SCENARIOS[name].tree):
        number, flags, message = sent(step)
        assert (number in (36, 40, 44), flags) == (True, 0x605)  # REQUEST, ACK, CREATE, EXCL
        # The info of a filter says which it is; that of others, what the kernel wants to tell.
        (kernels,) = (
            attributes(each.data)
            for each in told[parts[step.part]]
            if each[1:3] == message[1:3] and (each.info == message.info or step.part != "filters")
        )
        ours = attributes(message.data)
        assert ours[KIND] == kernels[KIND]
        if step.part in ("qdisc", "classes"):
            assert ours[OPTIONS] == kernels[OPTIONS]
        elif step.part == "filters":
            said, known = attributes(ours[OPTIONS]), attributes(kernels[OPTIONS])
            # Of a tag, it tells the EtherType behind it; of a mark's mask, nothing where it is whole.
            untold = 5 if ours[KIND] == b"fw\0" else 8
            assert {key for key in said if said[key] != known.get(key)} <= {untold}
            assert known.keys() - said.keys() <= {8, 22, 86}  # EtherType, flags, count of hardware


def test_pyroute2_reads_what_is_sent_as_it_was_meant() -> None:
    for step, expected in (
        (Step("qdisc", MAJOR, None, 0x1388), {"handle": MAJOR << 16, "parent": ROOT}),
        (Step("classes", 0x64, None, CURVES), {"handle": MAJOR << 16 | 0x64, "parent": MAJOR << 16 | 7}),
        (Step("leaves", 0x64, None, Leaf("fq_codel", 5)), {"handle": 5 << 16, "parent": MAJOR << 16 | 0x64}),
    ):
        message = tcmsg(request_of(step, 3, MAJOR, Link(), 1))
        message.decode()
        assert {key: message[key] for key in expected} == expected
        assert (message["index"], message["family"], message["info"]) == (3, 0, 0)
        options = message.get_attr("TCA_OPTIONS")
        if step.part == "qdisc":
            assert (message.get_attr("TCA_KIND"), options["defcls"]) == ("hfsc", 0x1388)
        elif step.part == "classes":
            read = {
                name: options.get_attr(f"TCA_HFSC_{key}") for name, key in (("rt", "RSC"), ("ls", "FSC"), ("ul", "USC"))
            }
            curves = {name: Curve(each["m2"], each["m1"], each["d"]) for name, each in read.items()}
            assert HfscClass(**curves, parent=7) == CURVES
        else:
            assert (message.get_attr("TCA_KIND"), options) == ("fq_codel", None)


@pytest.mark.parametrize(
    ("step", "number", "handle", "info"),
    [
        (Step("root", 1, "htb 1:", None), 37, 1 << 16, 0),
        (Step("qdisc", MAJOR, 1, None), 37, MAJOR << 16, 0),
        (Step("classes", 0x64, CURVES, None), 41, MAJOR << 16 | 0x64, 0),
        (Step("leaves", 0x64, Leaf("sfq", 9), None), 37, 9 << 16, 0),
        (Step("filters", Rule(Match(fwmark=(7, 15)), None), Filter(1, 7), None), 45, 7, 6028 << 16 | 0x0300),
        (Step("lifts", TAGGED, True, None), 45, 0, 6040 << 16 | 0x0081),
        (Step("strays", Stray("", "basic", 16, 0x0003, 2, 1), True, None), 45, 2, 16 << 16 | 0x0300),
    ],
)
def test_taking_away(step: Step, number: int, handle: int, info: int) -> None:
    sent_number, flags, message = sent(step)
    assert (sent_number, flags, message.handle, message.info) == (number, 0x5, handle, info)
    assert OPTIONS not in attributes(message.data)


def test_what_is_there_is_changed_where_it_is() -> None:
    rule = Rule(Match(vlan=5), True)
    for step in (
        Step("qdisc", MAJOR, 1, 2),
        Step("classes", 5, HfscClass(), CURVES),
        Step("leaves", 5, Leaf("fq_codel", 5), Leaf("fq_codel", 5, (("limit", 7),))),
        Step("filters", rule, Filter(1, 9), Filter(2, 9)),
    ):
        number, flags, message = sent(step)
        assert (number in (36, 40, 44), flags) == (True, 0x5)
    assert message.handle == 9
    assert attributes(attributes(message.data)[OPTIONS])[1] == (MAJOR << 16 | 2).to_bytes(4, "little")


def test_another_handle_is_somebody_elses_root() -> None:
    tree = read("vdsm", 1)
    assert (tree.foreign.root, tree.qdisc, tree.classes) == ("hfsc 1389:", {}, {})
    assert [each.text for each in tree.foreign.qdiscs] == ["qdisc ingress ffff:"]


def test_roots_are_told_apart() -> None:
    assert [*roots_of(recorded("rules")["qdisc"]).values()] == [("hfsc", MAJOR)]
    assert [*roots_of(recorded("root")["qdisc"]).values()] == [("htb", 1)]
    assert roots_of(recorded("nothing")["qdisc"]) == {}


def test_what_a_qdisc_dropped_its_class_dropped() -> None:
    def told(handle: int, parent: int, drops: int, work: int) -> Message:
        basic = attribute(1, (50).to_bytes(8, "little") + (4).to_bytes(4, "little") + bytes(4))
        queue = attribute(3, b"".join(number.to_bytes(4, "little") for number in (2, 30, drops, 9, 6)))
        hfsc = attribute(4, work.to_bytes(8, "little") + (20).to_bytes(8, "little") + b"\1\0\0\0\0\0\0\0")
        return Message(3, handle, parent, 0, attribute(7, basic + queue + hfsc))

    classes = [told(MAJOR << 16, ROOT, 1, 60), told(MAJOR << 16 | 5, MAJOR << 16, 3, 60)]
    (counted,) = counters_by_class(MAJOR, classes, []).values()
    assert (counted.bytes, counted.packets, counted.drops, counted.overlimits) == (50, 4, 3, 6)
    assert (counted.queue, counted.backlog, counted.work, counted.realtime, counted.period) == (2, 30, 60, 20, 1)
    (counted,) = counters_by_class(MAJOR, classes, [told(5 << 16, MAJOR << 16 | 5, 8, 0)]).values()
    assert (counted.drops, counted.work) == (8, 60)
    old = b"".join(each.to_bytes(size, "little") for each, size in ((50, 8), *((n, 4) for n in (4, 3, 6, 0, 0, 2, 30))))
    (counted,) = counters_by_class(MAJOR, [Message(3, 5, 0, 0, attribute(3, old))], []).values()
    assert (counted.bytes, counted.packets, counted.drops, counted.overlimits) == (50, 4, 3, 6)
    assert (counted.queue, counted.backlog) == (2, 30)
    assert counters_by_class(MAJOR, [Message(3, 5, 0, 0, b"")], [])[5].packets == 0


@given(
    st.sampled_from(["qdisc", "class", "filter"]),
    st.sampled_from(["u32", "flower", "fw", "basic", "bpf", "hfsc", "fq_codel", "sfq", "pfifo", None]),
    st.one_of(
        st.binary(max_size=80),
        st.lists(st.tuples(st.integers(0, 90), st.binary(max_size=20))).map(
            lambda pairs: b"".join(attribute(*pair) for pair in pairs)
        ),
    ),
    st.sampled_from([0, 1, 0x80000800, 0x13890005, 0xFFFFFFFF]),
    st.tuples(
        st.sampled_from([0, 0x13890000, 0x13890001, 0xFFFFFFF1]),
        st.sampled_from(
            [4999 << 16 | 0x81, 6040 << 16 | 0x81, 6500 << 16 | 0x08, 5000 << 16 | 0x0300, 6000 << 16 | 0x0300]
        ),
    ),
)
def test_nothing_that_somebody_put_there_makes_reading_fail(
    part: str, kind: str | None, junk: bytes, handle: int, where: tuple[int, int]
) -> None:
    data = attribute(KIND, kind.encode() + b"\0") + attribute(OPTIONS, junk) if kind else junk
    parts: dict[str, Any] = recorded("classes")
    parts[part].append(Message(3, handle, *where, data))
    tree = tree_of(MAJOR, Link(), parts["qdisc"], parts["class"], parts["filter"])
    assert tree.classes.items() >= SCENARIOS["classes"].tree.classes.items() or part == "class"
    counters_by_class(MAJOR, parts["class"], parts["qdisc"])


@given(st.binary(max_size=100))
def test_nothing_that_comes_makes_taking_it_apart_fail(junk: bytes) -> None:
    for _number, _flags, _sequence, body in split(junk):
        tc_message(body)
    attributes(junk)
