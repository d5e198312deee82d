# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""From the tree that is to the tree that is wanted: ordered operations.

At every step a default class exists, and every VLAN that had a class has one. What is not different is not touched.
The way back from any step is a plan, too: from what was reached to what was. A step knows what was before it, but the
kernel cannot always go back in one step, since it takes no curve away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import DRIFTED, HfscClass, Leaf, Tree


@dataclass(frozen=True)
class Step:
    """One message to the kernel: a part of the tree (`Tree`), what in it, and its value before and after.

    None is "not there". Taking the qdisc away takes all else along, and a class its leaf. The part "root" is
    somebody else's root qdisc, by its major, which can only be taken away.
    """

    part: str
    key: int
    before: Any
    after: Any


@dataclass(frozen=True)
class Action:
    """What a person wants to know of: one thing that is added, changed, deleted or recreated, and the steps to it."""

    op: str
    part: str
    key: int
    before: Any
    after: Any
    steps: tuple[Step, ...]


def applied(tree: Tree, steps: Iterable[Step]) -> Tree:
    """Return the tree after the steps."""
    parts: dict[str, dict[int, Any]] = {
        part: dict(getattr(tree, part)) for part in ("qdisc", "classes", "leaves", "lifts", "filters")
    }
    foreign = tree.foreign
    for step in steps:
        if step.part == "root":
            foreign = replace(foreign, root=None)
            continue
        if step.after is not None:
            parts[step.part][step.key] = step.after
            continue
        parts[step.part].pop(step.key, None)
        if step.part == "classes":
            parts["leaves"].pop(step.key, None)
        elif step.part == "qdisc":
            for part in parts.values():
                part.clear()
    return Tree(**parts, foreign=foreign)


def plan(now: Tree, wanted: Tree) -> list[Action]:
    """Return the actions that make of the tree that is the one that is wanted."""
    if not wanted.qdisc:
        return [_action("qdisc", major, default, None) for major, default in now.qdisc.items()]
    repairs = list(_repairs(now, wanted))
    # A changed filter holds its class, so it is mended before a class is made anew.
    mended = applied(now, (step for action in repairs for step in action.steps))
    return [
        *_additions(now, wanted),
        *repairs,
        *_changes(mended, wanted),
        *_filters(mended, wanted),
        *_deletions(mended, wanted),
    ]


def blocked(tree: Tree, actions: Iterable[Action]) -> list[str]:
    """Return why the kernel would refuse (EBUSY) to take classes away: what points to them and is not ours."""
    reasons = []
    gone = {step.key for action in actions for step in action.steps if step.part == "classes" and step.after is None}
    for minor in sorted(gone & set(tree.classes)):
        reasons += [f"{each.text} points to class {minor:x}" for each in tree.foreign.filters if each.minor == minor]
        reasons += [f"class {child:x} is a child of class {minor:x}" for child in tree.children(minor)]
    return reasons


def _action(part: str, key: int, before: Any, after: Any) -> Action:
    op = "add" if before is None else "delete" if after is None else "change"
    return Action(op, part, key, before, after, (Step(part, key, before, after),))


def _additions(now: Tree, wanted: Tree) -> Iterator[Action]:
    if now.foreign.root and not wanted.foreign.root:
        yield _action("root", int(now.foreign.root.split()[1].rstrip(":"), 16), now.foreign.root, None)
    for major, default in wanted.qdisc.items():
        if major not in now.qdisc:
            yield _action("qdisc", major, None, default)
    for minor in wanted.parents_first(set(wanted.classes) - set(now.classes)):
        yield _action("classes", minor, None, wanted.classes[minor])
        if minor in wanted.leaves:
            yield _action("leaves", minor, None, wanted.leaves[minor])
    for major, default in wanted.qdisc.items():
        if now.qdisc.get(major, default) != default:
            yield _action("qdisc", major, now.qdisc[major], default)


def _repairs(now: Tree, wanted: Tree) -> Iterator[Action]:
    for part, drifted in (("lifts", False), ("filters", DRIFTED)):
        before, after = getattr(now, part), getattr(wanted, part)
        for key in sorted(after):
            # Not replaced in place: flower wants the same fields of the frame (fl_check_assign_mask(), EINVAL).
            if before.get(key) == drifted != after[key]:
                steps = (Step(part, key, drifted, None), Step(part, key, None, after[key]))
                yield Action("change", part, key, drifted, after[key], steps)


def _changes(now: Tree, wanted: Tree) -> Iterator[Action]:
    temporary = now.free_minor(wanted)
    for minor in wanted.parents_first(set(wanted.classes) & set(now.classes)):
        before, after = now.classes[minor], wanted.classes[minor]
        if not before.changes_in_place_to(after):
            steps = tuple(_recreation(now, wanted, minor, temporary))
            yield Action("recreate", "classes", minor, before, after, steps)
            continue
        if now.leaves.get(minor) != wanted.leaves.get(minor):
            yield _leaf_change(minor, now.leaves.get(minor), wanted.leaves.get(minor))
        if before != after:
            yield _action("classes", minor, before, after)


def _leaf_change(minor: int, before: Leaf | None, after: Leaf | None) -> Action:
    if not before or not after:
        return _action("leaves", minor, before, after)
    # Not in one message: a handle that is there cannot become one of another kind (tc_modify_qdisc(), EINVAL).
    steps = (Step("leaves", minor, before, None), Step("leaves", minor, None, after))
    return Action("change", "leaves", minor, before, after, steps)


def _recreation(now: Tree, wanted: Tree, minor: int, temporary: int) -> Iterator[Step]:
    """Make before break: its traffic goes to a temporary class while its own is taken away and made again."""
    node, leaf = wanted.classes[minor], wanted.leaves.get(minor)
    vlans = sorted(vlan for vlan, target in now.filters.items() if target == minor)
    majors = [major for major, default in wanted.qdisc.items() if default == minor]
    both = replace(now, leaves={**now.leaves, **wanted.leaves})
    stand_in = Leaf(leaf.kind, both.free_handle(temporary)) if leaf else None
    yield from _grown(temporary, node, stand_in)
    yield from (Step("filters", vlan, minor, temporary) for vlan in vlans)
    yield from (Step("qdisc", major, minor, temporary) for major in majors)
    yield Step("classes", minor, now.classes[minor], None)
    yield from _grown(minor, node, leaf)
    yield from (Step("filters", vlan, temporary, minor) for vlan in vlans)
    yield from (Step("qdisc", major, temporary, minor) for major in majors)
    yield Step("classes", temporary, node, None)


def _grown(minor: int, node: HfscClass, leaf: Leaf | None) -> Iterator[Step]:
    yield Step("classes", minor, None, node)
    if leaf:
        yield Step("leaves", minor, None, leaf)


def _filters(now: Tree, wanted: Tree) -> Iterator[Action]:
    for part in ("lifts", "filters"):
        before, after = getattr(now, part), getattr(wanted, part)
        for key in sorted(after):
            if before.get(key) != after[key]:
                yield _action(part, key, before.get(key), after[key])


def _deletions(now: Tree, wanted: Tree) -> Iterator[Action]:
    for part in ("filters", "lifts"):
        before, after = getattr(now, part), getattr(wanted, part)
        for key in sorted(set(before) - set(after)):
            yield _action(part, key, before[key], None)
    for minor in reversed(now.parents_first(set(now.classes) - set(wanted.classes))):
        yield _action("classes", minor, now.classes[minor], None)
