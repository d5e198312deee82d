# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What may stand in a device's whole tree. What this run does not declare is not held against it.

HFSC itself (net/sched/sch_hfsc.c) takes almost everything: guarantees that add up to more than the link has, filters to
a class whose traffic then goes elsewhere, and curves that do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import DEFAULT_MINOR, RATES, TIMES, Curve, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule, rules_of, undecided
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import (
    CLASHES_SHOWN,
    add_undecided,
    classid,
    match_option,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import Declaration, Wish, healed, taken_over
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, TIME


def check(  # noqa: PLR0913, PLR0917
    now: Tree, wanted: Tree, declaration: Declaration, link: Link, options: Mapping[str, Any], problems: Problems
) -> None:
    """Refuse what cannot be on this device, or would not do there what it says.

    ``wanted`` is what `declare` makes of ``now`` and the declaration; ``options`` are the module's.
    """
    # Whose a packet is, vdsm's filters say too, and those of an interrupted run, which stand for another class.
    run = _Run(taken_over(healed(now), ()), wanted, declaration, problems)
    device = options["device"]
    if any(not wish.absent for wish in declaration.wishes):
        check_kind(link, device, problems)
        check_device(now, device, f"{declaration.major:x}:", options["replace_root"], problems)
    else:
        check_root(now, f"{declaration.major:x}:", problems)
    if declaration.prune and not wanted.classes:
        remedy = "declare a class, or ignore one; for a device without any, state: absent without classes"
        problems.add("prune", True, "no class would be left", remedy)
    _check_default(run)
    _check_absent(run)
    _check_parents(run)
    _check_inner(run)
    _check_owners(run)
    _check_overlaps(run)
    _check_masks(run)
    if not options["allow_overcommit"]:
        _check_guarantees(run, device, link.speed)


@dataclass(frozen=True)
class _Run:
    now: Tree
    wanted: Tree
    declaration: Declaration
    problems: Problems

    @cached_property
    def wishes(self) -> dict[int, Wish]:
        return {wish.minor: wish for wish in self.declaration.wishes}

    @cached_property
    def declared(self) -> dict[int, Wish]:
        """The classes that are to be as this run says."""
        return {minor: wish for minor, wish in self.wishes.items() if not wish.absent and not wish.ignore}

    def name(self, minor: int) -> str:
        return f"class {classid(self.declaration.major, minor)}"

    def names(self, minors: Iterable[int]) -> str:
        return listed([self.name(minor) for minor in sorted(minors)])


def listed(names: list[str], most: int = 10) -> str:
    """Return names as a sentence has them, without those that are too many."""
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])


def check_kind(link: Link, device: str, problems: Problems) -> None:
    """Refuse a device that the traffic does not leave the host through, or that carries but one VLAN."""
    name = f", that is {link.below}" if link.below else ""
    unfit = {
        "vlan": ("a VLAN device, which has but one VLAN", f"name the NIC or bond below it{name}"),
        "bridge": ("a bridge, which only the host's own traffic passes", "name the NIC or bond that is its port"),
        "loopback": ("the loopback device, which nothing leaves the host through", "name a NIC or bond"),
        "macvtap": ("a guest's tap", "use virt_iface_bandwidth for a guest, and here name a NIC or bond"),
        "tun": ("a guest's or a tunnel's tap", "use virt_iface_bandwidth for a guest, and here name a NIC or bond"),
    }
    if link.kind in unfit:
        rule, remedy = unfit[link.kind]
        problems.add("device", device, f"it is {rule}", remedy)
    if link.port_of in ("bond", "team"):
        rule = f"it is a port of a {link.port_of}, which has the traffic before it"
        problems.add("device", device, rule, f"name the {link.port_of}")


def check_device(now: Tree, device: str, handle: str, replace_root: bool, problems: Problems) -> None:
    """Refuse a device whose root qdisc somebody else put there."""
    root = now.foreign.root
    if not root or replace_root:
        return
    remedy = "set replace_root: true to replace it with all that is below it"
    if root.startswith("hfsc"):
        remedy = f"set handle: {root.split()[1]!r} to manage that one, or {remedy}"
    elif root.startswith("htb"):
        remedy += " (libvirt keeps a guest's or a network's bandwidth in an htb)"
    problems.add("device", device, f"its root qdisc is {root}, not hfsc {handle}", remedy)


def check_root(now: Tree, handle: str, problems: Problems) -> None:
    """Refuse to look for what is to go below another root than that of the device's classes."""
    root = now.foreign.root or ""
    if root.startswith("hfsc"):
        rule = f"the classes of the device are below {root}, so nothing would be taken away"
        problems.add("handle", handle, rule, f"set handle: {root.split()[1]!r}, if those are meant")


