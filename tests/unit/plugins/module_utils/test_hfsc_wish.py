# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DEFAULT_MINOR,
    OTHER,
    TAGGED,
    TEMPORARY,
    Curve,
    Filter,
    Foreign,
    ForeignFilter,
    ForeignQdisc,
    HfscClass,
    Leaf,
    Stray,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import LeafWish
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, rules_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import applied, plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import Declaration, Wish, declare, handle_of

MAJOR = 0x1389
MBIT = 125_000
TEN = HfscClass(ls=Curve(10 * MBIT))
FQ_CODEL = LeafWish("fq_codel")
SFQ = LeafWish("sfq", (("limit", 64),))


def made(now: Tree, *wishes: Wish, major: int = MAJOR, prune: bool = False, whole: bool = False) -> Tree:
    return declare(now, Declaration(major, wishes, prune, whole), 1514, 1000)


def vlan(number: int, node: HfscClass = TEN, leaf: LeafWish | None = FQ_CODEL, **more: bool) -> Wish:
    return Wish("", number, node, leaf, matches=(Match(vlan=number),), **more)


def default(node: HfscClass = TEN, **more: bool) -> Wish:
    return Wish("", DEFAULT_MINOR, node, default=True, **more)


def rule(number: int):  # type: ignore[no-untyped-def]
    return rules_of(Match(vlan=number))[0]


def test_the_first_vlan_makes_an_unlimited_default_class_with_its_share() -> None:
    tree = made(Tree(), vlan(100, HfscClass(ls=Curve(10), ul=Curve(20), rt=Curve(5))))
    assert tree.qdisc == {MAJOR: DEFAULT_MINOR}
    assert tree.classes[DEFAULT_MINOR] == HfscClass(ls=Curve(10))
    assert tree.leaves == {100: Leaf("fq_codel", 100), DEFAULT_MINOR: Leaf("fq_codel", DEFAULT_MINOR)}
    assert tree.filters == {rule(100): Filter(100, 100)}
    assert tree.lifts == {TAGGED: True}


def test_without_any_share_the_default_class_gets_the_highest_guarantee_as_its_share() -> None:
    assert made(Tree(), vlan(100, HfscClass(rt=Curve(7)))).classes[DEFAULT_MINOR] == HfscClass(ls=Curve(7))


def test_later_vlans_leave_the_default_class_alone() -> None:
    first = made(Tree(), vlan(100))
    second = made(first, vlan(200, HfscClass(ls=Curve(99 * MBIT)), None))
    assert second.classes[DEFAULT_MINOR] == first.classes[DEFAULT_MINOR]
    assert 200 not in second.leaves


def test_with_prune_the_default_class_follows_from_what_is_declared_alone() -> None:
    first = made(Tree(), default(HfscClass(ls=Curve(1))), vlan(100), vlan(300, leaf=SFQ))
    wishes = (vlan(200, HfscClass(ls=Curve(99))), vlan(300, leaf=SFQ))
    assert made(first, *wishes, prune=True) == made(Tree(), *wishes, prune=True)
    assert made(first, *wishes, prune=True).classes.keys() == {200, 300, DEFAULT_MINOR}


def test_prune_leaves_alone_what_is_ignored() -> None:
    first = made(Tree(), default(), vlan(100), vlan(300, leaf=SFQ))
    pruned = made(first, default(), Wish("", 300, ignore=True), prune=True)
    assert pruned.classes.keys() == {DEFAULT_MINOR, 300}
    assert pruned.leaves[300] == first.leaves[300]
    assert pruned.filters.keys() == {rule(300)}


def test_a_tree_whose_default_class_is_missing_gets_one_with_the_highest_share() -> None:
    there = {1: HfscClass(ls=Curve(3)), 2: HfscClass(ls=Curve(9)), 3: HfscClass(rt=Curve(50))}
    assert made(Tree(qdisc={MAJOR: 0}, classes=there), default()).classes[DEFAULT_MINOR] == TEN
    implicit = made(Tree(qdisc={MAJOR: 0}, classes=there), vlan(5, HfscClass(rt=Curve(1))))
    assert implicit.classes[DEFAULT_MINOR] == HfscClass(ls=Curve(9))
    assert implicit.qdisc == {MAJOR: DEFAULT_MINOR}


