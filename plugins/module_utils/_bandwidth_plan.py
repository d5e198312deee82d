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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    CLEAR,
    DIRECTIONS,
    NO_BANDWIDTH,
    RATES,
    UNLIMITED,
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
    # The NIC of the running guest is to be plugged anew without a bandwidth of its own before it is written: that
    # gives it its portgroup's again, and it is what takes a policer off the device where libvirt would leave it.
    renew: bool = False


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
        named = scopes.get("live") or scopes["config"]
        writes = {scope: Write(nic.own, wanted.of(nic.own)) for scope, nic in scopes.items()}
        renew = False
        found: dict[_Problem, list[str]] = {}
        for scope, nic in scopes.items():
            if writes[scope].directions or not wanted.absent:
                network = find_network(nic.network) if nic.network else None
                case = _Case(scope, nic, network, wanted, writes[scope], domain.policer_stays)
                checks = (_type_problems, _floor_problems, _portgroup_problems, _renewal_problems)
                for problem in (problem for check in checks for problem in check(case)):
                    found.setdefault(problem, []).append(SCOPE_NAMES[scope])
                renew = renew or case.renew
        for problem, places in found.items():
            where = f"{named} in the {' and the '.join(places)} of domain '{domain.name}'"
            rule = f"{where} {problem.predicate}"
            problems.add(f"{wanted.path}{problem.option}", problem.value, rule, problem.remedy)
        changing = {scope: write for scope, write in writes.items() if write.directions}
        if changing:
            changes.append(Change(domain.name, domain.uuid, named, changing, renew))
    return changes


@dataclass(frozen=True)
class _Problem:
    """Why a NIC cannot have what is wanted; the NIC is the subject of the predicate."""

    option: str
    value: str | None
    predicate: str
    remedy: str


@dataclass(frozen=True)
class _Case:
    """One NIC in one scope, its network, and what is wanted of it."""

    scope: str
    nic: Nic
    network: Network | None
    wanted: Wanted
    write: Write
    policer_stays: bool

    @property
    def kind(self) -> str:
        """The type it turns out to be: what comes from a pool of virtual functions is defined as of type network."""
        return "hostdev" if self.network and self.network.forward == "hostdev" else self.nic.type

    @property
    def given(self) -> Bandwidth:
        """What its portgroup gives the NIC while it has nothing of its own."""
        if self.scope == "live" and self.write.before.unlimited:
            return self.nic.shown
        return self.network.given_to(self.nic) if self.network else NO_BANDWIDTH

    @property
    def left_policed(self) -> str | None:
        """The direction whose policer would stay on the device though it loses its limit; None where none would."""
        policed = self.nic.policed
        if self.scope == "config" or not self.policer_stays or not policed or not self.write.directions:
            return None
        loses = self.write.after[policed].unlimited and not self.nic.shown[policed].unlimited
        return policed if loses else None

    @property
    def renew(self) -> bool:
        """Whether a NIC of the running guest has to be plugged anew for what is wanted of it."""
        given_back = self.wanted.absent and bool(self.write.directions) and not self.given.unlimited
        return self.scope == "live" and (given_back or self.left_policed is not None)


def _type_problems(case: _Case) -> Iterator[_Problem]:
    limiting = any(not limit.unlimited for limit in case.wanted.limits.values())
    if case.kind not in SHAPED_TYPES and (case.write.directions or limiting):
        remedy = _INSTEAD.get(case.kind, f"use a NIC of type {', '.join(SHAPED_TYPES)}")
        yield _Problem("interface", case.nic.mac, f"is of type {case.kind}, which libvirt does not limit", remedy)


