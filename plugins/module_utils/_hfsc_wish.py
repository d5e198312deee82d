# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""From the tree that is and what a user declares to the tree that is wanted."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DEFAULT_MINOR,
    MINORS,
    TAGGED,
    TEMPORARY,
    Curve,
    Filter,
    Foreign,
    HfscClass,
    Leaf,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import LeafWish, less_defaults
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule, rules_of

# The engine of oVirt sends shares of 1 to 100 for ls, which vdsm writes as 8 to 800 bit/s.
# Anything else it is told in bit/s, and writes eight times (tc/cls.py of vdsm).
VDSM_SHARES = 100
VDSM_TIMES = 8
# One share is 1mbit, in bytes/s. Not 1 byte/s: m2sm() of net/sched/sch_hfsc.c keeps slopes in steps of about
# 0.93 bytes/s, rounded up, and a weight of 2 to 1 would become one of 3 to 2.
SHARE = 125_000


NO_CURVES = HfscClass()
FQ_CODEL = LeafWish("fq_codel")


@dataclass(frozen=True)
class Wish:
    """One class as a user declares it. ``leaf`` None is the kernel's own pfifo.

    ``path`` is where it was written, and ``match_paths`` are where its matches were.
    """

    path: str
    minor: int
    node: HfscClass = NO_CURVES
    leaf: LeafWish | None = FQ_CODEL
    leaf_named: bool = False
    matches: tuple[Match, ...] = ()
    default: bool = False
    absent: bool = False
    ignore: bool = False
    match_paths: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Declaration:
    """All that is declared of a device. ``prune``: and nothing else; ``whole``: the device is to have no tree."""

    major: int
    wishes: tuple[Wish, ...] = ()
    prune: bool = False
    whole: bool = False


def declare(now: Tree, declaration: Declaration, packet: int, queue: int) -> Tree:
    """Return the tree in which all is as declared, and what is not declared as it was, or gone if it is pruned.

    There is always a default class, since the kernel drops what has none (hfsc_classify() returns NULL). Where none is
    declared and none is there, it gets the highest ls among the classes, as vdsm has it. What the kernel's defaults of
    a qdisc depend on is ``packet``, psched_mtu() in bytes, and ``queue``, txqueuelen in packets.
    """
    present = [wish for wish in declaration.wishes if not wish.absent and not wish.ignore]
    absent = {wish.minor for wish in declaration.wishes if wish.absent}
    there = taken_over(healed(now), {wish.minor for wish in declaration.wishes if wish.ignore})
    if any(wish.default and wish.absent and wish.minor == DEFAULT_MINOR for wish in declaration.wishes):
        absent |= set(there.qdisc.values()) - there.offspring.keys()
    if declaration.prune or declaration.whole:
        absent = set(there.classes) - {wish.minor for wish in declaration.wishes if not wish.absent}
    tree = _with(_without(there, absent), present)
    if not tree.classes:
        if declaration.whole or declaration.prune or any(wish.default for wish in declaration.wishes):
            return Tree(foreign=Foreign(root=now.foreign.root)) if now.qdisc else now
        if not now.classes:
            return now
    leaves = {wish.minor: wish.leaf for wish in present}
    default = _default(there, tree, declaration)
    if default not in tree.classes:
        tree = replace(tree, classes={**tree.classes, default: HfscClass(ls=_highest(tree.classes or now.classes))})
        leaves[default] = FQ_CODEL
    tree = replace(tree, qdisc={declaration.major: default}, foreign=replace(tree.foreign, root=None))
    tree = replace(tree, leaves=_leaves(tree, leaves, now.leaves, packet, queue))
    lifts = {TAGGED: True} if any(rule.tagged for rule in tree.filters) else {}
    return _without_orphans(now, replace(tree, lifts=lifts))


def handle_of(rule: Rule, taken: Collection[int]) -> int:
    """Return the handle of a new filter: the VLAN's id, the mark, or a number that follows from the rule."""
    if rule.match.fwmark:
        return rule.match.fwmark[0]
    handle = rule.match.vlan or 0x1000
    if rule.family:
        handle = zlib.crc32(str(rule).encode()) & 0x7FFFFFFF | 0x10000
    while handle in taken:
        handle += 1
    return handle


def healed(tree: Tree) -> Tree:
    """Return the tree without the temporary classes of a run that was interrupted: their traffic goes back home."""
    homes = tree.temporary
    if not homes:
        return tree
    classes = {minor: node for minor, node in tree.classes.items() if minor not in homes}
    leaves = {minor: leaf for minor, leaf in tree.leaves.items() if minor not in homes}
    for minor, home in homes.items():
        node = tree.classes[minor]
        if home not in classes:
            classes[home] = replace(node, parent=homes.get(node.parent, node.parent))
            if minor in tree.leaves:
                leaves[home] = replace(tree.leaves[minor], handle=home)
    return replace(
        tree,
        qdisc={major: homes.get(default, default) for major, default in tree.qdisc.items()},
        classes=classes,
        leaves=leaves,
        filters={rule: replace(each, minor=homes.get(each.minor, each.minor)) for rule, each in tree.filters.items()},
    )


def taken_over(tree: Tree, ignored: Collection[int]) -> Tree:
    """Return the tree without strays: for vdsm's filters ours, and its ls, written eight times, as they were meant.

    Classes that are to be ignored keep what vdsm gave them, but for its last filter, which would end the search.
    """
    kept = {stray: there for stray, there in tree.strays.items() if stray.kind == "basic" and stray.minor in ignored}
    vdsms = [stray for stray in tree.strays if stray.is_vdsms and stray not in kept]
    filters = dict(tree.filters)
    for stray in vdsms:
        if stray.kind == "basic" and stray.minor in tree.classes:
            (rule,) = rules_of(Match(vlan=stray.preference))
            filters.setdefault(rule, Filter(stray.preference, handle_of(rule, ())))
    return replace(tree, filters=filters, strays=kept, classes={**tree.classes, **_meant(tree, ignored)})


