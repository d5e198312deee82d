# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""From the tree that is to the tree that is wanted: ordered steps.

At every step a default class exists, and whatever was classified is. What is not different is not touched.
The way back from any step is a plan, too: from what was reached to what was. A step knows what was before it, but the
kernel cannot always go back in one step, since it takes no curve away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import OTHER, TEMPORARY, Leaf, Stray, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import DEFAULTS
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Rule

VDSMS_A_SEND = 33  # of at most three messages each, a hundred being one send of the door
PARTS = ("qdisc", "classes", "leaves", "lifts", "filters", "strays")


@dataclass(frozen=True)
class Step:
    """One message to the kernel: a part of the tree (`Tree`), what in it, and its value before and after.

    None is "not there". Taking the qdisc away takes all else along, and a class its leaf. The part "root" is
    somebody else's root qdisc, by its major, which can only be taken away.
    """

    part: str
    key: Any
    before: Any
    after: Any


@dataclass(frozen=True)
class Action:
    """What a person wants to know of: one thing that is added, changed, deleted or recreated."""

    op: str
    part: str
    key: Any
    before: Any
    after: Any


@dataclass(frozen=True)
class Phase:
    """Steps that go out together, in this order, once the classes in ``drain`` have sent what they had."""

    steps: tuple[Step, ...]
    drain: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is different, and how to make it so."""

    actions: tuple[Action, ...]
    phases: tuple[Phase, ...]

    @property
    def steps(self) -> list[Step]:
        """All steps, in order."""
        return [step for phase in self.phases for step in phase.steps]


def applied(tree: Tree, steps: Iterable[Step]) -> Tree:
    """Return the tree after the steps."""
    parts: dict[str, dict[Any, Any]] = {part: dict(getattr(tree, part)) for part in PARTS}
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


def plan(now: Tree, wanted: Tree) -> Plan:
    """Return how to make of the tree that is the one that is wanted."""
    if replace(now, foreign=wanted.foreign) == wanted and not now.foreign.root:
        return Plan((), ())
    if not wanted.qdisc:
        actions = [Action("delete", "qdisc", major, default, None) for major, default in now.qdisc.items()]
        return Plan(tuple(actions), tuple(phase for phase in _taken_away(now) if phase.steps))
    renewed = _renewed(now, wanted)
    phases = _phases(now, wanted, renewed)
    return Plan(tuple(_actions(now, wanted, renewed)), tuple(phase for phase in phases if phase.steps))


def undone(wanted: Tree, again: Tree, made: Plan) -> list[Action]:
    """Return what is still to be done of a plan where ``again`` is what was read of that which it touched."""
    touched = {(step.part, step.key): None for step in made.steps if step.part != "root"}
    if not wanted.qdisc:
        touched = {("qdisc", major): None for major in again.qdisc}
    found = ((part, key, getattr(again, part).get(key), getattr(wanted, part).get(key)) for part, key in touched)
    return [Action("change", *each) for each in found if each[2] != each[3]]


def blocked(tree: Tree, made: Plan, ignored: Collection[int]) -> list[str]:
    """Return what of somebody else's keeps classes from being taken away or made anew: it would be lost, or EBUSY."""
    major = next(iter(tree.qdisc), 0)
    gone = {step.key for step in made.steps if step.part == "classes" and step.after is None}
    filters = tree.foreign.filters
    found = [f"{each.text} points to class {major:x}:{each.minor:x}" for each in filters if each.minor in gone]
    found += [f"{each.text} would be lost" for each in filters if each.parent in gone and each.minor not in gone]
    anew = {action.key for action in made.actions if action.op == "recreate" and action.before == action.after}
    for minor in sorted(anew - {action.key for action in made.actions if action.part == "leaves"}):
        what = f"class {major:x}:{minor:x}, which has to be made anew with a class that it is below or above,"
        leaf = tree.leaves.get(minor)
        if minor in ignored:
            found.append(f"{what} is to be ignored")
        elif leaf and (leaf.kind not in DEFAULTS or any(each.parent == leaf.handle for each in tree.foreign.qdiscs)):
            found.append(f"{what} has somebody's qdisc {leaf}")
    return found


