# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Service curves, classes and a device's whole HFSC tree, as the kernel keeps them, and what may stand in one.

Rates are bytes/s and times microseconds, both whole numbers of 32 bits (struct tc_service_curve, linux/pkt_sched.h).
A class is known by its minor number: the VLAN's id, or `DEFAULT_MINOR` (the layout of oVirt's vdsm).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, TIME, Scale

DEFAULT_MINOR = 0x1388
# Where a class lives while its own is taken away and made again; never a VLAN's id, nor one a person would choose.
TEMPORARY_MINORS = range(0xFFFE, 0xFFEF, -1)
TAGGED = 0x8100  # ETH_P_8021Q
DRIFTED = -1  # instead of a minor: somebody changed what the filter matches or does
# After the filters of vdsm, whose preferences are VLAN ids, and before its catch-all at 5000, which ends the search.
LIFT_PREFERENCE, VLAN_PREFERENCE = OUR_PREFERENCES = (4998, 4999)

RATES = Scale(8, 1, 2**32 - 1, "the kernel keeps a rate as whole bytes/s in 32 bits, from 8bit to 34359738360bit")
# A curve that starts flat (a delay, then m2) is one that HFSC knows; one that ends flat would starve its class.
FIRST_RATES = Scale(8, 0, 2**32 - 1, RATES.rule)
TIMES = Scale(1, 1, 2**32 - 1, "the kernel keeps d as whole microseconds in 32 bits")


@dataclass(frozen=True)
class Curve:
    """A service curve: ``m1`` bytes/s for the first ``d`` microseconds of a backlog, ``m2`` bytes/s from then on."""

    m2: int
    m1: int = 0
    d: int = 0

    def __post_init__(self) -> None:
        # Without a time the first slope says nothing, but vdsm and tc can leave one behind.
        if not self.d:
            object.__setattr__(self, "m1", 0)

    def __str__(self) -> str:
        m2 = RATE.format(self.m2, RATES)
        return f"m1 {RATE.format(self.m1, RATES)} d {TIME.format(self.d, TIMES)} m2 {m2}" if self.d else m2

    def served(self, time: int) -> int:
        """Return what is served in ``time`` microseconds, in millionths of a byte."""
        first = min(time, self.d)
        return self.m1 * first + self.m2 * (time - first)

    def reaches(self, other: Curve) -> bool:
        """Whether this curve is nowhere below the other: two lines each, so their ends and last slopes decide."""
        return self.m2 >= other.m2 and all(self.served(time) >= other.served(time) for time in (self.d, other.d))


@dataclass(frozen=True)
class HfscClass:
    """A class: what it is guaranteed (``rt``), its part of the rest (``ls``), and its limit (``ul``).

    ``parent`` is a minor; 0 is the root.
    """

    rt: Curve | None = None
    ls: Curve | None = None
    ul: Curve | None = None
    parent: int = 0

    def curves(self) -> dict[str, Curve]:
        """Return the curves there are, by their names in tc(8)."""
        named = {"rt": self.rt, "ls": self.ls, "ul": self.ul}
        return {name: curve for name, curve in named.items() if curve}

    def __str__(self) -> str:
        return ", ".join(f"{name} {curve}" for name, curve in self.curves().items())

    def changes_in_place_to(self, other: HfscClass) -> bool:
        """Whether the kernel can turn this class into the other one where it is.

        hfsc_change_class() (net/sched/sch_hfsc.c) sets the curves it is given and has no way to take one away;
        another parent is EINVAL.
        """
        return self.parent == other.parent and self.curves().keys() <= other.curves().keys()


@dataclass(frozen=True)
class Leaf:
    """The qdisc in a class: its kind, and the major number of its handle. The kernel's own pfifo is no Leaf."""

    kind: str
    handle: int

    def __str__(self) -> str:
        return f"{self.kind} {self.handle:x}:"


@dataclass(frozen=True)
class ForeignFilter:
    """A filter under our root that is not ours, and the minor of the class it is known to point to."""

    text: str
    preference: int
    minor: int | None = None


