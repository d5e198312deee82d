# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""From what virtual networks have and what is wanted of them to the changes to make."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    CLEAR,
    DIRECTIONS,
    RATES,
    Bandwidth,
    Limit,
    Wanted,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES, Write, enumerated
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_enforced import limit_text
from ansible_collections.virtnet.qos.plugins.module_utils._bridge import (
    KILO,
    NETWORK,
    Bridge,
    difference,
    in_detail,
    shaped,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Network, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import NetworkWish
from ansible_collections.virtnet.qos.plugins.module_utils._network_xml import Place
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE

# networkValidate() in src/network/bridge_driver.c; a bridge of the host has to be named beside forward mode bridge.
LIMITED_FORWARDS = ("none", "nat", "route", "open")
FLOORS_FIRST = "raise it, or lower the floors first (virt_iface_bandwidth)"


@dataclass(frozen=True)
class NetworkNow:
    """A virtual network by scope, and what the kernel does on its bridge where it is active."""

    name: str
    xml: Mapping[str, str]
    said: Mapping[str, Network]
    portgroups: Mapping[str, Sequence[tuple[str, bool]]]  # name, and whether it is a default one
    bridge: Bridge | None = None
    limits: Limits = field(default_factory=Limits)
    # Where a restart is asked for: the devices on the bridge, and what else sorts frames there.
    ports: Collection[str] = ()
    sorting: str | None = None


@dataclass(frozen=True)
class Renewal:
    """A NIC of a running guest that is to have what its portgroup gives by now."""

    domain: Domain
    nic: Nic
    after: Bandwidth


@dataclass(frozen=True)
class NetworkChange:
    """What is to be done for one network. What is as it should be is not in it."""

    now: NetworkNow
    defined: Mapping[Place, Write]  # in the persistent definition
    running: Mapping[str, Write]  # portgroups of the running network
    bridge: Bridge | None = None  # as it is to be
    wanted: Mapping[str, Limit] = field(default_factory=dict)  # of the bridge, by direction
    renewals: Sequence[Renewal] = ()
    # Where it is to be started anew: the NICs that are plugged into it.
    restart: Sequence[tuple[Domain, Nic]] | None = None
    warnings: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.defined or self.running or self.bridge or self.renewals or self.restarts)

    @property
    def restarts(self) -> bool:
        """Whether the network is to be started anew."""
        return self.restart is not None

    @property
    def to_start_with(self) -> Bandwidth:
        """What a network with a persistent definition has when it is started the next time."""
        write = self.defined.get(None)
        return write.after if write else self.now.said["config"].bandwidth


def plan(
    wish: NetworkWish, now: NetworkNow, domains: Sequence[Domain], scopes: Sequence[str], problems: Problems
) -> NetworkChange:
    """Return what is to be done so that a network has what is wanted, in each scope where it differs.

    ``domains`` are all of the host. What libvirt would refuse, or write and stumble over at the next start, is added
    to ``problems``.
    """
    said = {scope: now.said[scope] for scope in SCOPES if scope in scopes and scope in now.said}
    if not said:
        what = "is not running" if "live" in scopes else "has no persistent definition"
        problems.add("affect", list(scopes), f"network '{now.name}' {what}", "drop affect, or leave the network out")
    _check_portgroups(wish, now, said, problems)
    writes: dict[str, dict[Place, Write]] = {"live": {}, "config": {}}
    names = dict.fromkeys(name for network in said.values() for name in network.portgroups)
    places = wish.pruned(list(names))
    for place, wanted in places.items():
        for scope, network in said.items():
            if place is not None and place not in network.portgroups:
                continue
            own = network.bandwidth if place is None else network.portgroups[place]
            write = Write(own, wanted.of(own))
            if write.directions:
                _check_forward(place, network, wanted, problems)
                writes[scope][place] = write
    everywhere = places.get(None)
    warned = _check_floors(wish, now, domains, said, problems)
    running = {place: write for place, write in writes["live"].items() if place is not None}
    renewed: list[Renewal] = []
    if wish.update_running and "live" in said:
        given_to = partial(_by_options, now.said["live"], places)
        renewed = list(renewals(plugged_into(now.name, domains), given_to))
    change = NetworkChange(now, writes["config"], running, renewals=renewed, warnings=warned)
    if everywhere is None or now.bridge is None or "live" not in said:
        return change
    holds = bool(now.said["live"].bandwidth.inbound.average)
    for direction, limit in everywhere.limits.items():
        alone = difference(now.bridge, shaped(now.bridge, {direction: limit}, holds))
        if direction in now.bridge.foreign and alone:
            what = f"{now.bridge.foreign[direction]}, which is not libvirt's"
            rule = f"bridge {now.said['live'].bridge} of network '{now.name}' has {what}"
            remedy = "take that away first, or restrict the task to affect=config"
            problems.add(f"{wish.path}{direction}", None, rule, remedy)
    target = shaped(now.bridge, everywhere.limits, holds)
    if not difference(now.bridge, target):
        return change
    return replace(change, bridge=target, wanted=everywhere.limits)


