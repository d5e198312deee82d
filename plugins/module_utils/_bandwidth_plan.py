# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""From what NICs have and what is wanted of them to the changes to make: data, over any number of NICs.

Check mode, the diff, the result and the calls to libvirt all come from the same list of `Change`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    CLEAR,
    DIRECTIONS,
    NO_BANDWIDTH,
    RATES,
    Bandwidth,
    Wanted,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Network, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE

SCOPES = ("live", "config")
SCOPE_NAMES = {"live": "running guest", "config": "persistent definition"}

# virNetDevSupportsBandwidth in src/conf/netdev_bandwidth_conf.c. For others libvirt only logs a warning, and the
# guest runs unshaped while its XML shows the limit.
SHAPED_TYPES = ("network", "bridge", "direct", "ethernet")
_INSTEAD = {
    "user": "attach the NIC to a network or a bridge",
    "vhostuser": "limit the port in the virtual switch (in Open vSwitch: ingress_policing_rate and egress-policer)",
    "hostdev": "limit the virtual function on the host (ip link set DEVICE vf NUMBER max_tx_rate)",
    "vdpa": "limit the device on the host",
}
# networkCheckBandwidth in src/network/bridge_driver.c: the guarantee is a class on the bridge of the network.
_FLOOR_FORWARDS = ("none", "nat", "route", "open")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)

FindNetwork = Callable[[str], Optional[Network]]


@dataclass(frozen=True)
class Write:
    """What one scope of a NIC has of its own, and shall have."""

    before: Bandwidth
    after: Bandwidth

    @property
    def directions(self) -> list[str]:
        """The directions that change; the others are not sent to libvirt."""
        return self.before.differing(self.after)


@dataclass(frozen=True)
class Change:
    """What is to be written for one NIC, by scope. Scopes that are as they should be are not in it."""

    domain: str
    uuid: str
    nic: Nic
    writes: Mapping[str, Write]


def select(domain: Domain, interface: str, problems: Problems, path: str = "") -> list[str]:
    """Return the MACs of the NICs that ``interface`` names: a MAC, a target device, an alias, or ``all``.

    libvirt finds a NIC by its MAC or its target device and takes the first that fits (virDomainNetFind), while a
    vnet device is not in the persistent definition: so NICs are known by MAC, and one that is not unique is refused.
    """
    everything = [nic for scope in SCOPES for nic in domain.nics.get(scope, ())]
    wanted = interface.strip()
    if wanted.lower() == "all":
        macs = {nic.mac: None for nic in everything}
    elif _MAC.fullmatch(wanted.lower()):
        macs = {nic.mac: None for nic in everything if nic.mac == wanted.lower()}
    else:
        macs = {nic.mac: None for nic in everything if wanted in (nic.target, nic.alias)}
        if len(macs) > 1:
            listed = _listed(nic for nic in _once(everything) if nic.mac in macs)
            rule = f"it names more than one NIC of domain '{domain.name}': {listed}"
            problems.add(f"{path}interface", interface, rule, "name the one you mean by its MAC")
            return []
    if not macs and wanted.lower() != "all":
        rule = f"domain '{domain.name}' has no such NIC; it has {_listed(_once(everything)) or 'none at all'}"
        problems.add(f"{path}interface", interface, rule, "name one of them by MAC, target device or alias")
    for scope in SCOPES:
        present = [nic.mac for nic in domain.nics.get(scope, ())]
        twice = [mac for mac in macs if present.count(mac) > 1]
        if twice:
            listed = _listed(nic for nic in domain.nics[scope] if nic.mac in twice)
            rule = f"the {SCOPE_NAMES[scope]} of domain '{domain.name}' has NICs with the same MAC: {listed}"
            problems.add(f"{path}interface", interface, rule, "give each NIC a MAC of its own first")
            return []
    return list(macs)


def _once(nics: Sequence[Nic]) -> Iterable[Nic]:
    """Return each NIC as the first scope that has it shows it."""
    return {nic.mac: nic for nic in reversed(nics)}.values()


