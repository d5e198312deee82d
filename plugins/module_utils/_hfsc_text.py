# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Trees and plans as a person reads them: the list of actions and the two sides of a diff."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import TEMPORARY, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule, rules_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import PARTS, Action, Step

OBJECTS = {
    "root": "qdisc",
    "qdisc": "qdisc",
    "classes": "class",
    "leaves": "leaf",
    "lifts": "filter",
    "filters": "filter",
    "strays": "filter",
}
CHANGED = "changed by somebody"
LIFTER = "tags inside frames"


def action_list(actions: Iterable[Action], major: int) -> list[dict[str, str]]:
    """Return what a module returns of a plan: op, object and id, and what the thing was and is to be.

    The kernel may take several filters for a match; they are one entry.
    """
    entries = []
    told = set()
    for action in actions:
        if action.part == "filters":
            of_match = (action.op, action.key.match, *(each and each.minor for each in (action.before, action.after)))
            if of_match in told:
                continue
            told.add(of_match)
        entry = {"op": action.op, "object": OBJECTS[action.part], "id": _identity(action.part, action.key, major)}
        for side, value in (("before", action.before), ("after", action.after)):
            if value is not None:
                entry[side] = _value(action.part, action.key, value, major)
        entries.append(entry)
    return entries


def step_text(step: Step | Action, major: int) -> str:
    """Return a step as part of a sentence about what failed."""
    op = "add" if step.before is None else "delete" if step.after is None else "change"
    what = str(step.key) if step.part == "filters" else _identity(step.part, step.key, major)
    value = "" if step.after is None else f" ({_value(step.part, step.key, step.after, major)})"
    return f"{op} {OBJECTS[step.part]} {what}{value}"


def match_texts(tree: Tree, minors: Container[int] | None = None) -> dict[int, list[str]]:
    """Return what is matched for these classes, or for each that any filter points to; the match that wins first."""
    rules: dict[int, dict[Match, list[Rule]]] = {}
    for rule, each in tree.filters.items():
        if minors is None or each.minor in minors:
            rules.setdefault(each.minor, {}).setdefault(rule.match, []).append(rule)
    found = {}
    for minor, matches in rules.items():
        ranked = []
        for match, there in matches.items():
            whole = rules_of(match)
            some = "" if len(there) == len(whole) else ", of some frames only"
            ranked.append((whole[0].preference, f"{match}{some}"))
        found[minor] = [text for _preference, text in sorted(ranked)]
    return found


def diff(now: Tree, wanted: Tree, actions: Collection[Action], major: int) -> dict[str, str]:
    """Return before and after of what the actions touch, and of nothing else."""
    touched: dict[str, set[Any]] = {part: set() for part in OBJECTS}
    for action in actions:
        touched[action.part].add(action.key)
    if touched["qdisc"] and not wanted.qdisc:
        touched.update((part, set(getattr(now, part))) for part in PARTS)
    # A leaf or a filter is shown with its class, since a match alone says nothing about its bandwidth.
    homes = touched["classes"] | touched["leaves"]
    for tree in (now, wanted):
        homes |= {tree.filters[rule].minor for rule in touched["filters"] if rule in tree.filters}
    before, after = (list(_lines(tree, touched, homes, major)) for tree in (now, wanted))
    if now.foreign.root and not wanted.foreign.root:
        before.insert(0, f"qdisc {now.foreign.root}, and all below it")
    for action in actions:
        if action.op == "recreate":
            why = " and ".join(_reasons(now, wanted, action.key)) or "its parent is"
            after.append(f"# class {major:x}:{action.key:x} is made anew: {why}")
    return {side: "".join(f"{line}\n" for line in lines) for side, lines in (("before", before), ("after", after))}


def _lines(tree: Tree, touched: dict[str, set[Any]], homes: set[int], major: int) -> Iterator[str]:
    if major in touched["qdisc"] and tree.qdisc:
        yield f"qdisc {major:x}: {_value('qdisc', major, tree.default, major)}"
    matches = match_texts(tree, homes)
    for minor in tree.parents_first(homes & tree.classes.keys()):
        node = tree.classes[minor]
        below = f" below {major:x}:{node.parent:x}" if node.parent else ""
        default = ", the default class" if minor == tree.default else ""
        left = ", left by a run that was interrupted" if minor > TEMPORARY else ""
        yield f"class {major:x}:{minor:x}{below}{default}{left}"
        yield from (f"  {name} {curve}" for name, curve in node.curves().items())
        if minor in tree.leaves:
            yield f"  leaf {tree.leaves[minor]}"
        yield from (f"  {text}" for text in matches.get(minor, ()))
    for minor in sorted(homes - tree.classes.keys()):
        yield from (
            f"filter {text} to class {major:x}:{minor:x}, which is not there" for text in matches.get(minor, ())
        )
    yield from sorted(f"filter {stray.text}, which goes" for stray in touched["strays"] & tree.strays.keys())
    for key in touched["lifts"] & tree.lifts.keys():
        yield f"filter for {LIFTER}" + f", {CHANGED}" * (not tree.lifts[key])


def _reasons(now: Tree, wanted: Tree, minor: int) -> Iterator[str]:
    """Say why a class is made anew; nothing if it is only because it is below one that is."""
    before, after = now.classes[minor], wanted.classes[minor]
    if before.parent != after.parent:
        yield "the kernel moves no class to another parent"
    if not before.curves().keys() <= after.curves().keys():
        yield "the kernel takes no curve away in place"
    if minor in wanted.offspring and minor not in now.offspring:
        yield "it gets children"
    elif minor in now.offspring and minor not in wanted.offspring:
        yield "it loses its children"
    else:
        leaf, new = now.leaves.get(minor), wanted.leaves.get(minor)
        if leaf != new and not (leaf and new and leaf.changes_in_place_to(new)):
            yield "the kernel cannot change its leaf in place"


def _identity(part: str, key: Any, major: int) -> str:
    if part in ("root", "qdisc"):
        return f"{key:x}:"
    if part == "filters":
        return str(key.match)
    if part == "strays":
        return str(key.text)
    return LIFTER if part == "lifts" else f"{major:x}:{key:x}"


def _value(part: str, key: Any, value: Any, major: int) -> str:
    if part == "qdisc":
        return f"hfsc, default class {major:x}:{value:x}"
    if part in ("filters", "strays"):
        minor = value.minor if part == "filters" else key.minor
        return "no class" if minor is None else f"class {major:x}:{minor:x}"
    if part == "classes" and value.parent:
        return f"{value}, below {major:x}:{value.parent:x}"
    return ("lifted" if value else CHANGED) if part == "lifts" else str(value)