def overrun(curves: Iterable[Curve], limit: Curve) -> tuple[int, int] | None:
    """Return where curves, added up, are above the limit first: the mean rate until then in bytes/s, and the time.

    The time is microseconds of a backlog, 0 for the long run. All of them are lines between the curves' bends, so the
    bends and the last slopes decide.
    """
    slope, served, last = 0, 0, 0
    bends = {limit.d: 0}
    for curve in curves:
        slope += curve.m1 if curve.d else curve.m2
        if curve.d:
            bends[curve.d] = bends.get(curve.d, 0) + curve.m2 - curve.m1
    for time in sorted(bends):
        served += slope * (time - last)
        if served > limit.served(time):
            return -(-served // time), time
        slope, last = slope + bends[time], time
    return (slope, 0) if slope > limit.m2 else None


def _check_default(run: _Run) -> None:
    """Refuse to take the default class away while others need it, for the root qdisc would go along."""
    if any(wish.default for wish in run.declared.values()):
        return
    for wish in run.declaration.wishes:
        if not wish.absent or not (wish.default or wish.minor == run.now.default == DEFAULT_MINOR):
            continue
        # A class that has others below it is no default, whatever the root qdisc says (hfsc_classify()).
        default = {run.now.default} - run.now.offspring.keys()
        gone = {wish.minor, *default, *({DEFAULT_MINOR} - set(run.now.classes))}
        others = [run.name(minor) for minor in sorted(set(run.wanted.classes) - gone)]
        others += [each.text for each in run.now.foreign.filters]
        if run.now.qdisc and others:
            rule = f"the root qdisc goes with the default class, and these still need it: {listed(others)}"
            remedy = "remove those first, or declare the default class with what it should get"
            run.problems.add(f"{wish.path}default", True, rule, remedy)


def _check_absent(run: _Run) -> None:
    for wish in run.wishes.values():
        vlans = [match for match in wish.matches if match == Match(vlan=match.vlan)] if wish.absent else []
        for match in vlans if wish.minor not in run.now.classes else ():
            owner = run.now.filters.get(rules_of(match)[0])
            if owner and owner.minor not in run.wishes:
                rule = f"its traffic is {run.name(owner.minor)}'s, so nothing would be taken away"
                remedy = f"name that one: {wish.path}classid: '{classid(run.declaration.major, owner.minor)}'"
                run.problems.add(match_option(wish, match), match.vlan, rule, remedy)


def _check_parents(run: _Run) -> None:
    classes = run.wanted.classes
    for minor, wish in run.declared.items():
        parent = wish.node.parent
        option = f"{wish.path}parent"
        if parent and parent not in classes:
            rule = "there will be no such class" if parent in run.now.classes else "there is no such class"
            remedy = f"declare it too, or leave {option} out"
            run.problems.add(option, classid(run.declaration.major, parent), rule, remedy)
        elif minor in (above := run.wanted.ancestors(minor)):
            chain = ", that below ".join(run.name(each) for each in above[: above.index(minor) + 1])
            rule = f"{run.name(minor)} would be below {chain}"
            remedy = "give one of them another parent"
            run.problems.add(option, classid(run.declaration.major, parent), rule, remedy)
    for minor, node in classes.items():
        if minor in run.declared or not node.parent or node.parent in classes:
            continue
        stays, goes = run.wishes.get(minor), run.wishes.get(node.parent)
        if stays:
            rule = f"{run.name(minor)} cannot stay without its parent, {run.name(node.parent)}"
            run.problems.add(f"{stays.path}ignore", True, rule, "declare or ignore the parent too")
        elif goes:
            rule = f"{run.name(minor)} is below {run.name(node.parent)}"
            run.problems.add(f"{goes.path}state", "absent", rule, "remove that too, or give it another parent")


def _check_inner(run: _Run) -> None:
    """Refuse what a class cannot have once others are below it."""
    for minor, children in run.wanted.offspring.items():
        wish = run.declared.get(minor)
        if wish:
            _check_declared_inner(run, wish, children)
        below = next((run.declared[child] for child in children if child in run.declared), None)
        if not below or minor not in run.wanted.classes or minor in run.now.offspring:
            continue
        option, parent = f"{below.path}parent", classid(run.declaration.major, minor)
        has = [] if wish else _leaf_only(run, minor)
        if has:
            rule = f"that class has {listed(has)}, and no class that has others below it can"
            run.problems.add(option, parent, rule, "declare it without in classes, before this one")
        filters = [f"the {each.text}" for each in run.wanted.foreign.filters if each.minor == minor]
        if filters:
            rule = f"that class has {listed(filters)}, whose packets no class that has others below it gets"
            run.problems.add(option, parent, rule, "have them point to another class first")


def _leaf_only(run: _Run, minor: int) -> list[str]:
    node = run.wanted.classes[minor]
    filters = [f"the filter for {rule}" for rule, each in run.wanted.filters.items() if each.minor == minor]
    parts = {
        f"a guarantee (rt {node.rt})": node.rt,
        "no ls": not node.ls,
        "what no filter claims": minor == run.wanted.default,
    }
    return [*(part for part, there in parts.items() if there), *filters[:1]]


def _check_declared_inner(run: _Run, wish: Wish, children: list[int]) -> None:
    below = f"{run.names(children)} {'are' if len(children) > 1 else 'is'} below it"
    lower = "give that to a class below it"
    found = run.problems.add
    if wish.node.rt:
        rule = f"HFSC guarantees nothing to a class that has others below, and {below}"
        found(f"{wish.path}rt", str(wish.node.rt), rule, "give guarantees to those, and write ls for sc")
    if not wish.node.ls:
        found(f"{wish.path}ls", None, f"{below}, and get their parts of its ls", f"give {wish.path}ls")
    rule = f"only a class without others below has traffic of its own, and {below}"
    if wish.matches:
        found(match_option(wish, wish.matches[0]), str(wish.matches[0]), rule, lower)
    if wish.default or wish.minor == run.wanted.default:
        found(f"{wish.path}default", wish.default or None, rule, lower)
    if wish.leaf_named:
        kind = wish.leaf.kind if wish.leaf else "none"
        found(f"{wish.path}leaf", kind, rule, f"leave out {wish.path}leaf")


def _check_owners(run: _Run) -> None:
    """Refuse to take packets away from a class that this run does not declare."""
    staying = run.wanted.classes.keys() - run.declared.keys()
    if run.declaration.prune:  # the default class that is made up keeps none of what was declared for it
        staying &= {wish.minor for wish in run.wishes.values() if wish.ignore}
    owners = {rule: each.minor for rule, each in run.now.filters.items() if each.minor in staying}
    for wish in run.declared.values() if owners else ():
        for match in wish.matches:
            others = {owners[rule] for rule in rules_of(match) if rule in owners}
            if others:
                rule = f"what matches {match} is that of {run.names(others)}"
                remedy = "declare that one without it in classes, or take it away first"
                run.problems.add(match_option(wish, match), None, rule, remedy)


def _check_overlaps(run: _Run) -> None:
    """Refuse a match when no rule says whether it or one of another class wins; those of one run are checked before."""
    owners: dict[Match, int] = {rule.match: each.minor for rule, each in run.wanted.filters.items()}
    if all(minor in run.declared for minor in owners.values()):
        return
    clashes = (pair for pair in undecided(owners) if sum(owners[match] in run.declared for match in pair) == 1)
    for pair in islice(clashes, CLASHES_SHOWN):
        match, other = sorted(pair, key=lambda match: owners[match] not in run.declared)
        add_undecided(run.declared[owners[match]], match, other, run.name(owners[other]), run.problems)


def _check_masks(run: _Run) -> None:
    """Refuse masks of as many bits: each such number has one preference, and that has but one mask (cls_fw.c)."""
    masks: dict[int, dict[int, Rule]] = {}
    for rule in run.wanted.filters:
        if rule.match.fwmark:
            masks.setdefault(rule.preference, {}).setdefault(rule.match.fwmark[1], rule)
    for rules in masks.values():
        declared = [rule for rule in rules.values() if run.wanted.filters[rule].minor in run.declared]
        if declared and len(rules) > 1:
            one = declared[-1]
            path = match_option(run.declared[run.wanted.filters[one].minor], one.match)
            others = listed([str(rule) for rule in rules.values() if rule is not one])
            reason = f"the kernel keeps one mask for each number of bits, and there is {others}"
            remedy = "use the same mask, or one with another number of bits"
            run.problems.add(path, str(one), reason, remedy)


def _check_guarantees(run: _Run, device: str, speed: int | None) -> None:
    """Refuse guarantees that add up to more than the link, or the limit of a class above them, can give."""
    inner = run.wanted.offspring
    guaranteed = {minor: node.rt for minor, node in run.wanted.classes.items() if node.rt and minor not in inner}
    limits = {minor: run.wanted.classes[minor].ul for minor in inner if minor in run.wanted.classes}
    for minor, limit in {**limits, 0: Curve(speed) if speed else None}.items():
        if not limit:
            continue
        below = guaranteed.keys() & run.wanted.below([minor]) if minor else guaranteed.keys()
        concerned = [each for each in run.declared if each in below or each == minor]
        over = overrun((guaranteed[each] for each in below), limit) if concerned else None
        if over:
            rate, time = over
            start = f" in the first {TIME.format(time, TIMES)} of a backlog" if time else ""
            most = f"{run.name(minor)} has ul {limit}" if minor else f"{device} has {limit}"
            whose = f"the guarantees below {run.name(minor)}" if minor else "all guarantees together"
            option = "ul" if minor in run.declared else "rt"
            wish = run.declared[minor if option == "ul" else concerned[0]]
            rule = f"{whose} come to {RATE.format(rate, RATES)}{start}, and {most}"
            value = str(wish.node.curves()[option])
            run.problems.add(f"{wish.path}{option}", value, rule, "lower some, or set allow_overcommit: true")