def test_somebody_elses_default_class_serves_until_the_default_is_declared() -> None:
    theirs = Tree(qdisc={MAJOR: 7}, classes={7: HfscClass(ls=Curve(1))})
    assert made(theirs, vlan(100)).qdisc == {MAJOR: 7}
    assert made(theirs, default()).qdisc == {MAJOR: DEFAULT_MINOR}
    assert made(theirs, vlan(7, absent=True)).classes == {DEFAULT_MINOR: HfscClass(ls=Curve(1))}


def test_any_class_can_be_declared_the_default_one() -> None:
    tree = made(Tree(), default(), vlan(100))
    moved = made(tree, replace(vlan(100), default=True))
    assert moved.qdisc == {MAJOR: 100}
    assert DEFAULT_MINOR in moved.classes
    assert made(tree, replace(vlan(100), default=True), prune=True).classes.keys() == {100}


def test_the_default_class_that_is_made_up_has_a_fair_queue_whatever_the_first_class_has() -> None:
    assert made(Tree(), vlan(100, leaf=None)).leaves == {DEFAULT_MINOR: Leaf("fq_codel", DEFAULT_MINOR)}


def test_a_tree_without_classes_whose_default_is_a_vlans_minor() -> None:
    bare = Tree(qdisc={MAJOR: 100})
    assert made(bare, vlan(100, absent=True)) == bare
    assert made(bare, default(absent=True)) == Tree()
    assert made(bare, vlan(100)).qdisc == {MAJOR: 100}
    for other in (vlan(200), default()):
        tree = made(bare, other)
        assert tree.qdisc == {MAJOR: DEFAULT_MINOR}
        assert tree.classes.keys() == {DEFAULT_MINOR, other.minor}


def test_what_is_below_a_leaf_goes_with_it() -> None:
    there = made(Tree(), vlan(100))
    below = (ForeignQdisc("sfq", 0x78, 0x77), ForeignQdisc("tbf", 0x77, 0x64), ForeignQdisc("clsact", 0xFFFF, 0xFFFF))
    there = replace(there, leaves={**there.leaves, 100: Leaf("prio", 0x64)}, foreign=Foreign(qdiscs=below))
    for tree in (made(there, vlan(100, absent=True)), made(there, vlan(100))):
        assert tree.foreign.qdiscs == below[2:]
    assert made(there, vlan(200)).foreign.qdiscs == below


def test_the_last_vlan_leaves_the_default_class_and_the_default_class_leaves_nothing() -> None:
    only_default = made(made(Tree(), vlan(100)), vlan(100, absent=True))
    assert set(only_default.classes) == {DEFAULT_MINOR}
    assert not only_default.filters
    assert not only_default.lifts
    assert made(only_default, default(absent=True)) == Tree()
    assert made(Tree(), vlan(100, absent=True)) == made(Tree(), default(absent=True)) == Tree()


def test_a_whole_device_is_taken_back_whatever_is_in_the_tree() -> None:
    there = replace(made(Tree(), vlan(100)), foreign=Foreign(filters=(ForeignFilter("fw", 1, 100),)))
    assert made(there, whole=True) == Tree()
    theirs = Tree(foreign=Foreign(root="htb 1:"))
    assert made(theirs, whole=True) == theirs


def test_a_leaf_that_is_of_the_right_kind_keeps_its_handle() -> None:
    there = made(Tree(), vlan(100))
    moved = replace(there, leaves={**there.leaves, 100: Leaf("fq_codel", 0x7001)})
    assert made(moved, vlan(100)) == moved


def test_a_leafs_options_that_are_the_kernels_own_are_none() -> None:
    named = LeafWish("sfq", (("limit", 127), ("perturb", 10), ("quantum", 1514)))
    assert made(Tree(), vlan(100, leaf=named)).leaves[100] == Leaf("sfq", 100, (("perturb", 10),))


def test_a_leafs_handle_is_its_minor_unless_that_is_taken() -> None:
    taken = Tree(foreign=Foreign(qdiscs=(ForeignQdisc("", 2, 1), ForeignQdisc("", 0x7FFF, 1))))
    tree = made(taken, vlan(1), major=1)
    assert tree.leaves[1].handle == 0x7FFE
    assert made(tree, vlan(2), major=1).leaves[2].handle == 0x7FFD