def _listed(nics: Iterable[Nic]) -> str:
    return ", ".join(sorted(str(nic) for nic in nics))


def plan(
    domain: Domain, macs: Sequence[str], wanted: Wanted, find_network: FindNetwork, problems: Problems
) -> list[Change]:
    """Return what is to be written so that these NICs have what is wanted, in each scope where they differ.

    Whatever libvirt would refuse, ignore, or write and not be able to read back is added to ``problems``.
    """
    changes = []
    for mac in macs:
        scopes = {scope: nic for scope, nics in domain.nics.items() for nic in nics if nic.mac == mac}
        writes = {}
        for scope, nic in scopes.items():
            write = Write(nic.own, wanted.of(nic.own))
            if write.directions:
                writes[scope] = write
            if write.directions or not wanted.absent:
                network = find_network(nic.network) if nic.network else None
                where = f"{nic} in the {SCOPE_NAMES[scope]} of domain '{domain.name}'"
                _check(_Case(scope, nic, network, wanted, write, where), problems)
        if writes:
            nic = scopes.get("live") or scopes["config"]
            changes.append(Change(domain.name, domain.uuid, nic, writes))
    return changes


@dataclass(frozen=True)
class _Case:
    """One NIC in one scope, its network, and what is wanted of it."""

    scope: str
    nic: Nic
    network: Network | None
    wanted: Wanted
    write: Write
    where: str


def _check(case: _Case, problems: Problems) -> None:
    # A NIC that is to come from a pool of virtual functions is defined as of type network.
    kind = "hostdev" if case.network and case.network.forward == "hostdev" else case.nic.type
    if kind in SHAPED_TYPES:
        _check_floor(case, problems)
        _check_portgroup(case, problems)
    elif case.write.directions or any(not limit.unlimited for limit in case.wanted.limits.values()):
        rule = f"{case.where} is of type {kind}, which libvirt does not limit"
        remedy = _INSTEAD.get(kind, f"use a NIC of type {', '.join(SHAPED_TYPES)}")
        problems.add(f"{case.wanted.path}interface", case.nic.mac, rule, remedy)


def _check_floor(case: _Case, problems: Problems) -> None:
    """Where one of these does not hold, libvirt writes a definition that it cannot read back."""
    floor = case.write.after.inbound.floor if "inbound" in case.wanted.limits else 0
    if not floor:
        return
    network = case.network
    remedy = "drop the floor, or attach the NIC to a virtual network that has an inbound average"
    if case.nic.network is None:
        rule = f"it needs a NIC of type network, and {case.where} is of type {case.nic.type}"
    elif network is None:
        rule = f"it needs a virtual network, and network '{case.nic.network}' of {case.where} does not exist"
    elif network.forward not in _FLOOR_FORWARDS:
        modes = ", ".join(_FLOOR_FORWARDS)
        rule = f"it needs forward mode {modes}, and network '{network.name}' of {case.where} has {network.forward}"
    elif not network.bandwidth.inbound.average:
        rule = f"it needs an inbound average on network '{network.name}' of {case.where}, which has none"
        remedy = "set one on the network first, or drop the floor"
    elif floor > network.bandwidth.inbound.cap:
        cap = RATE.format(network.bandwidth.inbound.cap, RATES)
        rule = f"network '{network.name}' of {case.where} has only {cap} inbound to share out"
        remedy = "lower the floor, or raise the network's inbound average"
    else:
        return
    problems.add(f"{case.wanted.path}inbound.floor", RATE.format(floor, RATES), rule, remedy)


