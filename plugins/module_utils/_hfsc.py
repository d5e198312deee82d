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
from dataclasses import dataclass, field
from functools import cached_property

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import PREFERENCES, Match, Rule
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, TIME, Scale

DEFAULT_MINOR = 0x1388
MINORS = range(1, 0x4000)  # of classes that a person declares
# Where a class's traffic is while its own is taken away and made again: its minor and this, or, where an interrupted
# run left that one, and the next bit. So the others tell whose it is; that it is one, the handle of its leaf does,
# which is the other one's minor. A person can choose such a minor too, but hardly both.
TEMPORARY, OTHER = 0x8000, 0x4000
TAGGED = 0x8100  # ETH_P_8021Q

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
    """The qdisc in a class: its kind, the major number of its handle, and the options that are not the kernel's own.

    The kernel's own pfifo, which has no handle, is no Leaf. Options are named as in tc(8), times in microseconds.
    """

    kind: str
    handle: int
    options: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return " ".join([f"{self.kind} {self.handle:x}:", *(option_text(*option) for option in self.options)])

    def changes_in_place_to(self, other: Leaf) -> bool:
        """Whether the kernel can turn this qdisc into the other where it is, with what waits in it.

        fq_codel_change() (net/sched/sch_fq_codel.c) refuses another number of flows, and has no way to switch
        ce_threshold off; sfq has no change at all.
        """
        fixed, others = dict(self.options), dict(other.options)
        if self.kind == "sfq":
            return self == other
        stays = fixed.get("flows") == others.get("flows") and ("ce_threshold" in others or "ce_threshold" not in fixed)
        return (self.kind, self.handle) == (other.kind, other.handle) and stays


def option_text(name: str, value: int) -> str:
    """Return an option of a qdisc as tc(8) writes it."""
    if name == "ecn":
        return "ecn" if value else "noecn"
    return f"{name} {value}" + "us" * (name in TIMED)


TIMED = ("target", "interval", "ce_threshold")  # options of qdiscs that are times


@dataclass(frozen=True)
class Filter:
    """Where a filter sends its packets: the minor of a class; and the filter's handle."""

    minor: int
    handle: int


@dataclass(frozen=True)
class Stray:
    """A filter that has no place under our root any more, and goes: vdsm's, or one of ours that somebody changed."""

    text: str
    kind: str
    preference: int
    protocol: int
    handle: int
    minor: int | None = None

    @property
    def is_vdsms(self) -> bool:
        """Whether vdsm made it; ``minor`` is then the class whose ls is still as vdsm wrote it."""
        return self.preference not in PREFERENCES


@dataclass(frozen=True)
class ForeignFilter:
    """A filter under our root that is not ours, and the minor of the class it is known to point to.

    ``parent`` is the minor of the class that it is attached to, with which it goes; 0 is the root.
    """

    text: str
    preference: int
    minor: int | None = None
    parent: int = 0


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
    # TAGGED -> True, or False where somebody changed it; see the lifter in _tc_filters.py
    lifts: Mapping[int, bool] = field(default_factory=dict)
    filters: Mapping[Rule, Filter] = field(default_factory=dict)
    strays: Mapping[Stray, bool] = field(default_factory=dict)
    foreign: Foreign = Foreign()

    @property
    def default(self) -> int | None:
        """The minor of the default class; it need not exist."""
        return next(iter(self.qdisc.values()), None)

    @cached_property
    def offspring(self) -> Mapping[int, list[int]]:
        """The minors of the children of each class that has any; 0 is the root."""
        found: dict[int, list[int]] = {}
        for minor, node in self.classes.items():
            found.setdefault(node.parent, []).append(minor)
        return found

    @property
    def aims(self) -> set[int]:
        """The minors that traffic is sent to."""
        return {each.minor for each in self.filters.values()} | set(self.qdisc.values())

    @cached_property
    def temporary(self) -> Mapping[int, int]:
        """The temporary classes that an interrupted run left, and whose traffic they hold."""
        found = {minor for minor, leaf in self.leaves.items() if minor > TEMPORARY and leaf.handle == minor ^ OTHER}
        found |= {above for minor in found for above in self.ancestors(minor) if above > TEMPORARY}
        return {minor: minor & MINORS[-1] for minor in found}

    def below(self, minors: Iterable[int]) -> set[int]:
        """Return the minors and those of all classes below them."""
        found: set[int] = set()
        more = list(minors)
        while more:
            minor = more.pop()
            if minor not in found:
                found.add(minor)
                more += self.offspring.get(minor, [])
        return found

    def parents_first(self, minors: Iterable[int]) -> list[int]:
        """Return minors so that a parent comes before its children, the default class before all else it can."""
        return sorted(minors, key=lambda minor: (len(self.ancestors(minor)), minor != self.default, minor))

    def ancestors(self, minor: int) -> list[int]:
        """Return the minors above a class, the nearest first, without the root's; a loop ends."""
        found: list[int] = []
        while minor in self.classes and (minor := self.classes[minor].parent) and minor not in found:
            found.append(minor)
        return found

    def matches(self) -> dict[int, list[Match]]:
        """Return what is matched for each class that any filter points to."""
        found: dict[int, dict[Match, None]] = {}
        for rule, each in self.filters.items():
            found.setdefault(each.minor, {})[rule.match] = None
        return {minor: list(matches) for minor, matches in found.items()}
