# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DEFAULT_MINOR,
    TAGGED,
    TEMPORARY_MINORS,
    Curve,
    Foreign,
    ForeignQdisc,
    HfscClass,
    Leaf,
    Tree,
    Wish,
    declare,
    withdraw,
)

MAJOR = 0x1389
MBIT = 125_000
curves = st.builds(Curve, m2=st.integers(1, 100), m1=st.integers(0, 100), d=st.integers(0, 100))


def wish(vlan: int | None, leaf: str | None = "fq_codel", **rates: int) -> Wish:
    rt, ls, ul = (Curve(rates[name] * MBIT) if name in rates else None for name in ("rt", "ls", "ul"))
    return Wish(vlan, HfscClass(rt, ls, ul), leaf)


def test_a_first_slope_without_a_time_is_no_difference() -> None:
    assert Curve(5, m1=9, d=0) == Curve(5)


@given(curves, curves)
def test_a_curve_reaches_another_when_it_is_nowhere_below(one: Curve, other: Curve) -> None:
    times = [0, 1, one.d, other.d, one.d + other.d + 1, 10**7]
    nowhere_below = all(one.served(time) >= other.served(time) for time in times)
    assert one.reaches(other) == (nowhere_below and one.m2 >= other.m2)


def test_curves_are_written_as_they_may_be_pasted_back() -> None:
    node = HfscClass(rt=Curve(MBIT, 2 * MBIT, 10_000), ls=Curve(1))
    assert str(node) == "rt m1 2mbit d 10ms m2 1mbit, ls 8bit"


def test_the_first_vlan_makes_an_unlimited_default_class_with_its_share() -> None:
    tree = declare(Tree(), MAJOR, wish(100, ls=10, ul=20, rt=5))
    assert tree.qdisc == {MAJOR: DEFAULT_MINOR}
    assert tree.classes[DEFAULT_MINOR] == HfscClass(ls=Curve(10 * MBIT))
    assert tree.leaves == {100: Leaf("fq_codel", 100), DEFAULT_MINOR: Leaf("fq_codel", DEFAULT_MINOR)}
    assert tree.filters == {100: 100}
    assert tree.lifts == {TAGGED: True}


def test_without_any_share_the_default_class_gets_the_highest_guarantee_as_its_share() -> None:
    assert declare(Tree(), MAJOR, wish(100, rt=7)).classes[DEFAULT_MINOR] == HfscClass(ls=Curve(7 * MBIT))


def test_later_vlans_leave_the_default_class_alone() -> None:
    first = declare(Tree(), MAJOR, wish(100, ls=10))
    second = declare(first, MAJOR, wish(200, leaf=None, ls=99))
    assert second.classes[DEFAULT_MINOR] == first.classes[DEFAULT_MINOR]
    assert 200 not in second.leaves


def test_a_tree_whose_default_class_is_missing_gets_one_with_the_highest_share() -> None:
    there = {1: HfscClass(ls=Curve(3)), 2: HfscClass(ls=Curve(9)), 3: HfscClass(rt=Curve(50))}
    tree = declare(Tree(qdisc={MAJOR: 0}, classes=there), MAJOR, wish(None, ls=1))
    assert tree.classes[DEFAULT_MINOR].ls == Curve(MBIT)
    implicit = declare(Tree(qdisc={MAJOR: 0}, classes=there), MAJOR, Wish(5, HfscClass(rt=Curve(1))))
    assert implicit.classes[DEFAULT_MINOR] == HfscClass(ls=Curve(9))
    assert implicit.qdisc == {MAJOR: DEFAULT_MINOR}


def test_somebody_elses_default_class_serves_until_the_default_is_declared() -> None:
    theirs = Tree(qdisc={MAJOR: 7}, classes={7: HfscClass(ls=Curve(1))})
    assert declare(theirs, MAJOR, wish(100, ls=1)).qdisc == {MAJOR: 7}
    assert declare(theirs, MAJOR, wish(None, ls=1)).qdisc == {MAJOR: DEFAULT_MINOR}
    assert withdraw(theirs, MAJOR, wish(7)).classes == {DEFAULT_MINOR: HfscClass(ls=Curve(1))}


