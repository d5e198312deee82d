# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DEFAULT_MINOR,
    DRIFTED,
    TAGGED,
    Curve,
    Foreign,
    ForeignFilter,
    HfscClass,
    Leaf,
    Tree,
    Wish,
    declare,
    withdraw,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_apply import NotApplied, carry_out
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step, applied, blocked, plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import action_list, diff
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError

MAJOR = 0x1389
MINORS = (DEFAULT_MINOR, 1, 2, 0x10, 0xFFF)

curve = st.one_of(st.none(), st.builds(Curve, st.integers(1, 3), st.integers(0, 1), st.integers(0, 1)))
nodes = st.builds(HfscClass, curve, curve, curve).filter(lambda node: bool(node.rt or node.ls))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    classes = draw(st.dictionaries(st.sampled_from(MINORS), nodes))
    if not classes:
        return Tree()
    minors = st.sampled_from(sorted(classes))
    kinds = draw(st.dictionaries(minors, st.sampled_from(["fq_codel", "sfq"])))
    filters = draw(st.dictionaries(st.integers(1, 4), minors))
    return Tree(
        qdisc={MAJOR: draw(minors)},
        classes=classes,
        # Handles as free_handle() gives them: no two trees have the same one for different classes.
        leaves={minor: Leaf(kind, minor | draw(st.sampled_from([0, 0x2000]))) for minor, kind in kinds.items()},
        lifts={TAGGED: True} if filters else {},
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
        self.check()

    def drain(self, minor: int, seconds: float) -> int:
        assert minor not in self.tree.filters.values(), "a class that still gets traffic never drains"
        assert minor != self.tree.default
        return 0

    def refusal(self, step: Step) -> int:  # noqa: PLR0911
        if step.part == "root":
            return 0 if step.before == self.tree.foreign.root else errno.EINVAL
        there = getattr(self.tree, step.part)
        if step.before != there.get(step.key):
            return errno.EEXIST if step.before is None else errno.ENOENT
        if step.part == "classes":
            if step.after is None:
                used = step.key in self.tree.filters.values() or self.tree.children(step.key)
                return errno.EBUSY if used else 0
            if step.before and not step.before.changes_in_place_to(step.after):
                return errno.EINVAL
            return 0 if self.tree.qdisc else errno.ENOENT
        if step.part == "leaves":
            if step.before and step.after:
                return errno.EINVAL
            taken = [leaf.handle for leaf in self.tree.leaves.values()]
            if step.after and step.after.handle in taken:
                return errno.EEXIST
            return 0 if step.key in self.tree.classes else errno.ENOENT
        if step.part == "filters" and step.after is not None:
            return 0 if step.after in self.tree.classes else errno.ENOENT
        return 0

    def check(self) -> None:
        if self.tree.qdisc:
            assert self.tree.default in self.tree.classes, "traffic without a class is dropped"
        if self.tree.qdisc and self.wanted.qdisc:
            assert self.kept <= set(self.tree.filters), "a VLAN lost its class"
        assert set(self.tree.filters.values()) <= set(self.tree.classes)


@given(trees(), trees())
def test_a_plan_leads_to_the_wanted_tree_by_steps_the_kernel_takes_and_never_without_a_class(
    now: Tree, wanted: Tree
) -> None:
    kernel = Kernel(now, wanted)
    assert carry_out(kernel, now, plan(now, wanted)) == []
    assert kernel.tree == wanted
    assert plan(wanted, wanted) == []


@given(trees(), trees())
def test_what_is_not_different_is_not_touched(now: Tree, wanted: Tree) -> None:
    if not wanted.qdisc or not now.qdisc:
        return
    touched = {(step.part, step.key) for action in plan(now, wanted) for step in action.steps}
    recreated = {
        minor
        for minor in set(now.classes) & set(wanted.classes)
        if not now.classes[minor].changes_in_place_to(wanted.classes[minor])
    }
    for part in ("qdisc", "classes", "leaves", "filters"):
        before, after = getattr(now, part), getattr(wanted, part)
        for key, value in before.items():
            home = value if part in ("filters", "qdisc") else key
            if after.get(key) == value and home not in recreated:
                assert (part, key) not in touched


@given(trees(), trees(), st.data())
def test_a_failure_at_any_step_is_undone(now: Tree, wanted: Tree, data: st.DataObject) -> None:
    actions = plan(now, wanted)
    steps = sum(len(action.steps) for action in actions)
    if not steps:
        return
    kernel = Kernel(now, wanted, fail_at={data.draw(st.integers(0, steps - 1))})
    with pytest.raises(NotApplied):
        carry_out(kernel, now, actions)
    assert kernel.tree == now


@given(trees(), trees())
def test_the_diff_shows_nothing_that_is_the_same_and_all_that_is_not(now: Tree, wanted: Tree) -> None:
    actions = plan(now, wanted)
    sides = diff(now, wanted, actions, MAJOR)
    assert bool(actions) == (sides["before"] != sides["after"])
    shown = {" ".join(line.split()[:2]).rstrip(",") for side in sides.values() for line in side.splitlines()}
    for minor in set(now.classes) | set(wanted.classes):
        same = all(getattr(now, part).get(minor) == getattr(wanted, part).get(minor) for part in ("classes", "leaves"))
        aimed = [{vlan for vlan, target in tree.filters.items() if target == minor} for tree in (now, wanted)]
        if not same:
            assert f"class {MAJOR:x}:{minor:x}" in shown
        elif aimed[0] == aimed[1] and bool(now.qdisc) == bool(wanted.qdisc):
            assert f"class {MAJOR:x}:{minor:x}" not in shown


def tree_with_limit() -> Tree:
    limited = HfscClass(ls=Curve(10), ul=Curve(20))
    return declare(Tree(), MAJOR, Wish(100, limited, "fq_codel"))


def test_a_curve_goes_make_before_break() -> None:
    now = tree_with_limit()
    wanted = declare(now, MAJOR, Wish(100, HfscClass(ls=Curve(10)), "fq_codel"))
    (action,) = plan(now, wanted)
    assert action.op == "recreate"
    assert [(step.part, step.key) for step in action.steps] == [
        *(("classes", 0xFFFE), ("leaves", 0xFFFE), ("filters", 100)),
        *(("classes", 100), ("classes", 100), ("leaves", 100), ("filters", 100)),
        ("classes", 0xFFFE),
    ]
    assert action_list([action], MAJOR) == [
        {"op": "recreate", "object": "class", "id": "1389:64", "before": "ls 80bit, ul 160bit", "after": "ls 80bit"}
    ]
    assert "made anew" in diff(now, wanted, [action], MAJOR)["after"]


def test_a_new_root_its_default_class_and_leaf_are_sent_as_one() -> None:
    sends: list[int] = []

    class Counting(Kernel):
        def send(self, steps: list[Step]) -> None:
            sends.append(len(steps))
            super().send(steps)

    wanted = tree_with_limit()
    carry_out(Counting(Tree(), wanted), Tree(), plan(Tree(), wanted))
    assert sends == [3, 1, 1, 1, 1]


def test_an_added_curve_is_undone_by_making_the_class_anew() -> None:
    now = declare(Tree(), MAJOR, Wish(100, HfscClass(ls=Curve(10)), None))
    limited = declare(now, MAJOR, Wish(100, HfscClass(ls=Curve(10), ul=Curve(20)), None))
    wanted = declare(limited, MAJOR, Wish(200, HfscClass(ls=Curve(10)), None))
    kernel = Kernel(now, wanted, fail_at={2})
    with pytest.raises(NotApplied, match=r"could not add filter VLAN 200.*\[Errno 5\].*was undone"):
        carry_out(kernel, now, plan(now, wanted))
    assert kernel.tree == now


def test_when_undoing_fails_too_it_is_said_what_stands() -> None:
    now = tree_with_limit()
    wanted = declare(now, MAJOR, Wish(200, HfscClass(ls=Curve(5)), None))
    kernel = Kernel(now, wanted, fail_at={1, 2})
    with pytest.raises(NotApplied) as raised:
        carry_out(kernel, now, plan(now, wanted))
    text = str(raised.value)
    assert raised.value.changed
    assert "Undoing what was done failed too: eth0: could not delete class 1389:c8" in text
    assert "this stands now:\nclass 1389:c8\n  ls 40bit" in text


class Silent(Kernel):
    """A kernel that does what it is told, and says so too late."""

    silent_at: int = 0

    def send(self, steps: list[Step]) -> None:
        late = self.silent_at in range(len(self.sent), len(self.sent) + len(steps))
        super().send(steps)
        if late:
            raise TcError(errno.ETIMEDOUT, "no answer", step=steps[0], unclear=True)


@pytest.mark.parametrize("position", range(7))
def test_what_was_done_without_an_answer_is_read_and_undone(position: int) -> None:
    now = tree_with_limit()
    wanted = declare(now, MAJOR, Wish(100, HfscClass(ls=Curve(10)), "fq_codel"))
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
        carry_out(Dead(now, now), now, plan(now, declare(now, MAJOR, Wish(1, HfscClass(ls=Curve(10))))))
    assert raised.value.changed


@pytest.mark.parametrize("position", range(6))
def test_a_root_that_is_replaced_goes_first_and_alone(position: int) -> None:
    now, wanted = Tree(foreign=Foreign(root="htb 1389:")), tree_with_limit()
    actions = plan(now, wanted)
    assert action_list(actions, MAJOR)[0] == {"op": "delete", "object": "qdisc", "id": "1389:", "before": "htb 1389:"}
    kernel = Kernel(now, wanted, fail_at={position})
    with pytest.raises(NotApplied) as raised:
        carry_out(kernel, now, actions)
    if position == 0:
        assert kernel.sent == [Step("root", MAJOR, "htb 1389:", None)]
        assert str(raised.value).endswith("Nothing was changed.")
        assert kernel.tree == now
    else:
        assert "htb 1389: it replaced is gone" in str(raised.value)
        assert kernel.tree == Tree()
    assert raised.value.changed == (position > 0)


def drifted() -> tuple[Tree, Tree]:
    whole = tree_with_limit()
    return replace(whole, filters={100: DRIFTED}, lifts={TAGGED: False}), whole


def test_filters_that_somebody_changed_are_made_anew_before_the_class() -> None:
    now, whole = drifted()
    actions = plan(now, declare(now, MAJOR, Wish(100, HfscClass(ls=Curve(10)), "fq_codel")))
    assert [(action.op, action.part) for action in actions] == [
        ("change", "lifts"),
        ("change", "filters"),
        ("recreate", "classes"),
    ]
    mend = plan(now, whole)
    assert diff(now, whole, mend, MAJOR)["before"] == (
        "filter for VLAN 100, changed by somebody\nfilter for tags inside frames, changed by somebody\n"
    )
    assert action_list(mend, MAJOR)[1]["before"] == "changed by somebody"
    assert plan(now, withdraw(now, MAJOR, Wish(100)))[0].part == "filters"


@pytest.mark.parametrize("position", range(4))
def test_a_mended_filter_is_not_broken_again_by_undoing(position: int) -> None:
    now, whole = drifted()

    class Lenient(Kernel):
        def check(self) -> None:
            pass

    kernel = Lenient(now, whole, fail_at={position})
    with pytest.raises(NotApplied) as raised:
        carry_out(kernel, now, plan(now, whole))
    assert raised.value.changed == (position > 0)
    assert kernel.tree == replace(now, lifts={TAGGED: position > 0}, filters={100: 100 if position > 2 else DRIFTED})


def test_a_class_that_moves_is_said_to_move() -> None:
    now = tree_with_limit()
    child = replace(now, classes={**now.classes, 100: replace(now.classes[100], parent=DEFAULT_MINOR)})
    actions = plan(child, now)
    assert action_list(actions, MAJOR)[0]["before"] == "ls 80bit, ul 160bit, below 1389:1388"
    assert "the kernel moves no class to another parent" in diff(child, now, actions, MAJOR)["after"]


def test_a_failure_before_anything_was_done_says_so() -> None:
    wanted = tree_with_limit()

    class Forbidding(Kernel):
        def send(self, steps: list[Step]) -> None:
            raise TcError(errno.EPERM, step=steps[0])

    with pytest.raises(NotApplied, match=r"\[Errno 1\].*become: true. Nothing was changed."):
        carry_out(Forbidding(Tree(), wanted), Tree(), plan(Tree(), wanted))


@pytest.mark.parametrize(
    ("part", "key", "number", "advice"),
    [
        ("qdisc", MAJOR, errno.ENOENT, "sch_hfsc"),
        ("leaves", 1, errno.ENOENT, "sch_fq_codel"),
        ("filters", 1, errno.EOPNOTSUPP, "cls_flower"),
        ("lifts", TAGGED, errno.ENOENT, "act_vlan"),
        ("qdisc", MAJOR, errno.ENODEV, "The device is gone"),
    ],
)
def test_what_a_kernel_lacks_is_named(part: str, key: int, number: int, advice: str) -> None:
    wanted = declare(Tree(), MAJOR, Wish(1, HfscClass(ls=Curve(10)), "fq_codel"))

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
    assert kernel.tree == Tree()


def test_packets_that_a_class_does_not_get_rid_of_are_reported() -> None:
    now = tree_with_limit()
    wanted = withdraw(now, MAJOR, Wish(100))

    class Stuck(Kernel):
        def drain(self, minor: int, seconds: float) -> int:
            return 7

    (warning,) = carry_out(Stuck(now, wanted), now, plan(now, wanted))
    assert warning == "class 1389:64 still had 7 packets after 1 s; they were dropped with it"


def test_a_class_that_others_hold_is_not_taken_away() -> None:
    now = replace(tree_with_limit(), foreign=Foreign(filters=(ForeignFilter("fw filter 0x1", 1, 100),)))
    now = replace(now, classes={**now.classes, 7: HfscClass(ls=Curve(1), parent=100)})
    assert blocked(now, plan(now, withdraw(now, MAJOR, Wish(100)))) == [
        "fw filter 0x1 points to class 64",
        "class 7 is a child of class 64",
    ]
    assert blocked(now, plan(now, declare(now, MAJOR, Wish(100, HfscClass(ls=Curve(3), ul=Curve(20)), None)))) == []