def _check_portgroups(wish: NetworkWish, now: NetworkNow, said: Mapping[str, Network], problems: Problems) -> None:
    groups = [group for scope in said for group in now.portgroups[scope]]
    for scope in said:
        names = [name for name, _default in now.portgroups[scope]]
        defaults = [name for name, default in now.portgroups[scope] if default]
        if len(set(names)) < len(names) or len(defaults) > 1:
            rule = f"network '{now.name}' has portgroups of the same name, or more than one default"
            problems.add(f"{wish.path}name", wish.name, rule, "mend it with virsh net-edit first")
            return
    there = {name for name, _default in groups}
    for name, wanted in wish.places.items():
        if name is not None and name not in there and not wanted.absent:
            rule = f"network '{now.name}' has no such portgroup; it has {enumerated(sorted(there)) or 'none at all'}"
            problems.add(f"{wanted.path}name", name, rule, "name one of those, or add it with virsh net-update first")


def _check_forward(place: Place, network: Network, wanted: Wanted, problems: Problems) -> None:
    """libvirt refuses the one at the start of the network, and does not look at the other (networkValidate)."""
    switched = place is None and network.openvswitch
    if network.forward in LIMITED_FORWARDS or (network.forward == "bridge" and network.bridge and not switched):
        return
    what = "a network" if place is None else "a portgroup of a network"
    kind = "on an Open vSwitch bridge" if switched else f"with forward mode {network.forward}"
    rule = f"libvirt does not limit {what} {kind}"
    named = next((direction for direction in DIRECTIONS if direction in wanted.limits), "state")
    problems.add(f"{wanted.path}{named}", None, rule, "limit the NICs of guests instead (virt_iface_bandwidth)")


def _check_floors(
    wish: NetworkWish, now: NetworkNow, domains: Sequence[Domain], said: Collection[str], problems: Problems
) -> list[str]:
    """Refuse a limit that is lower than before and below what guests were promised; return warnings of one that stays.

    libvirt refuses to start guests that do not fit (networkCheckBandwidth).
    """
    option, limit = f"{wish.path}inbound", wish.inbound
    if limit is None:
        return []
    less = lowered(now, limit, said)
    counted = SCOPES if "config" in less else less
    found = unfit(now.name, limit, domains)
    refused = [found[scope] for scope in SCOPES if scope in counted and scope in found]
    for rule in refused[:1]:
        problems.add(option, cap_text(limit), rule, FLOORS_FIRST)
    return [] if refused else [f"{option} {cap_text(limit)}: {rule}." for rule in dict.fromkeys(found.values())]


def cap_text(limit: Limit) -> str:
    """Return the most that may pass, as text."""
    return RATE.format(limit.cap, RATES) if limit.cap else CLEAR