def test_a_class_with_children_has_no_leaf() -> None:
    tree = made(made(Tree(), Wish("", 5, TEN)), Wish("", 6, replace(TEN, parent=5)))
    assert tree.leaves.keys() == {6, DEFAULT_MINOR}


def test_a_match_is_of_the_class_that_was_declared_last() -> None:
    there = made(Tree(), vlan(100))
    tree = made(there, Wish("", 5, TEN, matches=(Match(vlan=100), Match(dscp=46))))
    assert tree.filters[rule(100)] == Filter(5, 100)
    assert len(tree.filters) == 5
    assert made(tree, Wish("", 5, TEN, matches=(Match(vlan=100),))).filters == {rule(100): Filter(5, 100)}


def test_handles_follow_from_the_rule() -> None:
    assert handle_of(rules_of(Match(fwmark=(0x10, 0xFF)))[0], ()) == 0x10
    assert handle_of(rule(0), ()) == 0x1000
    (one, *_others) = rules_of(Match(dscp=46))
    handle = handle_of(one, ())
    assert handle >= 0x10000
    assert handle_of(one, {handle, handle + 1}) == handle + 2


def test_what_an_interrupted_run_left_behind_goes_home() -> None:
    before = made(Tree(), vlan(100))
    temporary = TEMPORARY | 100
    torn = replace(
        before,
        classes={temporary: before.classes[100], DEFAULT_MINOR: before.classes[DEFAULT_MINOR]},
        leaves={temporary: Leaf("fq_codel", temporary ^ OTHER), DEFAULT_MINOR: before.leaves[DEFAULT_MINOR]},
        filters={rule(100): Filter(temporary, 100)},
    )
    assert made(torn, vlan(200)) == made(before, vlan(200))
    assert made(torn, vlan(200, absent=True)) == before


def test_a_class_that_only_looks_temporary_stays() -> None:
    tree = made(Tree(), vlan(100))
    theirs = replace(
        tree,
        qdisc={MAJOR: 0x9999},
        classes={**tree.classes, 0x9999: TEN},
        leaves={**tree.leaves, 0x9999: Leaf("fq_codel", 0x9999)},
    )
    assert made(theirs, vlan(200)).qdisc == {MAJOR: 0x9999}
    assert 0x9999 in made(theirs, vlan(200)).classes


def vdsm(ls: int, other: int) -> Tree:
    """Return what vdsm's filters and curves are read as: its own ls times eight, in bytes/s."""
    basic = [Stray(f"basic filter at {number}", "basic", number, 3, 1, number) for number in (16, 17)]
    last = Stray("u32 filter", "u32", 5000, 3, 0, 0x1388)
    nodes = {
        16: HfscClass(ls=Curve(ls), ul=Curve(MBIT)),
        17: HfscClass(ls=Curve(other, 80, 800_000)),
        0x1388: HfscClass(ls=Curve(ls)),
    }
    leaves = {minor: Leaf("fq_codel", minor) for minor in nodes}
    return Tree({MAJOR: 0x1388}, nodes, leaves, strays=dict.fromkeys([*basic, last], True))


def test_what_vdsm_made_gets_our_filters_and_its_shares_as_they_were_meant() -> None:
    tree = made(vdsm(50, 10), vlan(16, HfscClass(ls=Curve(60 * MBIT))))
    assert not tree.strays
    assert tree.filters == {rule(16): Filter(16, 16), rule(17): Filter(17, 17)}
    assert tree.classes[16] == HfscClass(ls=Curve(60 * MBIT))
    assert tree.classes[17].ls == Curve(10 * MBIT, 80 * MBIT, 100_000)
    assert tree.classes[0x1388].ls == Curve(50 * MBIT)
    assert made(tree, vlan(16, HfscClass(ls=Curve(60 * MBIT)))) == tree


def test_what_vdsm_made_without_vlans_is_meant_so_too() -> None:
    last = Stray("u32 filter", "u32", 5000, 3, 0, 0x1388)
    untagged = Tree({MAJOR: 0x1388}, {0x1388: HfscClass(ls=Curve(50))}, strays={last: True})
    assert made(untagged, vlan(100)).classes[0x1388].ls == Curve(50 * MBIT)


