# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A device's tree as tc_hfsc_info returns it: as people think of it, and as tc_hfsc_class takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DEFAULT_MINOR,
    FIRST_RATES,
    RATES,
    TIMES,
    Curve,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import DEFAULTS, leaf_option, less_defaults
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import PREFERENCES, Match
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import classid, parse_class
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import CHANGED, LIFTER, match_texts
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import Declaration, Wish, declare
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_counters import Counters
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, TIME, Scale

BITS = Scale(1, 0, 2**64, "a measured rate is in whole bit/s")
WRAP = 2**32  # the kernel counts packets and drops in 32 bits


@dataclass(frozen=True)
class Counted:
    """What the kernel counted for each class, by its minor: up to now, and up to ``seconds`` before."""

    now: Mapping[int, Counters] = field(default_factory=dict)
    before: Mapping[int, Counters] = field(default_factory=dict)
    seconds: float = 0.0


def device_info(device: str, tree: Tree, link: Link, counted: Counted) -> dict[str, Any]:
    """Return what there is to know of a device."""
    major = next(iter(tree.qdisc), 0)
    # What tc_hfsc_class would leave as it is: vdsm's filters as ours, and nothing of an interrupted run.
    kept = declare(tree, Declaration(major), link.packet, link.queue) if tree.classes else tree
    return {
        "device": device,
        "managed": bool(tree.qdisc),
        "handle": f"{major:x}:" if tree.qdisc else None,
        "default": classid(major, tree.default) if tree.default is not None else None,
        "speed": RATE.format(link.speed, RATES) if link.speed else None,
        "root": tree.foreign.root,
        "vdsm": any(stray.preference not in PREFERENCES for stray in tree.strays),
        "classes": list(classes(kept, major, link)),
        "tree": _nested(tree, replace(tree, filters={**kept.filters, **tree.filters}), major, counted),
        "foreign": list(_foreign(tree, major)),
        "notes": list(_notes(tree, major)),
    }


def classes(tree: Tree, major: int, link: Link) -> Iterator[dict[str, Any]]:
    """Give the classes as tc_hfsc_class takes them; one that cannot be written is one to ignore."""
    matches = tree.matches()
    for minor in tree.parents_first(tree.classes):
        if minor not in tree.temporary:
            written = _written(tree, major, minor, matches.get(minor, []))
            if not _is_said_by(written, tree, major, minor, link):
                default = {"default": True} if minor == tree.default else {}
                written = {"classid": classid(major, minor), **default, "ignore": True}
            yield written


def _written(tree: Tree, major: int, minor: int, matches: list[Match]) -> dict[str, Any]:
    node, default = tree.classes[minor], minor == tree.default
    own = Match(vlan=minor)
    written: dict[str, Any] = {}
    if own in matches:
        written["vlan"] = minor
    elif not default or minor != DEFAULT_MINOR:
        written["classid"] = classid(major, minor)
    if default:
        written["default"] = True
    if node.parent:
        written["parent"] = classid(major, node.parent)
    written.update((name, _curve(curve)) for name, curve in node.curves().items())
    others = [match.options() for match in matches if match != own]
    if others:
        written["match"] = others
    if minor not in tree.offspring:
        leaf = tree.leaves.get(minor)
        written["leaf"] = leaf_option(leaf.kind, leaf.options) if leaf else "none"
    return written


def _curve(curve: Curve) -> str | dict[str, str]:
    m2 = RATE.format(curve.m2, RATES)
    if not curve.d:
        return m2
    return {"m1": RATE.format(curve.m1, FIRST_RATES), "d": TIME.format(curve.d, TIMES), "m2": m2}


def _is_said_by(written: dict[str, Any], tree: Tree, major: int, minor: int, link: Link) -> bool:
    """Whether tc_hfsc_class reads the options as the class that is there."""
    problems = Problems()
    wish = parse_class(written, major, False, problems)
    leaf = tree.leaves.get(minor)
    inside = wish.leaf and (wish.leaf.kind, less_defaults(wish.leaf, link.packet, link.queue))
    return (
        not problems.found
        and (minor not in tree.offspring or _can_have_children(wish))
        and (wish.minor, wish.node) == (minor, tree.classes[minor])
        and (minor in tree.offspring or inside == (leaf and (leaf.kind, leaf.options)))
    )