def _renewed(now: Tree, wanted: Tree) -> set[int]:
    """Return the classes that the kernel cannot change in place, and all above which they stand or will stand.

    A class that gets its first child, or loses its last, is such a one if it carries traffic before or after, which
    would be the default class's in between (hfsc_classify() knows only classes without children).
    """
    renewed = set()
    busy = now.aims | wanted.aims | now.leaves.keys() | wanted.leaves.keys()
    for minor in now.classes.keys() & wanted.classes.keys():
        before, after = now.leaves.get(minor), wanted.leaves.get(minor)
        one, other = now.classes[minor], wanted.classes[minor]
        if (
            (one != other and not one.changes_in_place_to(other))
            or (minor in busy and (minor in now.offspring) != (minor in wanted.offspring))
            or (before != after and not (before and after and before.changes_in_place_to(after)))
        ):
            renewed.add(minor)
    while more := (now.below(renewed) | wanted.below(renewed)) - renewed:
        renewed |= more
    return renewed


def _actions(now: Tree, wanted: Tree, renewed: set[int]) -> Iterator[Action]:
    if now.foreign.root and not wanted.foreign.root:
        yield Action("delete", "root", _root_major(now), now.foreign.root, None)
    for part in PARTS:
        before, after = getattr(now, part), getattr(wanted, part)
        if before == after and part != "classes":
            continue
        anew = renewed & before.keys() & after.keys() if part == "classes" else set()
        keys = before.keys() | after.keys()
        if part == "leaves":  # which go with their classes
            keys &= wanted.classes.keys()
        different = [key for key in keys if key in anew or before.get(key) != after.get(key)]
        for key in _in_order(now, wanted, different) if part in ("classes", "leaves") else sorted(different, key=str):
            old, new = before.get(key), after.get(key)
            op = "recreate" if key in anew else "add" if old is None else "delete" if new is None else "change"
            yield Action(op, part, key, old, new)


def _in_order(now: Tree, wanted: Tree, minors: Iterable[int]) -> list[int]:
    gone = set(minors) - wanted.classes.keys()
    return [*wanted.parents_first(set(minors) - gone), *reversed(now.parents_first(gone))]


def _root_major(now: Tree) -> int:
    return int((now.foreign.root or "").split()[1].rstrip(":"), 16)


def _phases(now: Tree, wanted: Tree, renewed: set[int]) -> Iterator[Phase]:
    made: set[int] = set()
    if now.foreign.root and not wanted.foreign.root:
        # Alone: the kernel carries out the rest of a send though a part of it failed, and what is meant for our new
        # root would come to somebody's qdisc with the same handle. Meanwhile the kernel's own qdisc serves.
        yield Phase((Step("root", _root_major(now), now.foreign.root, None),))
    for major, default in wanted.qdisc.items():
        if major not in now.qdisc:
            # As one: until there is a default class the kernel drops everything.
            made = {default, *wanted.ancestors(default)}
            yield Phase((Step("qdisc", major, None, default), *_grown(wanted, made)))
    stand_ins = _stand_ins(now, wanted, renewed & wanted.classes.keys())
    temporaries = _temporaries(wanted, stand_ins)
    yield Phase(tuple(_grown(wanted, wanted.classes.keys() - now.classes.keys() - renewed - made)))
    yield Phase(tuple(_grown(temporaries, temporaries.classes)))
    vdsms = {stray.minor for stray in now.strays.keys() - wanted.strays.keys() if stray.is_vdsms}
    yield Phase(tuple(_changed_in_place(now, wanted, now.classes.keys() - renewed - vdsms)))
    meanwhile = _redirected(wanted, stand_ins) if stand_ins else wanted
    yield Phase((*_defaults(now, meanwhile), *_filters(now, meanwhile)))
    yield from _taken_over(now, wanted, renewed)
    gone = now.classes.keys() - wanted.classes.keys() | renewed & now.classes.keys()
    yield Phase(
        (
            *(Step("classes", minor, now.classes[minor], None) for minor in reversed(now.parents_first(gone))),
            *_grown(wanted, renewed & wanted.classes.keys()),
        ),
        drain=tuple(minor for minor in now.parents_first(gone) if minor not in now.offspring),
    )
    yield Phase((*_defaults(meanwhile, wanted), *_filters(meanwhile, wanted)))
    yield Phase(
        tuple(
            Step("classes", minor, node, None)
            for minor, node in reversed(
                [(each, temporaries.classes[each]) for each in temporaries.parents_first(temporaries.classes)]
            )
        ),
        drain=tuple(minor for minor in temporaries.classes if minor not in temporaries.offspring),
    )