def test_what_vdsm_made_is_meant_once_though_the_run_is_interrupted() -> None:
    now = vdsm(50, 10)
    wanted = made(now, vlan(300))
    phases = plan(now, wanted).phases
    for number in range(len(phases)):
        left = applied(now, [step for phase in phases[:number] for step in phase.steps])
        assert made(left, vlan(300)) == wanted


@pytest.mark.parametrize(("few", "many"), [(100, 10 * MBIT), (10 * MBIT, 100), (50, 60)])
def test_what_all_of_vdsms_classes_tell_is_told_until_the_last_one(few: int, many: int) -> None:
    minors = [*range(100, 200), 0x1388]
    nodes = {minor: HfscClass(ls=Curve(many if minor % 50 else few)) for minor in minors}
    nodes[0x1388] = HfscClass(ls=Curve(max(few, many)))
    strays = [Stray(f"basic filter at {minor}", "basic", minor, 3, 1, minor) for minor in minors[:-1]]
    strays.append(Stray("u32 filter", "u32", 5000, 3, 0, 0x1388))
    now = Tree({MAJOR: 0x1388}, nodes, strays=dict.fromkeys(strays, True))
    wanted = made(now, vlan(300))
    phases = plan(now, wanted).phases
    assert len([phase for phase in phases if phase.steps]) > 4
    for number in range(len(phases)):
        left = applied(now, [step for phase in phases[:number] for step in phase.steps])
        assert made(left, vlan(300)).classes == wanted.classes
    ignoring = made(now, *(Wish("", minor, ignore=True) for minor in minors if minor % 50))
    assert ignoring.classes[100] == wanted.classes[100]


def test_the_default_class_is_vdsms_also_without_its_filter() -> None:
    now = vdsm(50, 10)
    kept = {stray: True for stray in now.strays if stray.kind == "basic"}
    assert made(replace(now, strays=kept), vlan(300)).classes[0x1388].ls == Curve(50 * MBIT)


def test_a_first_slope_that_is_no_share_is_a_rate() -> None:
    now = vdsm(50, 10)
    now = replace(now, classes={**now.classes, 17: HfscClass(ls=Curve(10, 4_000_000, 800_000))})
    assert made(now, vlan(300)).classes[17].ls == Curve(2, 500_000, 100_000)


def test_a_class_with_children_is_no_default_class() -> None:
    inner = {0x1388: TEN, 5: replace(TEN, parent=0x1388)}
    assert made(Tree({MAJOR: 0}, inner), vlan(100)).default == 0x3FFF
    assert made(Tree({MAJOR: 0x1388}, inner), vlan(100)).default == 0x3FFF
    assert made(Tree({MAJOR: 2}, {2: TEN, 5: replace(TEN, parent=2)}), vlan(100)).default == 0x1388


def test_a_new_leaf_takes_no_handle_that_still_stands() -> None:
    now = Tree({MAJOR: 0x1388}, {0x10: TEN, 0x1388: TEN}, {0x10: Leaf("fq_codel", 0x20)})
    gone, new = vlan(0x10, absent=True), vlan(0x20)
    assert made(now, gone, new).leaves[0x20] == Leaf("fq_codel", 0x7FFF)
    other = Wish("", 0x10, TEN, LeafWish("sfq"), matches=(Match(vlan=0x10),))
    assert made(now, other, new).leaves == {0x10: Leaf("sfq", 0x10), 0x20: Leaf("fq_codel", 0x7FFF)}


def test_what_is_to_be_ignored_keeps_what_vdsm_gave_it() -> None:
    now = vdsm(50, 10)
    tree = made(now, vlan(16), Wish("", 17, ignore=True), default(), prune=True)
    assert tree.classes[17] == now.classes[17]
    assert [stray.preference for stray in tree.strays] == [17]
    assert tree.filters.keys() == {rule(16)}


@pytest.mark.parametrize("meant", [3_000_000, 125_000])
def test_rates_that_vdsm_wrote_eight_times_are_what_they_were_told(meant: int) -> None:
    tree = made(vdsm(meant * 8, 800), vlan(300))
    assert tree.classes[16] == HfscClass(ls=Curve(meant), ul=Curve(MBIT))
    assert tree.classes[17].ls == Curve(100, 10, 100_000)