def _can_have_children(wish: Wish) -> bool:
    return bool(wish.node.ls) and not wish.node.rt and not wish.matches and not wish.default


def _nested(tree: Tree, matched: Tree, major: int, counted: Counted) -> list[dict[str, Any]]:
    """Return the classes with their children inside. ``matched`` has vdsm's filters, too."""
    matches, texts = matched.matches(), match_texts(matched)
    top: list[dict[str, Any]] = []
    nodes: dict[int, dict[str, Any]] = {}
    for minor in tree.parents_first(tree.classes):
        node = tree.classes[minor]
        nodes[minor] = {
            "name": _name(tree, major, minor, matches.get(minor, [])),
            "classid": classid(major, minor),
            **{name: str(curve) for name, curve in node.curves().items()},
            "match": texts.get(minor, []),
            **({} if minor in tree.offspring else {"leaf": str(tree.leaves.get(minor, "none"))}),
            **_counted(counted, minor, minor in tree.offspring),
            "children": [],
        }
        above = nodes.get(node.parent)
        (above["children"] if above else top).append(nodes[minor])
    return top


def _name(tree: Tree, major: int, minor: int, matches: list[Match]) -> str:
    if minor in tree.temporary:
        return f"temporary class of {classid(major, tree.temporary[minor])}"
    names = [str(match) for match in matches if match == Match(vlan=match.vlan)]
    names += ["default"] * (minor == tree.default)
    return ", ".join(names) or classid(major, minor)


def _counted(counted: Counted, minor: int, inner: bool) -> dict[str, Any]:
    now, before = counted.now.get(minor), counted.before.get(minor)
    if not now:
        return {}
    counters = {"bytes": _bytes(now, inner)}
    if not inner:
        counters.update(
            packets=now.packets,
            drops=now.drops,
            overlimits=now.overlimits,
            backlog_bytes=now.backlog,
            backlog_packets=now.queue,
        )
    # A class that was made anew in between began to count again.
    passed = _bytes(now, inner) - _bytes(before, inner) if before else -1
    if before is None or passed < 0:
        return {"counters": counters}
    rates: dict[str, Any] = {"rate": RATE.format(round(passed * 8 / counted.seconds), BITS)}
    if not inner:
        for name, one, other in (("packet", before.packets, now.packets), ("drop", before.drops, now.drops)):
            rates[f"{name}_rate"] = round((other - one) % WRAP / counted.seconds, 1)
    return {"counters": counters, **rates}


def _bytes(counters: Counters, inner: bool) -> int:
    """Return the bytes that left a class: what left it itself, or went through it from those below it."""
    return counters.work if inner else counters.bytes


def _foreign(tree: Tree, major: int) -> Iterator[str]:
    yield from (each.text for each in tree.foreign.filters)
    yield from (each.text for each in tree.foreign.qdiscs)
    for stray in tree.strays:
        yield f"{stray.text}, " + (CHANGED if stray.preference in PREFERENCES else "of vdsm")
    for minor, leaf in tree.leaves.items():
        if leaf.kind not in DEFAULTS:
            yield f"qdisc {leaf} in class {classid(major, minor)}"


def _notes(tree: Tree, major: int) -> Iterator[str]:
    """Say what is not as it should be, and what tc_hfsc_class would put right."""
    for default in tree.qdisc.values():
        if default not in tree.classes:
            yield f"the default class {classid(major, default)} is not there: what no filter claims is dropped"
        elif default in tree.offspring:  # hfsc_classify() knows only classes without children
            yield f"the default class {classid(major, default)} has others below it: what no filter claims is dropped"
    for minor, home in sorted(tree.temporary.items()):
        yield (
            f"class {classid(major, minor)} is a temporary one for {classid(major, home)},"
            " of a run that is under way or was interrupted"
        )
    texts = match_texts(tree)
    for minor in sorted(texts.keys() - tree.classes.keys()):
        yield from (f"the filter {text} points to {classid(major, minor)}, which is not there" for text in texts[minor])
    tagged = any(rule.tagged for rule in tree.filters)
    if tagged and not tree.lifts:
        yield f"the filter for {LIFTER} is missing"
    if not all(tree.lifts.values()):
        yield f"the filter for {LIFTER} was {CHANGED}"