def _check_portgroup(case: _Case, problems: Problems) -> None:
    """A NIC without a bandwidth of its own has its portgroup's; with one, it has nothing of the portgroup's."""
    if case.wanted.absent:
        return
    before, after = case.write.before, case.write.after
    given = NO_BANDWIDTH
    if case.scope == "config" and case.network:
        given = case.network.given_to(case.nic)
    elif case.scope == "live" and before.unlimited:
        given = case.nic.shown
    for direction in (direction for direction in DIRECTIONS if not given[direction].unlimited):
        option = f"{case.wanted.path}{direction}"
        limit = ", ".join(f"{name}: {value}" for name, value in given[direction].text().items())
        source = f"the portgroup of {case.where} gives it {direction} {{{limit}}}"
        if after.unlimited and direction in case.wanted.limits:
            rule = f"{source}, from which a NIC cannot be exempted"
            remedy = "change the portgroup, or give the NIC a limit of its own in some direction"
            problems.add(f"{option}.average", CLEAR, rule, remedy)
        elif before.unlimited and not after.unlimited and direction not in case.wanted.limits:
            rule = f"{source}, which a limit of its own takes away in both directions"
            remedy = f"name {direction} too, with that value to keep it or with average={CLEAR} to give it up"
            problems.add(option, None, rule, remedy)


def warnings(domain: Domain, macs: Sequence[str], wanted: Wanted) -> list[str]:
    """Return what libvirt takes without a word and does not do."""
    outbound = wanted.limits.get("outbound")
    if not outbound or not outbound.peak:
        return []
    # What a tap receives from its guest is policed, and a policer has no peak. A macvtap is not turned round
    # (virDomainNetTypeSharesHostView), and Open vSwitch makes the peak its max-rate.
    nics = [nic for scope in SCOPES for nic in domain.nics.get(scope, ()) if nic.mac in macs]
    policed = dict.fromkeys(nic.mac for nic in nics if nic.type != "direct" and not nic.openvswitch)
    if not policed:
        return []
    return [
        f"{wanted.path}outbound.peak {RATE.format(outbound.peak, RATES)}: libvirt ignores the outbound peak on tap "
        f"devices, the average is what holds for {', '.join(policed)}."
    ]


def results(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return what was or would be written: an entry for each NIC, two where its scopes change differently."""
    entries: list[dict[str, Any]] = []
    for change in changes:
        nic = change.nic
        same: list[dict[str, Any]] = []
        for scope in (scope for scope in SCOPES if scope in change.writes):
            write = change.writes[scope]
            sides = {
                side: {direction: bandwidth[direction].text() for direction in write.directions}
                for side, bandwidth in (("before", write.before), ("after", write.after))
            }
            alike = next((entry for entry in same if sides.items() <= entry.items()), None)
            if alike:
                alike["scopes"].append(scope)
            else:
                names = {"domain": change.domain, "mac": nic.mac, "target": nic.target, "alias": nic.alias}
                same.append({**names, "type": nic.type, "scopes": [scope], **sides})
        entries += same
    return entries


def diff(changes: Sequence[Change]) -> dict[str, str]:
    """Return the text before and after of what is touched, in the form its options are written in."""
    sides: dict[str, list[str]] = {"before": [], "after": []}
    for entry in results(changes):
        names = ", ".join(name for name in (entry["target"], entry["alias"]) if name)
        head = f"{entry['domain']} {entry['mac']}{names and f' ({names})'} {'+'.join(entry['scopes'])}:"
        for side, lines in sides.items():
            lines.append(head)
            for direction, limit in entry[side].items():
                pairs = ", ".join(f"{name}: {value}" for name, value in limit.items())
                lines.append(f"  {direction}: {{{pairs}}}")
    return {side: "".join(f"{line}\n" for line in lines) for side, lines in sides.items()}


def unmet(change: Change, domain: Domain) -> list[str]:
    """Return a sentence for each scope in which a change that libvirt accepted does not read back."""
    found = []
    for scope, write in change.writes.items():
        own = [nic.own for nic in domain.nics.get(scope, ()) if nic.mac == change.nic.mac]
        if own != [write.after]:
            what = (
                "the NIC is gone"
                if not own
                else f"{' and '.join(own[0].differing(write.after))} reads back differently"
            )
            found.append(
                f"domain '{change.domain}', NIC {change.nic}: libvirt accepted the change of the {SCOPE_NAMES[scope]}, "
                f"but {what}; somebody else may be changing it at the same time, run again."
            )
    return found