def _taken_away(now: Tree) -> Iterator[Phase]:
    """Take a whole tree away: with its root the kernel drops what waits in any class, so those go when they are empty.

    Until then all traffic is the default class's, which comes last. What somebody's filter points to cannot go before,
    and what it is attached to goes with the root.
    Where there is no default class, all traffic is dropped until the root is gone.
    """
    root = Phase(tuple(Step("qdisc", major, default, None) for major, default in now.qdisc.items()))
    if now.default not in now.classes:
        yield root
        return
    held = {minor for each in now.foreign.filters for minor in (each.minor, each.parent) if minor}
    held |= set(now.qdisc.values())
    held |= {above for minor in held for above in now.ancestors(minor)}
    gone = now.classes.keys() - held
    bare = Tree(qdisc=now.qdisc)
    yield Phase((*(Step("strays", stray, True, None) for stray in _vdsms(now, bare)), *_filters(now, bare)))
    yield Phase(
        tuple(Step("classes", minor, now.classes[minor], None) for minor in reversed(now.parents_first(gone))),
        drain=tuple(minor for minor in now.parents_first(gone) if minor not in now.offspring),
    )
    yield root


def _redirected(wanted: Tree, stand_ins: Mapping[int, int]) -> Tree:
    """Return the tree while classes are made anew: their traffic is their temporary classes'."""
    return replace(
        wanted,
        qdisc={major: stand_ins.get(default, default) for major, default in wanted.qdisc.items()},
        filters={
            rule: replace(each, minor=stand_ins.get(each.minor, each.minor)) for rule, each in wanted.filters.items()
        },
    )


def _stand_ins(now: Tree, wanted: Tree, renewed: Iterable[int]) -> dict[int, int]:
    """Return the minor of the temporary class of each class that is made anew; its leaf's handle is free, too."""
    taken = set(now.classes)
    handles = {leaf.handle for tree in (now, wanted) for leaf in tree.leaves.values()} | now.qdisc.keys()
    handles |= {each.handle for each in now.foreign.qdiscs} | {0xFFFF}  # the ingress qdisc's
    found: dict[int, int] = {}
    for minor in sorted(renewed):
        likely = (TEMPORARY | minor, TEMPORARY | OTHER | minor, *range(0xFFFE, TEMPORARY, -1))
        found[minor] = next(each for each in likely if each not in taken and each ^ OTHER not in handles)
        taken.add(found[minor])
        handles.add(found[minor] ^ OTHER)
    return found


def _temporaries(wanted: Tree, stand_ins: Mapping[int, int]) -> Tree:
    classes, leaves = {}, {}
    for minor, temporary in stand_ins.items():
        node = wanted.classes[minor]
        classes[temporary] = replace(node, parent=stand_ins.get(node.parent, node.parent))
        if minor not in wanted.offspring:
            leaves[temporary] = replace(wanted.leaves.get(minor, Leaf("pfifo", 0)), handle=temporary ^ OTHER)
    return Tree(classes=classes, leaves=leaves)


