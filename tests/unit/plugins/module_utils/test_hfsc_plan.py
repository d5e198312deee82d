# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DEFAULT_MINOR,
    TAGGED,
    TEMPORARY,
    Curve,
    Filter,
    Foreign,
    ForeignFilter,
    HfscClass,
    Leaf,
    Stray,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_apply import NotApplied, carry_out
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import LeafWish
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, rules_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step, applied, blocked, plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import action_list, diff
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import Declaration, Wish, declare, handle_of
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError

MAJOR = 0x1389
MINORS = (DEFAULT_MINOR, 1, 2, 0x10, 0x11, 0xFFF)
MATCHES = (Match(vlan=1), Match(vlan=2), Match(fwmark=(1, 0xFFFFFFFF)), Match(dscp=46), Match(vlan=3, ip_proto=1))

curve = st.one_of(st.none(), st.builds(Curve, st.integers(1, 3), st.integers(0, 1), st.integers(0, 1)))
nodes = st.builds(HfscClass, curve, curve, curve).filter(lambda node: bool(node.rt or node.ls))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A tree of any shape: classes below classes, and leaves, filters and the default only where no class is below."""
    classes: dict[int, HfscClass] = {}
    for minor in draw(st.lists(st.sampled_from(MINORS), unique=True)):
        classes[minor] = replace(draw(nodes), parent=draw(st.sampled_from([0, 0, *classes])))
    if not classes:
        return Tree()
    ends = sorted(classes.keys() - {node.parent for node in classes.values()})
    kinds = draw(st.dictionaries(st.sampled_from(ends), st.sampled_from(["fq_codel", "sfq"])))
    limits = st.sampled_from([(), (("flows", 8),), (("limit", 9),)])
    filters = {
        rule: Filter(minor, handle_of(rule, ()))
        for match, minor in draw(st.dictionaries(st.sampled_from(MATCHES), st.sampled_from(ends))).items()
        for rule in rules_of(match)
    }
    return Tree(
        qdisc={MAJOR: draw(st.sampled_from(ends))},
        classes=classes,
        # Handles as free_handle() gives them: no two trees have the same one for different classes.
        leaves={
            minor: Leaf(kind, minor | draw(st.sampled_from([0, 0x2000])), draw(limits)) for minor, kind in kinds.items()
        },
        lifts={TAGGED: True} if any(rule.tagged for rule in filters) else {},
        filters=filters,
    )


@dataclass
class Kernel:
    """A kernel that knows no more than a tree, and refuses what the real one refuses (net/sched/sch_hfsc.c)."""

    tree: Tree
    wanted: Tree
    fail_at: set[int] = field(default_factory=set)
    device: str = "eth0"
    major: int = MAJOR
    sent: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kept = set(self.tree.filters) & set(self.wanted.filters)

    def read(self) -> Tree:
        return self.tree

    def send(self, steps: list[Step]) -> None:
        for position, step in enumerate(steps):
            number = errno.EIO if len(self.sent) in self.fail_at else self.refusal(step)
            self.sent.append(step)
            if number:
                raise TcError(number, step=step, done=steps[:position])
            self.tree = applied(self.tree, [step])
            if step.part != "qdisc" and self.tree.default in self.tree.classes:
                self.check()
        self.check()

    def drain(self, minors: Iterable[int], seconds: float) -> dict[int, int]:
        for minor in minors:
            assert minor not in self.aims(), "a class that still gets traffic never drains"
        return {}

    def aims(self) -> set[int]:
        return {each.minor for each in self.tree.filters.values()} | set(self.tree.qdisc.values())

    def refusal(self, step: Step) -> int:  # noqa: PLR0911
        if step.part == "root":
            return 0 if step.before == self.tree.foreign.root else errno.EINVAL
        there = getattr(self.tree, step.part)
        if step.before != there.get(step.key):
            return errno.EEXIST if step.before is None else errno.ENOENT
        if step.part == "classes":
            if step.after is None:
                used = (
                    step.key in {each.minor for each in self.tree.filters.values()} or step.key in self.tree.offspring
                )
                return errno.EBUSY if used else 0
            if step.before and not step.before.changes_in_place_to(step.after):
                return errno.EINVAL
            return (
                0
                if step.after.parent in self.tree.classes or (self.tree.qdisc and not step.after.parent)
                else errno.ENOENT
            )
        if step.part == "leaves":
            if step.before and step.after and not step.before.changes_in_place_to(step.after):
                return errno.EINVAL
            taken = [leaf.handle for leaf in self.tree.leaves.values()]
            if step.before is None and step.after and step.after.handle in taken:
                return errno.EEXIST
            if step.key in self.tree.offspring:
                return errno.EINVAL
            return 0 if step.key in self.tree.classes else errno.ENOENT
        if step.part == "filters" and step.after is not None:
            return 0 if step.after.minor in self.tree.classes else errno.ENOENT
        return 0

    def check(self) -> None:
        if self.tree.qdisc:
            assert self.tree.default in self.tree.classes, "traffic without a class is dropped"
            assert not self.aims() & self.tree.offspring.keys(), "traffic for a class with children is the default's"
        if self.tree.qdisc and self.wanted.qdisc:
            assert self.kept <= set(self.tree.filters), "a match lost its class"
        assert self.aims() <= set(self.tree.classes)


@given(trees(), trees())
def test_a_plan_leads_to_the_wanted_tree_by_steps_the_kernel_takes_and_never_without_a_class(
    now: Tree, wanted: Tree
) -> None:
    kernel = Kernel(now, wanted)
    assert carry_out(kernel, now, plan(now, wanted)) == []
    assert kernel.tree == wanted
    assert plan(wanted, wanted).phases == ()
    assert plan(wanted, wanted).actions == ()


@given(trees(), trees())
def test_what_is_not_different_is_not_touched(now: Tree, wanted: Tree) -> None:
    if not wanted.qdisc or not now.qdisc:
        return
    made = plan(now, wanted)
    touched = {(step.part, step.key) for step in made.steps}
    recreated = {action.key for action in made.actions if action.op == "recreate"}
    for part in ("qdisc", "classes", "leaves", "filters"):
        before, after = getattr(now, part), getattr(wanted, part)
        for key, value in before.items():
            home = {"filters": getattr(value, "minor", 0), "qdisc": value}.get(part, key)
            if after.get(key) == value and home not in recreated:
                assert (part, key) not in touched


@given(trees(), trees())
def test_a_class_is_made_anew_only_where_it_or_one_near_it_cannot_change_in_place(now: Tree, wanted: Tree) -> None:
    family = {
        minor
        for tree in (now, wanted)
        for minor, node in tree.classes.items()
        if node.parent or minor in tree.offspring
    }
    for action in plan(now, wanted).actions:
        if action.op == "recreate" and action.key not in family:
            leaves = [tree.leaves.get(action.key) for tree in (now, wanted)]
            assert not action.before.changes_in_place_to(action.after) or leaves[0] != leaves[1]


@given(trees(), trees(), st.data())
def test_a_failure_at_any_step_is_undone(now: Tree, wanted: Tree, data: st.DataObject) -> None:
    made = plan(now, wanted)
    steps = len(list(made.steps))
    if not steps:
        return
    kernel = Kernel(now, wanted, fail_at={data.draw(st.integers(0, steps - 1))})
    with pytest.raises(NotApplied):
        carry_out(kernel, now, made)
    assert kernel.tree == now


@given(trees(), trees(), trees(), st.data())
def test_what_an_interrupted_run_left_is_no_obstacle(now: Tree, wanted: Tree, other: Tree, data: st.DataObject) -> None:
    # The kernel takes all of a send, whatever becomes of the sender.
    phases = plan(now, wanted).phases
    done = phases[: data.draw(st.integers(0, len(phases)))]
    left = applied(now, [step for phase in done for step in phase.steps])
    if left.qdisc and left.default not in left.classes:
        return
    kernel = Kernel(left, other)
    assert carry_out(kernel, left, plan(left, other)) == []
    assert kernel.tree == other


TEN = HfscClass(ls=Curve(10))


def declared(now: Tree, *wishes: Wish) -> Tree:
    return declare(now, Declaration(MAJOR, wishes), 1514, 1000)


def vlan(number: int, node: HfscClass = TEN, leaf: LeafWish | None = None, **more: bool) -> Wish:
    return Wish("", number, node, leaf, matches=(Match(vlan=number),), **more)


def tree_with_limit() -> Tree:
    return declared(Tree(), vlan(100, HfscClass(ls=Curve(10), ul=Curve(20)), LeafWish("fq_codel")))


RULE = rules_of(Match(vlan=100))[0]


def test_a_curve_goes_make_before_break() -> None:
    now = tree_with_limit()
    wanted = declared(now, vlan(100, leaf=LeafWish("fq_codel")))
    made = plan(now, wanted)
    assert [(step.part, step.key) for step in made.steps] == [
        *(("classes", TEMPORARY | 100), ("leaves", TEMPORARY | 100), ("filters", RULE)),
        *(("classes", 100), ("classes", 100), ("leaves", 100), ("filters", RULE)),
        ("classes", TEMPORARY | 100),
    ]
    assert [phase.drain for phase in made.phases if phase.drain] == [(100,), (TEMPORARY | 100,)]
    assert action_list(made.actions, MAJOR) == [
        {"op": "recreate", "object": "class", "id": "1389:64", "before": "ls 80bit, ul 160bit", "after": "ls 80bit"}
    ]
    assert "made anew" in diff(now, wanted, made.actions, MAJOR)["after"]


def test_the_first_child_of_a_class_takes_its_traffic_over_without_a_gap() -> None:
    now = declared(Tree(), Wish("", 0x10, TEN, matches=(Match(vlan=100),)))
    child = Wish("", 0x11, replace(TEN, parent=0x10), matches=(Match(vlan=100),))
    wanted = declared(now, Wish("", 0x10, TEN), child)
    assert wanted.leaves.keys() == {0x11, DEFAULT_MINOR}
    made = plan(now, wanted)
    kernel = Kernel(now, wanted)
    carry_out(kernel, now, made)
    assert kernel.tree == wanted
    aims = [step.after.minor for step in made.steps if step.part == "filters"]
    assert aims == [TEMPORARY | 0x11, 0x11]


def test_a_new_root_its_default_class_and_leaf_are_sent_as_one() -> None:
    sends: list[int] = []

    class Counting(Kernel):
        def send(self, steps: list[Step]) -> None:
            sends.append(len(steps))
            super().send(steps)

    wanted = tree_with_limit()
    carry_out(Counting(Tree(), wanted), Tree(), plan(Tree(), wanted))
    assert sends == [3, 2, 2]


def test_an_added_curve_is_undone_by_making_the_class_anew() -> None:
    now = declared(Tree(), vlan(100))
    wanted = declared(now, vlan(100, HfscClass(ls=Curve(10), ul=Curve(20))), vlan(200))
    kernel = Kernel(now, wanted, fail_at={2})
    with pytest.raises(NotApplied, match=r"could not add filter VLAN 200.*\[Errno 5\].*was undone"):
        carry_out(kernel, now, plan(now, wanted))
    assert kernel.tree == now


def test_when_undoing_fails_too_it_is_said_what_stands() -> None:
    now = tree_with_limit()
    wanted = declared(now, vlan(200))
    kernel = Kernel(now, wanted, fail_at={1, 2})
    with pytest.raises(NotApplied) as raised:
        carry_out(kernel, now, plan(now, wanted))
    text = str(raised.value)
    assert raised.value.changed
    assert "Undoing what was done failed too: eth0: could not delete class 1389:c8" in text
    assert "this stands now:\nclass 1389:c8\n  ls 80bit" in text


class Silent(Kernel):
    """A kernel that does what it is told, and says so too late."""

    silent_at: int = 0

    def send(self, steps: list[Step]) -> None:
        late = self.silent_at in range(len(self.sent), len(self.sent) + len(steps))
        super().send(steps)
        if late:
            raise TcError(errno.ETIMEDOUT, "no answer", step=steps[0], unclear=True)


@pytest.mark.parametrize("position", range(8))
def test_what_was_done_without_an_answer_is_read_and_undone(position: int) -> None:
    now = tree_with_limit()
    wanted = declared(now, vlan(100, leaf=LeafWish("fq_codel")))
    kernel = Silent(now, wanted)
    kernel.silent_at = position
    with pytest.raises(NotApplied, match=r"\[Errno 110\].*was undone") as raised:
        carry_out(kernel, now, plan(now, wanted))
    assert kernel.tree == now
    assert not raised.value.changed


def test_a_kernel_that_says_no_more_is_no_success() -> None:
    class Dead(Silent):
        def read(self) -> Tree:
            raise TcError(errno.ETIMEDOUT, unclear=True)

    now = tree_with_limit()
    with pytest.raises(NotApplied, match="What of it was done is unknown") as raised:
        carry_out(Dead(now, now), now, plan(now, declared(now, vlan(1))))
    assert raised.value.changed


@pytest.mark.parametrize("position", range(8))
def test_a_root_that_is_replaced_goes_first_and_alone(position: int) -> None:
    now, wanted = Tree(foreign=Foreign(root="htb 1389:")), tree_with_limit()
    made = plan(now, wanted)
    first = {"op": "delete", "object": "qdisc", "id": "1389:", "before": "htb 1389:"}
    assert action_list(made.actions, MAJOR)[0] == first
    kernel = Kernel(now, wanted, fail_at={position})
    with pytest.raises(NotApplied) as raised:
        carry_out(kernel, now, made)
    if position == 0:
        assert kernel.sent == [Step("root", MAJOR, "htb 1389:", None)]
        assert str(raised.value).endswith("Nothing was changed.")
        assert kernel.tree == now
    else:
        assert "htb 1389: it replaced is gone" in str(raised.value)
        assert kernel.tree == Tree()
    assert raised.value.changed == (position > 0)


def changed_by_somebody() -> tuple[Tree, Tree]:
    whole = tree_with_limit()
    stray = Stray("flower filter 0x64", "flower", RULE.preference, TAGGED, 100, 100)
    return replace(whole, filters={}, strays={stray: True}, lifts={TAGGED: False}), whole


class Lenient(Kernel):
    """A kernel whose filters somebody changed: what is matched is no matter."""

    def check(self) -> None:
        pass


def test_filters_that_somebody_changed_are_made_anew_before_the_class() -> None:
    now, whole = changed_by_somebody()
    made = plan(now, declared(now, vlan(100, leaf=LeafWish("fq_codel"))))
    parts = [step.part for step in made.steps]
    assert parts.index("strays") < parts.index("filters")
    assert [action.op for action in made.actions if action.part in ("strays", "filters")] == ["add", "delete"]
    kernel = Lenient(now, whole)
    carry_out(kernel, now, plan(now, whole))
    assert kernel.tree == whole
    assert "flower filter 0x64" in diff(now, whole, plan(now, whole).actions, MAJOR)["before"]


@pytest.mark.parametrize("position", range(4))
def test_a_mended_filter_is_not_broken_again_by_undoing(position: int) -> None:
    now, whole = changed_by_somebody()
    kernel = Lenient(now, whole, fail_at={position})
    with pytest.raises(NotApplied) as raised:
        carry_out(kernel, now, plan(now, whole))
    assert raised.value.changed == (position > 0)
    assert bool(kernel.tree.strays) == (position == 0)
    assert kernel.tree.classes == now.classes


def test_a_class_that_moves_is_said_to_move() -> None:
    now = declared(Tree(), Wish("", 5, TEN), Wish("", 6, TEN))
    wanted = declared(now, Wish("", 5, replace(TEN, parent=6)))
    made = plan(now, wanted)
    assert any(each.get("after") == "ls 80bit, below 1389:6" for each in action_list(made.actions, MAJOR))
    assert "the kernel moves no class to another parent" in diff(now, wanted, made.actions, MAJOR)["after"]


def test_a_failure_before_anything_was_done_says_so() -> None:
    wanted = tree_with_limit()

    class Forbidding(Kernel):
        def send(self, steps: list[Step]) -> None:
            raise TcError(errno.EPERM, step=steps[0])

    with pytest.raises(NotApplied, match=r"\[Errno 1\].*become: true. Nothing was changed."):
        carry_out(Forbidding(Tree(), wanted), Tree(), plan(Tree(), wanted))


MARKED = rules_of(Match(fwmark=(1, 1)))[0]


@pytest.mark.parametrize(
    ("part", "key", "number", "advice"),
    [
        ("qdisc", MAJOR, errno.ENOENT, "sch_hfsc"),
        ("leaves", 100, errno.ENOENT, "sch_sfq"),
        ("filters", RULE, errno.EOPNOTSUPP, "cls_flower"),
        ("filters", MARKED, errno.ENOENT, "cls_fw"),
        ("lifts", TAGGED, errno.ENOENT, "act_vlan"),
        ("qdisc", MAJOR, errno.ENODEV, "The device is gone"),
    ],
)
def test_what_a_kernel_lacks_is_named(part: str, key: object, number: int, advice: str) -> None:
    wish = replace(vlan(100, leaf=LeafWish("sfq")), matches=(Match(vlan=100), MARKED.match))
    wanted = declared(Tree(), wish)

    class Lacking(Kernel):
        def send(self, steps: list[Step]) -> None:
            for position, step in enumerate(steps):
                if (step.part, step.key) == (part, key) and step.after is not None:
                    raise TcError(number, "the kernel's words", step, steps[:position])
            super().send(steps)

    kernel = Lacking(Tree(), wanted)
    with pytest.raises(NotApplied, match="the kernel's words") as raised:
        carry_out(kernel, Tree(), plan(Tree(), wanted))
    assert advice in str(raised.value)


def test_packets_that_a_class_does_not_get_rid_of_are_reported() -> None:
    now = tree_with_limit()
    wanted = declared(now, vlan(100, absent=True))

    class Stuck(Kernel):
        def drain(self, minors: Iterable[int], seconds: float) -> dict[int, int]:
            return dict.fromkeys(minors, 7)

    (warning,) = carry_out(Stuck(now, wanted), now, plan(now, wanted))
    assert warning.endswith("and were dropped with them: 1389:64 (7)")


@pytest.mark.parametrize(
    ("minor", "root", "temporary"),
    [(100, MAJOR, 0x8064), (100, 0xC064, 0xC064), (0x3FFF, MAJOR, 0xFFFF)],
    ids=["as a rule", "the root has its leaf's handle", "its leaf's handle would be the ingress qdisc's"],
)
def test_a_temporary_class_has_a_leaf_with_a_handle_that_is_free(minor: int, root: int, temporary: int) -> None:
    rest = {0x1388: TEN}
    now = Tree({root: 0x1388}, {**rest, minor: HfscClass(ls=TEN.ls, ul=TEN.ls)})
    steps = plan(now, replace(now, classes={**rest, minor: TEN})).steps
    assert [step.key for step in steps if step.part == "classes" and step.before is None] == [temporary, minor]
    (leaf,) = (step.after for step in steps if step.part == "leaves")
    assert leaf.handle == temporary ^ 0x4000


def test_a_class_that_others_hold_is_not_taken_away() -> None:
    now = replace(tree_with_limit(), foreign=Foreign(filters=(ForeignFilter("fw filter 0x1", 1, 100),)))
    held = ["fw filter 0x1 points to class 1389:64"]
    assert blocked(now, plan(now, declared(now, vlan(100, absent=True))), ()) == held
    more = vlan(100, HfscClass(ls=Curve(3), ul=Curve(9)), LeafWish("fq_codel"))
    assert blocked(now, plan(now, declared(now, more)), ()) == []


def test_a_class_that_somebodys_filter_is_attached_to_goes_with_the_root_alone() -> None:
    above = Wish("", 5, HfscClass(ls=Curve(10), ul=Curve(10)))
    now = declared(Tree(), above, Wish("", 6, replace(TEN, parent=5)))
    filters = (ForeignFilter("one", 1, None, 5), ForeignFilter("two", 2, 6, 5), ForeignFilter("three", 3, 9, 5))
    now = replace(now, foreign=Foreign(filters=filters))
    held, lost = ["two points to class 1389:6"], ["one would be lost", "three would be lost"]
    assert blocked(now, plan(now, declared(now, Wish("", 5, TEN))), ()) == held + lost
    assert blocked(now, plan(now, declared(now, Wish("", 6, absent=True))), ()) == held
    assert blocked(now, plan(now, Tree()), ()) == []


def test_what_is_somebodys_is_not_made_anew_with_the_class_above_it() -> None:
    above = Wish("", 5, HfscClass(ls=Curve(10), ul=Curve(10)))
    now = declared(Tree(), above, Wish("", 6, replace(TEN, parent=5)), Wish("", 7, replace(TEN, parent=5)))
    now = replace(now, leaves={**now.leaves, 6: Leaf("netem", 6)})
    made = plan(now, declared(now, Wish("", 5, TEN)))
    anew = "which has to be made anew with a class that it is below or above,"
    assert blocked(now, made, {7}) == [
        f"class 1389:6, {anew} has somebody's qdisc netem 6:",
        f"class 1389:7, {anew} is to be ignored",
    ]


def test_marks_with_another_mask_at_the_same_preference_go_before_those_that_come() -> None:
    one, other = (Wish("", 5, TEN, matches=(Match(fwmark=mark),)) for mark in ((0x11, 0xFF), (0x2200, 0xFF00)))
    now = declared(Tree(), one)
    steps = [step for step in plan(now, declared(now, other)).steps if step.part == "filters"]
    assert [step.after is None for step in steps] == [True, False]