def lowered(now: NetworkNow, limit: Limit, said: Collection[str]) -> list[str]:
    """Return the scopes in which a network is to receive less: in the kernel, and as it is defined.

    libvirt promises nothing of what is unlimited, and the kernel gives everything.
    """
    network = now.bridge.classes.get(NETWORK) if now.bridge else None
    less = {
        "live": now.bridge and limit.cap and (network is None or limit.cap * KILO < network.ceil),
        "config": "config" in now.said and limit.cap < now.said["config"].bandwidth.inbound.cap,
    }
    return [scope for scope in said if less[scope]]


def unfit(network: str, limit: Limit, domains: Sequence[Domain]) -> dict[str, str]:
    """Return, by scope, that guests were promised more: all that run, or one that is defined, by itself."""
    live = dict(floor for domain in domains for floor in _floors(network, domain, "live"))
    together = [("live", live), *(("config", dict(_floors(network, domain, "config"))) for domain in domains)]
    return {
        scope: f"guests on network '{network}' are guaranteed more than that: {enumerated(sorted(floors))}"
        for scope, floors in together
        if sum(floors.values()) > limit.cap
    }


def _floors(network: str, domain: Domain, scope: str) -> Iterator[tuple[str, int]]:
    for nic in domain.nics.get(scope, ()):
        floor = nic.shown.inbound.floor
        if nic.network == network and floor:
            yield f"{nic.mac} of domain '{domain.name}' {RATE.format(floor, RATES)}", floor


def left_out(wish: NetworkWish, now: NetworkNow, scopes: Sequence[str]) -> list[str]:
    """Return a sentence for each portgroup that is to be limited and is in one of the scopes only."""
    names = {"live": "while it runs, since that has changed since it was started", "config": "as it is defined"}
    return [
        f"Network '{now.name}' has no portgroup '{place}' {names[scope]}: it is limited only where it is."
        for place, wanted in wish.places.items()
        for scope in scopes
        if place is not None and not wanted.absent and scope in now.said and place not in now.said[scope].portgroups
    ]


def plugged_into(network: str, domains: Iterable[Domain]) -> list[tuple[Domain, Nic]]:
    """Return the NICs of running guests that are on a network."""
    return [(domain, nic) for domain in domains for nic in domain.nics.get("live", ()) if nic.network == network]


def renewals(nics: Iterable[tuple[Domain, Nic]], given_to: Callable[[Nic], Bandwidth | None]) -> Iterator[Renewal]:
    """Yield those that have nothing of their own, and not what they are to be given; None is for those left alone."""
    for domain, nic in nics:
        after = given_to(nic) if nic.own.unlimited else None
        if after is not None and nic.shown != after:
            yield Renewal(domain, nic, after)


def _by_options(network: Network, places: Mapping[Place, Wanted], nic: Nic) -> Bandwidth | None:
    name = network.portgroup_of(nic)
    if name is None or name not in places or name not in network.portgroups:
        return None
    return places[name].of(network.portgroups[name])


def results(changes: Sequence[NetworkChange]) -> list[dict[str, Any]]:
    """Return what was or would be written: an entry for each network and portgroup, two where its scopes differ."""
    entries: list[dict[str, Any]] = []
    for change in changes:
        for place in dict.fromkeys((*change.defined, *change.running, *((None,) if change.bridge else ()))):
            same: list[dict[str, Any]] = []
            for scope, sides in _sides(change, place):
                alike = next((entry for entry in same if sides.items() <= entry.items()), None)
                if alike:
                    alike["scopes"].append(scope)
                else:
                    same.append({"name": change.now.name, "portgroup": place, "scopes": [scope], **sides})
            entries += same
    return entries


def _sides(change: NetworkChange, place: Place) -> Iterator[tuple[str, dict[str, Any]]]:
    if place is None:
        if change.bridge:
            yield "live", _bridge_sides(change)
    elif place in change.running:
        yield "live", _text(change.running[place])
    if place in change.defined:
        yield "config", _text(change.defined[place])