def _floor_problems(case: _Case) -> Iterator[_Problem]:
    """Where one of these does not hold, libvirt writes a definition that it cannot read back."""
    floor = case.wanted.limits.get("inbound", UNLIMITED).floor
    if not floor or case.kind not in SHAPED_TYPES:
        return
    network = case.network
    on = f"is on network '{case.nic.network}'"
    remedy = "drop the floor, or attach the NIC to a virtual network that has an inbound average"
    if case.nic.network is None:
        predicate = f"is of type {case.kind}, and a floor needs type network"
    elif network is None:
        predicate = f"{on}, which does not exist, and a floor needs the network"
    elif network.forward not in _FLOOR_FORWARDS:
        predicate = f"{on} with forward mode {network.forward}, and a floor needs {', '.join(_FLOOR_FORWARDS)}"
    elif not network.bandwidth.inbound.average:
        predicate = f"{on}, which has no inbound average, and a floor needs one"
        remedy = "set one on the network first, or drop the floor"
    elif floor > network.bandwidth.inbound.cap:
        predicate = f"{on}, which has only {RATE.format(network.bandwidth.inbound.cap, RATES)} inbound to share out"
        remedy = "lower the floor, or raise the network's inbound average"
    else:
        return
    yield _Problem("inbound.floor", RATE.format(floor, RATES), predicate, remedy)


def _portgroup_problems(case: _Case) -> Iterator[_Problem]:
    """A NIC without a bandwidth of its own has its portgroup's; with one, it has nothing of the portgroup's."""
    before, after = case.write.before, case.write.after
    # What the portgroup would give to a running guest whose NIC has its own comes back only with a restart.
    if case.wanted.absent or case.kind not in SHAPED_TYPES or (case.scope == "live" and not before.unlimited):
        return
    for direction in (direction for direction in DIRECTIONS if not case.given[direction].unlimited):
        limit = ", ".join(f"{name}: {value}" for name, value in case.given[direction].text().items())
        gets = f"is given {direction} {{{limit}}} by its portgroup"
        if after.unlimited and direction in case.wanted.limits:
            remedy = "change the portgroup, or give the NIC a limit of its own in some direction"
            predicate = f"{gets}, from which a NIC cannot be exempted"
            yield _Problem(f"{direction}.average", CLEAR, predicate, remedy)
        elif before.unlimited and not after.unlimited and direction not in case.wanted.limits:
            remedy = f"name {direction} too, with that value to keep it or with average={CLEAR} to give it up"
            predicate = f"{gets}, which a limit of its own takes away in both directions"
            yield _Problem(direction, None, predicate, remedy)


def _renewal_problems(case: _Case) -> Iterator[_Problem]:
    """Plugging a NIC anew is of no use in a pool of macvtaps, nor where the portgroup puts a policer on again."""
    if case.renew and case.nic.type == "direct" and case.nic.network:
        # qemuDomainChangeNet keeps the device of the pool, and with it the bandwidth it had; it reports success.
        predicate = f"is a macvtap of network '{case.nic.network}', whose limit libvirt does not take off while it runs"
        yield _Problem("interface", case.nic.mac, predicate, "shut the guest off first, or give the NIC a rate instead")
        return
    policed = case.left_policed
    network = case.network
    if policed and network and not case.wanted.absent and not network.given_to(case.nic)[policed].unlimited:
        predicate = f"is policed {policed} by its portgroup, which this libvirt does not take away without a restart"
        yield _Problem(f"{policed}.average", CLEAR, predicate, "give it a rate, however high, or change the portgroup")


def warnings(domain: Domain, macs: Sequence[str], wanted: Wanted) -> list[str]:
    """Return what libvirt takes without a word and does not do."""
    nics = [nic for nic in _once([nic for scope in SCOPES for nic in domain.nics.get(scope, ())]) if nic.mac in macs]
    said = []
    for device, direction in (("tap", "outbound"), ("macvtap", "inbound")):
        peak = wanted.limits.get(direction, UNLIMITED).peak
        # A policer has no peak.
        policed = sorted(nic.mac for nic in nics if nic.policed == direction)
        if peak and policed:
            said.append(
                f"{wanted.path}{direction}.peak {RATE.format(peak, RATES)}: libvirt ignores the {direction} peak on "
                f"{device} devices, the average is what holds for {', '.join(policed)}."
            )
    return said


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
                f"but {what}: libvirt ignored it, or somebody else changed it meanwhile; run again."
            )
    return found
