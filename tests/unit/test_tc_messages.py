# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DRIFTED,
    TAGGED,
    Curve,
    ForeignFilter,
    HfscClass,
    Leaf,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step
from ansible_collections.virtnet.qos.plugins.module_utils._tc_messages import (
    NEWQDISC,
    NEWTCLASS,
    NEWTFILTER,
    TcMessage,
    attributes,
    backlog,
    message,
    message_of,
    tree_of,
)

MAJOR = 0x1389
CURVES = HfscClass(rt=Curve(1, 0, 2**32 - 1), ls=Curve(2**32 - 1, 10, 33), ul=Curve(2**32 - 2))


def dump(number: int) -> list[Any]:
    found = []
    for line in Path(__file__).with_suffix(".hex").read_text(encoding="ascii").splitlines():
        if line.startswith("#"):
            continue
        each = TcMessage(bytes.fromhex(line))
        each.decode()
        if each["header"]["type"] == number and each["index"] == 3:
            found.append(each)
    return found


def read() -> Tree:
    return tree_of(MAJOR, dump(NEWQDISC), dump(NEWTCLASS), dump(NEWTFILTER))


def sent(step: Step) -> Any:
    made = message_of(step, 3, MAJOR)
    made["header"]["sequence_number"] = 1
    made.encode()
    again = TcMessage(bytes(made.data))
    again.decode()
    return again


def test_a_dump_becomes_a_tree() -> None:
    tree = read()
    assert tree.qdisc == {MAJOR: 0x1388}
    assert tree.classes == {0x64: CURVES, 0x1388: HfscClass(ls=Curve(12_500_000))}
    assert tree.leaves == {0x64: Leaf("fq_codel", 0x64), 0x1388: Leaf("sfq", 0x1388)}
    assert tree.lifts == {TAGGED: True}
    assert tree.filters == {100: 0x64}


def test_what_is_not_ours_is_kept_apart() -> None:
    assert read().foreign.filters == (
        ForeignFilter("fw filter 0x3 at preference 7", 7, 0x1388),
        ForeignFilter("matchall filter 0x1 at preference 8", 8, 0x1388),
        ForeignFilter("basic filter 0x1 at preference 16", 16, 0x64),
        ForeignFilter("u32 filter 0x80100800 at preference 5000", 5000, 0x1388),
    )


def test_another_handle_is_somebody_elses_root() -> None:
    assert tree_of(1, dump(NEWQDISC), dump(NEWTCLASS), []).foreign.root == "hfsc 1389:"
    assert tree_of(1, dump(NEWQDISC), dump(NEWTCLASS), []).classes == {}


def changed(handle: int, kind: str, number: int, content: bytes | None) -> Tree:
    """Return the tree with an attribute in a filter's options added or changed, or taken away."""
    filters = dump(NEWTFILTER)
    for each in filters:
        if (each["handle"], each.get_attr("TCA_KIND")) == (handle, kind):
            options = {**attributes(each.get_attr("TCA_OPTIONS")), number: content}
            packed = [
                (4 + len(value)).to_bytes(2, "little") + key.to_bytes(2, "little") + value + bytes(-len(value) % 4)
                for key, value in options.items()
                if value is not None
            ]
            each["attrs"] = [["TCA_KIND", kind], ["TCA_OPTIONS", b"".join(packed)]]
    return tree_of(MAJOR, dump(NEWQDISC), dump(NEWTCLASS), filters)


def test_a_filter_of_ours_is_known_by_what_it_does() -> None:
    assert changed(100, "flower", 23, b"\x64\0") == read()
    for number, content in ((23, b"\x65\0"), (23, None), (24, b"\3"), (3, b"\0\0\0\0"), (8, b"\x08\0")):
        assert changed(100, "flower", number, content).filters == {100: DRIFTED}
    lifter = 0x80000800
    assert changed(lifter, "u32", 9, bytes(24)) == read()
    for number, content in ((1, bytes(4)), (5, bytes(32)), (7, None), (8, b"lo\0")):
        assert changed(lifter, "u32", number, content).lifts == {TAGGED: False}


def test_the_kernels_own_root_is_nobodys() -> None:
    own = message(NEWQDISC, 0, 3, parent=0xFFFFFFFF, kind="noqueue")
    assert tree_of(MAJOR, [own], [], []) == Tree()
    assert tree_of(MAJOR, [], [], []) == Tree()


def test_a_class_is_sent_as_the_kernel_dumps_it() -> None:
    (dumped,) = (each for each in dump(NEWTCLASS) if each["handle"] & 0xFFFF == 0x64)
    made = sent(Step("classes", 0x64, None, CURVES))
    assert made.get_attr("TCA_OPTIONS") == dumped.get_attr("TCA_OPTIONS")
    assert (made["parent"], made["handle"]) == (dumped["parent"], dumped["handle"])
    assert made["header"]["flags"] == 0x605  # REQUEST, ACK, CREATE, EXCL
    assert sent(Step("classes", 0x64, CURVES, CURVES))["header"]["flags"] == 0x5