def _meant(tree: Tree, ignored: Collection[int]) -> dict[int, HfscClass]:
    """Return the classes with an ls as vdsm wrote it, with the one that was meant.

    All of them together tell which, also those that are ignored.
    """

    theirs = {stray.minor or 0 for stray in tree.strays if stray.is_vdsms}
    small = {minor for minor, node in tree.classes.items() if node.ls and max(node.ls.m1, node.ls.m2) <= VDSM_SHARES}
    shares = not any(node.ls and minor not in small for minor, node in tree.classes.items() if minor in theirs)
    if theirs and shares:
        theirs |= small & set(tree.qdisc.values())  # the default class, where somebody took its filter away

    def meant(curve: Curve) -> Curve:
        if shares:
            return Curve(curve.m2 * SHARE, curve.m1 * SHARE, curve.d // VDSM_TIMES)
        return Curve(-(-curve.m2 // VDSM_TIMES), -(-curve.m1 // VDSM_TIMES), curve.d // VDSM_TIMES)

    classes = ((minor, node) for minor, node in tree.classes.items() if minor in theirs and minor not in ignored)
    return {minor: replace(node, ls=node.ls and meant(node.ls)) for minor, node in classes}


def _without(tree: Tree, minors: Collection[int]) -> Tree:
    return replace(
        tree,
        classes={minor: node for minor, node in tree.classes.items() if minor not in minors},
        leaves={minor: leaf for minor, leaf in tree.leaves.items() if minor not in minors},
        filters={rule: each for rule, each in tree.filters.items() if each.minor not in minors},
    )


def _with(tree: Tree, wishes: Iterable[Wish]) -> Tree:
    wishes = list(wishes)
    declared = {wish.minor for wish in wishes}
    filters = {rule: each for rule, each in tree.filters.items() if each.minor not in declared}
    taken: dict[int, set[int]] = {}
    for rule, each in tree.filters.items():
        taken.setdefault(rule.preference, set()).add(each.handle)
    for wish in wishes:
        for rule in (rule for match in wish.matches for rule in rules_of(match)):
            there = tree.filters.get(rule)
            used = taken.setdefault(rule.preference, set())
            handle = there.handle if there else handle_of(rule, used)
            used.add(handle)
            filters[rule] = Filter(wish.minor, handle)
    return replace(tree, classes={**tree.classes, **{wish.minor: wish.node for wish in wishes}}, filters=filters)


def _default(before: Tree, tree: Tree, declaration: Declaration) -> int:
    declared = [wish.minor for wish in declaration.wishes if wish.default and not wish.absent]
    kept = tree.qdisc.values() if not declaration.prune else ()
    # One that has children gets nothing: the kernel drops what it would (hfsc_classify()).
    barren = before.offspring.keys() & tree.offspring.keys()
    whole = (minor for minor in (*declared, *kept) if minor in tree.classes and minor not in barren)
    free = (minor for minor in (DEFAULT_MINOR, *reversed(MINORS)) if minor not in tree.offspring)
    return next(whole, next(free))


def _highest(classes: Mapping[int, HfscClass]) -> Curve:
    links = [node.ls for node in classes.values() if node.ls]
    links = links or [Curve(node.rt.m2) for node in classes.values() if node.rt]
    return max(links, key=lambda curve: (curve.m2, curve.m1, curve.d))


def _leaves(
    tree: Tree, wanted: Mapping[int, LeafWish | None], standing: Mapping[int, Leaf], packet: int, queue: int
) -> dict[int, Leaf]:
    """Return the leaves: those that are wanted, and the others as they are; none in a class that has children.

    ``standing`` are those that are there now.
    """
    inner = tree.offspring
    bare = {minor for minor, wish in wanted.items() if wish is None} | inner.keys()
    leaves = {minor: leaf for minor, leaf in tree.leaves.items() if minor not in bare}
    taken = {each.handle for each in tree.foreign.qdiscs} | {leaf.handle for leaf in leaves.values()} | set(tree.qdisc)
    taken |= {leaf.handle for leaf in standing.values()}  # also of those that go, since what is new comes first
    for minor, wish in sorted(wanted.items()):
        if wish is None or minor in inner:
            continue
        options, there = less_defaults(wish, packet, queue), leaves.get(minor)
        if there and there.kind == wish.kind:
            leaves[minor] = Leaf(wish.kind, there.handle, options)
            continue
        own = standing.get(minor)
        handle = minor if own and own.handle == minor else free_handle(minor, taken)
        taken.add(handle)
        leaves[minor] = Leaf(wish.kind, handle, options)
    return leaves


def free_handle(minor: int, taken: Collection[int]) -> int:
    """Return the major of a new leaf for a class: its own minor, as vdsm has it, unless that is taken."""
    return minor if minor not in taken else next(major for major in range(TEMPORARY - 1, 0, -1) if major not in taken)


def _without_orphans(now: Tree, tree: Tree) -> Tree:
    """Return the tree without somebody's qdiscs below leaves that it no longer has: the kernel takes those along."""
    gone = {leaf.handle for minor, leaf in now.leaves.items() if tree.leaves.get(minor) != leaf}
    while more := {each.handle for each in tree.foreign.qdiscs if each.parent in gone} - gone:
        gone |= more
    qdiscs = tuple(each for each in tree.foreign.qdiscs if each.handle not in gone)
    return replace(tree, foreign=replace(tree.foreign, qdiscs=qdiscs))