def test_the_default_class_that_is_made_up_has_a_fair_queue_whatever_the_first_class_has() -> None:
    tree = declare(Tree(), MAJOR, wish(100, leaf=None, ls=10))
    assert tree.leaves == {DEFAULT_MINOR: Leaf("fq_codel", DEFAULT_MINOR)}


def test_a_tree_without_classes_whose_default_is_a_vlans_minor() -> None:
    bare = Tree(qdisc={MAJOR: 100})
    assert withdraw(bare, MAJOR, wish(100)) == bare
    assert withdraw(bare, MAJOR, wish(None)) == Tree()
    assert declare(bare, MAJOR, wish(100, ls=1)).qdisc == {MAJOR: 100}
    for other in (200, None):
        tree = declare(bare, MAJOR, wish(other, ls=1))
        assert tree.qdisc == {MAJOR: DEFAULT_MINOR}
        assert tree.classes.keys() == {DEFAULT_MINOR} | ({other} if other else set())


def test_what_is_below_a_leaf_goes_with_it() -> None:
    there = declare(Tree(), MAJOR, wish(100, ls=1))
    below = (ForeignQdisc("sfq", 0x78, 0x77), ForeignQdisc("tbf", 0x77, 0x64), ForeignQdisc("clsact", 0xFFFF, 0xFFFF))
    there = replace(there, leaves={**there.leaves, 100: Leaf("prio", 0x64)}, foreign=Foreign(qdiscs=below))
    for tree in (withdraw(there, MAJOR, wish(100)), declare(there, MAJOR, wish(100, ls=1))):
        assert tree.foreign.qdiscs == below[2:]
    assert declare(there, MAJOR, wish(200, ls=1)).foreign.qdiscs == below


def test_the_last_vlan_leaves_the_default_class_and_the_default_class_leaves_nothing() -> None:
    only_default = withdraw(declare(Tree(), MAJOR, wish(100, ls=10)), MAJOR, wish(100))
    assert set(only_default.classes) == {DEFAULT_MINOR}
    assert not only_default.filters
    assert not only_default.lifts
    assert withdraw(only_default, MAJOR, wish(None)) == Tree()
    assert withdraw(Tree(), MAJOR, wish(100)) == withdraw(Tree(), MAJOR, wish(None)) == Tree()


def test_a_leaf_that_is_of_the_right_kind_keeps_its_handle() -> None:
    there = declare(Tree(), MAJOR, wish(100, ls=10))
    moved = Tree(
        there.qdisc, there.classes, {**there.leaves, 100: Leaf("fq_codel", 0x8001)}, there.lifts, there.filters
    )
    assert declare(moved, MAJOR, wish(100, ls=10)) == moved


def test_a_leafs_handle_is_its_minor_unless_that_is_taken() -> None:
    tree = declare(
        Tree(foreign=Foreign(qdiscs=(ForeignQdisc("", 2, 1), ForeignQdisc("", 0x7FFF, 1)))), 1, wish(1, ls=1)
    )
    assert tree.leaves[1].handle == 0x7FFE
    assert declare(tree, 1, wish(2, ls=1)).leaves[2].handle == 0x7FFD


def test_what_an_interrupted_run_left_behind_goes_home() -> None:
    before = declare(Tree(), MAJOR, wish(100, ls=10))
    temporary = TEMPORARY_MINORS[0]
    classes = {temporary: before.classes[100], DEFAULT_MINOR: before.classes[DEFAULT_MINOR]}
    leaves = {temporary: Leaf("fq_codel", temporary), DEFAULT_MINOR: before.leaves[DEFAULT_MINOR]}
    torn = Tree(before.qdisc, classes, leaves, before.lifts, {100: temporary})
    assert declare(torn, MAJOR, wish(200, ls=1)) == declare(before, MAJOR, wish(200, ls=1))
    assert withdraw(torn, MAJOR, wish(200)) == before