def test_a_vlan_filter_is_sent_as_the_kernel_dumps_it() -> None:
    (dumped,) = (each for each in dump(NEWTFILTER) if each["handle"] == 100)
    made = sent(Step("filters", 100, None, 0x64))
    for field in ("parent", "handle", "info"):
        assert made[field] == dumped[field]
    assert made.get_attr("TCA_KIND") == "flower"
    ours = attributes(made.get_attr("TCA_OPTIONS"))
    # The kernel keeps the EtherType of a VLAN filter to itself.
    assert ours.pop(8) == b"\x81\x00"
    assert ours.items() <= attributes(dumped.get_attr("TCA_OPTIONS")).items()
    assert set(ours) == {1, 23}  # the class and the VLAN id: no priority


def test_the_lifter_is_sent_as_the_kernel_dumps_it() -> None:
    (dumped,) = (each for each in dump(NEWTFILTER) if each["handle"] == 0x80000800)
    made = sent(Step("lifts", TAGGED, None, True))
    assert (made["parent"], made["info"]) == (dumped["parent"], dumped["info"])
    ours, kernels = attributes(made.get_attr("TCA_OPTIONS")), attributes(dumped.get_attr("TCA_OPTIONS"))
    assert ours[5] == kernels[5]
    for order in (1, 2):
        one, other = (attributes(attributes(options[7])[order]) for options in (ours, kernels))
        assert one[1] == other[1] == b"vlan\0"
        one, other = attributes(one[2]), attributes(other[2])
        # struct tc_vlan: what it does with the frame, and what comes then
        assert [one[2][at : at + 4] for at in (8, 20)] == [other[2][at : at + 4] for at in (8, 20)]
        assert {k: v for k, v in one.items() if k != 2}.items() <= other.items()


def test_root_and_leaf() -> None:
    root = sent(Step("qdisc", MAJOR, None, 0x1388))
    (dumped,) = (each for each in dump(NEWQDISC) if each["handle"] == MAJOR << 16)
    for field in ("parent", "handle"):
        assert root[field] == dumped[field]
    assert root.get_attr("TCA_OPTIONS")[:2] == dumped.get_attr("TCA_OPTIONS")[:2]
    assert root["header"]["flags"] == 0x605
    leaf = sent(Step("leaves", 0x64, None, Leaf("fq_codel", 0x64)))
    (dumped,) = (each for each in dump(NEWQDISC) if each["handle"] == 0x640000)
    assert [leaf[field] for field in ("parent", "handle")] == [dumped[field] for field in ("parent", "handle")]
    assert leaf.get_attr("TCA_KIND") == dumped.get_attr("TCA_KIND")


@pytest.mark.parametrize(
    ("step", "number", "handle"),
    [
        (Step("root", 1, "htb 1:", None), 37, 1 << 16),
        (Step("qdisc", MAJOR, 1, None), 37, MAJOR << 16),
        (Step("classes", 0x64, CURVES, None), 41, MAJOR << 16 | 0x64),
        (Step("leaves", 0x64, Leaf("sfq", 9), None), 37, 9 << 16),
        (Step("filters", 100, 0x64, None), 45, 100),
        (Step("lifts", TAGGED, True, None), 45, 0),
    ],
)
def test_taking_away(step: Step, number: int, handle: int) -> None:
    made = sent(step)
    assert (made["header"]["type"], made["handle"], made["header"]["flags"]) == (number, handle, 0x5)


def test_the_queue_of_a_class_is_counted() -> None:
    assert [backlog(each) for each in dump(NEWTCLASS)] == [0, 0, 0]
    queue = (20).to_bytes(2, "little") + b"\x03\0" + (7).to_bytes(4, "little") + bytes(12)
    reply = message(NEWTCLASS, 0, 3)
    reply["attrs"] = [["TCA_STATS2", queue]]
    assert backlog(reply) == 7


@given(
    st.sampled_from([NEWQDISC, NEWTCLASS, NEWTFILTER]),
    st.sampled_from(["u32", "flower", "bpf", "hfsc", "fq_codel", None]),
    st.binary(max_size=80),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_nothing_that_somebody_put_there_makes_reading_fail(
    number: int, kind: str | None, junk: bytes, handle: int, parent: int
) -> None:
    odd = message(number, 0, 3, parent=parent, handle=handle, info=4999 << 16 | 0x81)
    odd["attrs"] = [["TCA_KIND", kind], ["TCA_OPTIONS", junk]] if kind else []
    dumps = [dump(each) + ([odd] if each == number else []) for each in (NEWQDISC, NEWTCLASS, NEWTFILTER)]
    tree_of(MAJOR, *dumps)