@dataclass(frozen=True)
class ForeignQdisc:
    """A qdisc that is neither the root nor the leaf of a class, and the majors of its handle and its parent."""

    text: str
    handle: int
    parent: int


@dataclass(frozen=True)
class Foreign:
    """What else is on the device, which stays as it is."""

    root: str | None = None  # the root qdisc, where it is not ours and was put there by somebody
    filters: tuple[ForeignFilter, ...] = ()
    qdiscs: tuple[ForeignQdisc, ...] = ()


@dataclass(frozen=True)
class Tree:
    """All of a device's HFSC tree. A part maps what identifies a thing to what it is; no qdisc, no tree."""

    qdisc: Mapping[int, int] = field(default_factory=dict)  # major of the root -> minor of its default class
    classes: Mapping[int, HfscClass] = field(default_factory=dict)
    leaves: Mapping[int, Leaf] = field(default_factory=dict)  # minor -> the qdisc in that class
    # TAGGED -> True, or False where somebody changed it; see the lifter in _tc_messages.py
    lifts: Mapping[int, bool] = field(default_factory=dict)
    filters: Mapping[int, int] = field(default_factory=dict)  # VLAN id -> minor, or DRIFTED
    foreign: Foreign = Foreign()

    @property
    def default(self) -> int | None:
        """The minor of the default class; it need not exist."""
        return next(iter(self.qdisc.values()), None)

    def children(self, minor: int) -> list[int]:
        """Return the minors of a class's children."""
        return [child for child, node in self.classes.items() if node.parent == minor]

    def parents_first(self, minors: Iterable[int]) -> list[int]:
        """Return minors so that a parent comes before its children, the default class before all else it can."""
        return sorted(minors, key=lambda minor: (self._depth(minor), minor != self.default, minor))

    def _depth(self, minor: int) -> int:
        depth = 0
        while minor in self.classes and self.classes[minor].parent:
            minor, depth = self.classes[minor].parent, depth + 1
        return depth

    def free_handle(self, minor: int) -> int:
        """Return the major of a new leaf for a class: its own minor, as vdsm has it, unless that is taken."""
        taken = {each.handle for each in self.foreign.qdiscs} | {leaf.handle for leaf in self.leaves.values()}
        taken |= set(self.qdisc)
        return minor if minor not in taken else max(set(range(1, 0x8000)) - taken)

    def free_minor(self, *trees: Tree) -> int:
        """Return a minor for a temporary class that neither this tree nor the others use."""
        taken = {minor for tree in (self, *trees) for minor in tree.classes}
        return next(minor for minor in TEMPORARY_MINORS if minor not in taken)


@dataclass(frozen=True)
class Wish:
    """One class as a user declares it. ``leaf`` is a qdisc's kind; None leaves the kernel's pfifo."""

    vlan: int | None
    node: HfscClass = HfscClass()
    leaf: str | None = None

    @property
    def minor(self) -> int:
        """The minor of the class: the VLAN's id, or the default class's."""
        return DEFAULT_MINOR if self.vlan is None else self.vlan


def declare(now: Tree, major: int, wish: Wish) -> Tree:
    """Return the tree in which the class is as wished, and all else as it was.

    Where no default class exists an implicit one is made, since the kernel drops what has no class
    (hfsc_classify() returns NULL): with the highest ls among the classes, as vdsm does.
    """
    now = healed(now)
    tree = replace(
        now,
        qdisc={major: DEFAULT_MINOR if wish.vlan is None else now.qdisc.get(major, DEFAULT_MINOR)},
        classes={**now.classes, wish.minor: wish.node},
        filters=now.filters if wish.vlan is None else {**now.filters, wish.vlan: wish.minor},
        foreign=replace(now.foreign, root=None),
    )
    tree = replace(tree, leaves=_with_leaf(tree, wish.minor, wish.leaf))
    tree = _without_orphans(now, _with_default(tree, major))
    return replace(tree, lifts={TAGGED: True} if tree.filters else {})