def _grown(wanted: Tree, minors: Iterable[int]) -> Iterator[Step]:
    for minor in wanted.parents_first(minors):
        yield Step("classes", minor, None, wanted.classes[minor])
        if minor in wanted.leaves:
            yield Step("leaves", minor, None, wanted.leaves[minor])


def _changed_in_place(now: Tree, wanted: Tree, minors: set[int]) -> Iterator[Step]:
    for part in ("classes", "leaves"):
        before, after = getattr(now, part), getattr(wanted, part)
        there = minors & before.keys() & after.keys()
        for minor in wanted.parents_first(minor for minor in there if before[minor] != after[minor]):
            yield Step(part, minor, before[minor], after[minor])


def _taken_over(now: Tree, wanted: Tree, renewed: set[int]) -> Iterator[Phase]:
    """Take vdsm's filters away, each with what only it tells: that the ls of its class is as vdsm wrote it.

    Each phase is one send, so that an interrupted run parts no filter from its class.
    """
    vdsms = _vdsms(now, wanted)
    for start in range(0, len(vdsms), VDSMS_A_SEND):
        steps: list[Step] = []
        for stray in vdsms[start : start + VDSMS_A_SEND]:
            steps += _changed_in_place(now, wanted, {stray.minor or 0} - renewed)
            steps.append(Step("strays", stray, True, None))
        yield Phase(tuple(steps))


def _vdsms(now: Tree, wanted: Tree) -> list[Stray]:
    """Return vdsm's filters that go, in order.

    They come before ours, and its last one, which is no VLAN's, ends the search: so that one goes first. Of the others
    the one with the highest ls goes last: while it is there, it tells what the lower ones mean.
    """

    def order(stray: Stray) -> tuple[bool, int, int, int]:
        node = now.classes.get(stray.minor or 0)
        ls = max(node.ls.m1, node.ls.m2) if node and node.ls else 0
        return stray.kind == "basic", ls, -stray.preference, stray.handle

    return sorted((stray for stray in now.strays.keys() - wanted.strays.keys() if stray.is_vdsms), key=order)


def _defaults(now: Tree, wanted: Tree) -> Iterator[Step]:
    for major, default in wanted.qdisc.items():
        if now.qdisc.get(major, default) != default:
            yield Step("qdisc", major, now.qdisc[major], default)


def _filters(now: Tree, wanted: Tree) -> Iterator[Step]:
    # Our own that somebody changed go first: flower refuses a second filter that wants the same of a frame.
    changed = [stray for stray in now.strays.keys() - wanted.strays.keys() if not stray.is_vdsms]
    yield from (Step("strays", stray, True, None) for stray in sorted(changed, key=str))
    for key, after in wanted.lifts.items():
        before = now.lifts.get(key)
        if before is False:
            yield Step("lifts", key, False, None)
        if before != after:
            yield Step("lifts", key, None, after)
    if now.filters != wanted.filters:
        early = _other_masks(now, wanted)
        yield from (Step("filters", rule, now.filters[rule], None) for rule in early)
        for rule, each in wanted.filters.items():
            there = now.filters.get(rule)
            if there != each:
                yield Step("filters", rule, there, each)
        for rule in now.filters.keys() - wanted.filters.keys() - early:
            yield Step("filters", rule, now.filters[rule], None)
    for key in now.lifts.keys() - wanted.lifts.keys():
        yield Step("lifts", key, now.lifts[key], None)


def _other_masks(now: Tree, wanted: Tree) -> set[Rule]:
    """Return the marks that have to go before others come, since one preference has but one mask (fw_change())."""
    coming = [rule for rule in wanted.filters.keys() - now.filters.keys() if rule.match.fwmark]
    masks = {rule.preference: rule.match.fwmark[1] for rule in coming if rule.match.fwmark}
    going = now.filters.keys() - wanted.filters.keys()
    at_those = [rule for rule in going if rule.preference in masks]
    return {rule for rule in at_those if rule.match.fwmark and rule.match.fwmark[1] != masks[rule.preference]}