def _text(write: Write) -> dict[str, Any]:
    sides = (("before", write.before), ("after", write.after))
    return {side: {name: bandwidth[name].text() for name in write.directions} for side, bandwidth in sides}


def _bridge_sides(change: NetworkChange) -> dict[str, Any]:
    """What the kernel did is told in the words of the definition, where it is the same."""
    now, defined = change.now, change.now.said.get("config", change.now.said["live"]).bandwidth
    before = {
        name: limit_text(defined[name], enforced, name == "outbound")
        for name, enforced in (("inbound", now.limits.sent), ("outbound", now.limits.received))
    }
    after = {name: limit.text() for name, limit in change.wanted.items() if limit.text() != before[name]}
    if after or not (now.bridge and change.bridge):
        return {"before": {name: before[name] for name in after}, "after": after}
    # What differs the limit does not tell, such as what guests without a floor share, which libvirt rewrites.
    return {"before": in_detail(now.bridge, change.bridge), "after": in_detail(change.bridge, now.bridge)}


def interfaces(changes: Sequence[NetworkChange]) -> list[dict[str, Any]]:
    """Return the NICs that have, or would have, what their portgroup gives by now."""
    return [
        {
            "domain": each.domain.name,
            "mac": each.nic.mac,
            "target": each.nic.target,
            "network": change.now.name,
            "portgroup": change.now.said["live"].portgroup_of(each.nic),
            "before": {name: each.nic.shown[name].text() for name in each.nic.shown.differing(each.after)},
            "after": {name: each.after[name].text() for name in each.nic.shown.differing(each.after)},
        }
        for change in changes
        for each in change.renewals
    ]


def diff(changes: Sequence[NetworkChange]) -> dict[str, str]:
    """Return the text before and after of what is touched, in the form its options are written in."""
    heads = []
    for each in results(changes):
        portgroup = f" portgroup {each['portgroup']}" if each["portgroup"] else ""
        heads.append((f"{each['name']}{portgroup} {'+'.join(each['scopes'])}:", each))
    heads += [(f"{each['domain']} {each['mac']} ({each['target']}) live:", each) for each in interfaces(changes)]
    heads += [(f"{change.now.name} as libvirt knows it:", _believed(change)) for change in changes if change.restarts]
    sides: dict[str, list[str]] = {"before": [], "after": []}
    for head, entry in heads:
        for side, lines in sides.items():
            lines.append(head)
            for direction, limit in entry[side].items():
                pairs = ", ".join(f"{name}: {value}" for name, value in limit.items())
                lines.append(f"  {direction}: {{{pairs}}}")
    return {side: "".join(f"{line}\n" for line in lines) for side, lines in sides.items()}


def _believed(change: NetworkChange) -> dict[str, Any]:
    before, after = change.now.said["live"].bandwidth, change.to_start_with
    return {
        side: {name: bandwidth[name].text() for name in before.differing(after)}
        for side, bandwidth in (("before", before), ("after", after))
    }


def redefined(change: NetworkChange) -> bool:
    """Whether libvirt believes that the running network has other limits of its own than it is to start with."""
    now = change.now
    return len(now.said) == len(SCOPES) and now.said["live"].bandwidth != change.to_start_with


def pending_restart(change: NetworkChange) -> bool:
    """Whether libvirt believes that a running network has other limits than those it has, or is to start with."""
    now = change.now
    bridge = change.bridge or now.bridge
    if "live" not in now.said or bridge is None:
        return redefined(change)
    believed = now.said["live"].bandwidth
    limits = {direction: believed[direction] for direction in DIRECTIONS if direction not in bridge.foreign}
    as_believed = shaped(bridge, limits, bool(believed.inbound.average))
    return redefined(change) or bool(difference(bridge, as_believed))
