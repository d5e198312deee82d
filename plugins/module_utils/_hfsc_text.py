# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Trees and plans as a person reads them: the list of actions and the two sides of a diff."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import DRIFTED, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Action, Step

PARTS = ("qdisc", "classes", "leaves", "lifts", "filters")
OBJECTS = dict(zip((*PARTS, "root"), ("qdisc", "class", "leaf", "filter", "filter", "qdisc")))
FOREIGN = "changed by somebody"
LIFTER = "tags inside frames"


def action_list(actions: Iterable[Action], major: int) -> list[dict[str, str]]:
    """Return what a module returns of a plan: op, object and id, and what the thing was and is to be."""
    return [
        {
            "op": action.op,
            "object": OBJECTS[action.part],
            "id": _identity(action.part, action.key, major),
            **{
                side: _value(action.part, value, major)
                for side, value in (("before", action.before), ("after", action.after))
                if value is not None
            },
        }
        for action in actions
    ]


def step_text(step: Step | Action, major: int) -> str:
    """Return a step as part of a sentence about what failed."""
    op = "add" if step.before is None else "delete" if step.after is None else "change"
    value = "" if step.after is None else f" ({_value(step.part, step.after, major)})"
    return f"{op} {OBJECTS[step.part]} {_identity(step.part, step.key, major)}{value}"


def diff(now: Tree, wanted: Tree, actions: list[Action], major: int) -> dict[str, str]:
    """Return before and after of what the actions touch, and of nothing else."""
    touched = {(action.part, action.key) for action in actions}
    if ("qdisc", major) in touched and not wanted.qdisc:
        touched |= {(part, key) for part in PARTS for key in getattr(now, part)}
    before, after = (list(_lines(tree, touched, major)) for tree in (now, wanted))
    if now.foreign.root and not wanted.foreign.root:
        before.insert(0, f"qdisc {now.foreign.root}, and all below it")
    for action in actions:
        if action.op == "recreate":
            moved = action.before.parent != action.after.parent
            why = "moves no class to another parent" if moved else "takes no curve away in place"
            after.append(f"# class {major:x}:{action.key:x} is made anew: the kernel {why}")
    return {side: "".join(f"{line}\n" for line in lines) for side, lines in (("before", before), ("after", after))}


def _lines(tree: Tree, touched: set[tuple[str, int]], major: int) -> Iterator[str]:
    if ("qdisc", major) in touched and tree.qdisc:
        yield f"qdisc {major:x}: {_value('qdisc', tree.default, major)}"
    # A leaf or a filter is shown with its class, since a VLAN's number alone says nothing about its bandwidth.
    homes = {key for part, key in touched if part in ("classes", "leaves")}
    homes |= {tree.filters[key] for part, key in touched if part == "filters" and key in tree.filters}
    for minor in tree.parents_first(homes & set(tree.classes)):
        node = tree.classes[minor]
        below = f" below {major:x}:{node.parent:x}" if node.parent else ""
        default = ", the default class" if minor == tree.default else ""
        yield f"class {major:x}:{minor:x}{below}{default}"
        yield from (f"  {name} {curve}" for name, curve in node.curves().items())
        if minor in tree.leaves:
            yield f"  leaf {tree.leaves[minor]}"
        yield from (f"  VLAN {vlan}" for vlan, target in sorted(tree.filters.items()) if target == minor)
    for part, key in sorted(touched):
        if part == "filters" and tree.filters.get(key) == DRIFTED:
            yield f"filter for VLAN {key}, {FOREIGN}"
        if part == "lifts" and tree.lifts:
            yield f"filter for {LIFTER}" + f", {FOREIGN}" * (not tree.lifts[key])


def _identity(part: str, key: int, major: int) -> str:
    names = {
        "root": f"{key:x}:",
        "qdisc": f"{key:x}:",
        "filters": f"VLAN {key}",
        "lifts": LIFTER,
    }
    return names.get(part, f"{major:x}:{key:x}")


def _value(part: str, value: Any, major: int) -> str:
    if part == "qdisc":
        return f"hfsc, default class {major:x}:{value:x}"
    if part == "filters":
        return FOREIGN if value == DRIFTED else f"class {major:x}:{value:x}"
    if part == "classes" and value.parent:
        return f"{value}, below {major:x}:{value.parent:x}"
    return ("lifted" if value else FOREIGN) if part == "lifts" else str(value)