def withdraw(now: Tree, major: int, wish: Wish) -> Tree:
    """Return the tree without the class and its filter; without the default class there is no tree at all."""
    now = healed(now)
    if wish.vlan is None:
        gone = Foreign(root=now.foreign.root)
        return replace(now, qdisc={}, classes={}, leaves={}, lifts={}, filters={}, foreign=gone) if now.qdisc else now
    filters = {vlan: minor for vlan, minor in now.filters.items() if vlan != wish.vlan}
    without: dict[str, Any] = {
        part: {minor: value for minor, value in getattr(now, part).items() if minor != wish.minor}
        for part in ("classes", "leaves")
    }
    tree = _without_orphans(now, replace(now, filters=filters, **without))
    if not tree.qdisc:
        return tree
    if now.default == wish.minor and wish.minor in now.classes:  # somebody's layout: a VLAN's is the default class
        tree = _with_default(tree, major, highest_of=now)
    return replace(tree, lifts=now.lifts if filters else {})


def _with_default(tree: Tree, major: int, highest_of: Tree | None = None) -> Tree:
    if tree.default in tree.classes:
        return tree
    if DEFAULT_MINOR in tree.classes:
        return replace(tree, qdisc={major: DEFAULT_MINOR})
    classes = (highest_of or tree).classes.values()
    links = [node.ls for node in classes if node.ls] or [Curve(node.rt.m2) for node in classes if node.rt]
    ls = max(links, key=lambda curve: (curve.m2, curve.m1, curve.d))
    return replace(
        tree,
        qdisc={major: DEFAULT_MINOR},
        classes={**tree.classes, DEFAULT_MINOR: HfscClass(ls=ls)},
        leaves=_with_leaf(tree, DEFAULT_MINOR, "fq_codel"),
    )


def _without_orphans(now: Tree, tree: Tree) -> Tree:
    """Return the tree without somebody's qdiscs below leaves that it no longer has: the kernel takes those along."""
    gone = {leaf.handle for minor, leaf in now.leaves.items() if tree.leaves.get(minor) != leaf}
    while more := {each.handle for each in tree.foreign.qdiscs if each.parent in gone} - gone:
        gone |= more
    qdiscs = tuple(each for each in tree.foreign.qdiscs if each.handle not in gone)
    return replace(tree, foreign=replace(tree.foreign, qdiscs=qdiscs))


def _with_leaf(tree: Tree, minor: int, kind: str | None) -> Mapping[int, Leaf]:
    there = tree.leaves.get(minor)
    if (there.kind if there else None) == kind:
        return tree.leaves
    others = {other: leaf for other, leaf in tree.leaves.items() if other != minor}
    return {**others, minor: Leaf(kind, replace(tree, leaves=others).free_handle(minor))} if kind else others


def healed(tree: Tree) -> Tree:
    """Return the tree without the temporary classes of a run that was interrupted: their traffic goes back home."""
    for minor in set(TEMPORARY_MINORS) & set(tree.classes):
        node, leaf = tree.classes[minor], tree.leaves.get(minor)
        homes = [vlan for vlan, target in tree.filters.items() if target == minor]
        classes = {key: value for key, value in tree.classes.items() if key != minor}
        leaves = {key: value for key, value in tree.leaves.items() if key != minor}
        is_default = tree.default == minor
        tree = replace(
            tree,
            qdisc={major: DEFAULT_MINOR if is_default else default for major, default in tree.qdisc.items()},
            classes=classes,
            leaves=leaves,
            filters={**tree.filters, **{vlan: vlan for vlan in homes}},
        )
        for home in (*homes, *([DEFAULT_MINOR] if is_default else [])):
            if home not in tree.classes:
                grown = _with_leaf(tree, home, leaf.kind if leaf else None)
                tree = replace(tree, classes={**tree.classes, home: node}, leaves=grown)
    return tree
