# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""One run over virtual networks: parse, read, plan, apply, read again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES, enumerated
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_warnings import network_warnings
from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Bridge, difference, shaped
from ansible_collections.virtnet.qos.plugins.module_utils._bridge_ports import plug, ports, sorting
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import login_of
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host, check_uri
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Nic, read_network
from ansible_collections.virtnet.qos.plugins.module_utils._network_plan import (
    NetworkChange,
    NetworkNow,
    pending_restart,
    plan,
)
from ansible_collections.virtnet.qos.plugins.module_utils._network_restart import with_restart
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import NetworkWish, parse_networks
from ansible_collections.virtnet.qos.plugins.module_utils._network_xml import (
    portgroup_xml,
    portgroups_of,
    with_bandwidths,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError, bridge, carry_out, limits


@dataclass
class Outcome:
    """What a run did, or would do in check mode."""

    changes: list[NetworkChange]
    warnings: list[str]
    # The networks of which libvirt believes, until they are started anew, that they have other limits.
    pending_restart: list[str]
    restarted: list[str]
    failures: list[HostError] = field(default_factory=list)
    # What came in between, and is nobody's fault.
    notes: list[str] = field(default_factory=list)


def converge(options: Mapping[str, Any], check_mode: bool) -> Outcome:
    """Do what a module's options ask. Raises `Refused` where that cannot be, and `HostError` where libvirt refuses."""
    problems = Problems()
    check_uri(options["uri"], problems)
    login = login_of(options, problems)
    scopes = [scope for scope in SCOPES if scope in options["affect"]]
    if not scopes:
        problems.add("affect", [], "an empty list leaves nothing to do", "name live, config or both")
    wishes = parse_networks(options, problems)
    for wish in wishes:
        if wish.restart and len(scopes) < len(SCOPES):
            rule = "a restart makes the running network what is defined, and affect leaves one of the two alone"
            problems.add(f"{wish.path}restart", True, rule, "drop it, or drop affect")
    problems.refuse_if_any()
    host = Host(options["uri"], login=login)
    # Floors add up over all domains, and so do the NICs of a portgroup; otherwise they need not be read.
    concerned = any(wish.update_running or wish.restart or _inbound(wish) for wish in wishes)
    domains = host.domains(SCOPES) if concerned else []
    changes = []
    for wish in wishes:
        now = _read(host, wish.name, wish.restart)
        _check_reach(host, wish, now, scopes, problems)
        change = plan(wish, now, domains, scopes, problems)
        changes.append(with_restart(change, wish, domains, problems))
    problems.refuse_if_any()
    pending = [change.now.name for change in changes if pending_restart(change) and not change.restarts]
    restarted = [change.now.name for change in changes if change.restarts]
    outcome = Outcome([change for change in changes if not change.empty], _warnings(wishes), pending, restarted)
    if not check_mode:
        _apply_all(host, outcome)
    return outcome


def _warnings(wishes: Sequence[NetworkWish]) -> list[str]:
    subjects = {}
    for wish in wishes:
        for place, wanted in wish.places.items():
            portgroup = f"portgroup '{place}' of " if place else ""
            subjects[f"{portgroup}network '{wish.name}'"] = wanted
    return network_warnings(subjects)


def _inbound(wish: NetworkWish) -> bool:
    return None in wish.places and "inbound" in wish.places[None].limits


def _read(host: Host, name: str, ports_too: bool = False) -> NetworkNow:
    xml = host.networks.texts(name)
    said = {scope: read_network(text) for scope, text in xml.items()}
    portgroups = {scope: portgroups_of(text) for scope, text in xml.items()}
    own = next(iter(said.values())).name
    device = said["live"].bridge if "live" in said and host.here else None
    if device is None:
        return NetworkNow(own, xml, said, portgroups)
    try:
        now = NetworkNow(own, xml, said, portgroups, bridge(device), limits([], [device]).get(device, Limits()))
        return replace(now, ports=ports(device), sorting=sorting(device, xml["live"])) if ports_too else now
    except (TcError, OSError) as error:
        raise HostError(f"network '{own}': the kernel could not be asked about bridge {device}: {error}.") from error


def _check_reach(host: Host, wish: NetworkWish, now: NetworkNow, scopes: Sequence[str], problems: Problems) -> None:
    limited = "live" in scopes and "live" in now.said and now.said["live"].bridge is not None
    if None in wish.places and limited and now.bridge is None:
        where = "libvirt runs on another one" if not host.here else f"it has no device {now.said['live'].bridge}"
        rule = f"running network '{now.name}' is limited by the kernel of its host, and {where}"
        problems.add(f"{wish.path}name", wish.name, rule, "run the task on that host, or restrict it to affect=config")


def _apply_all(host: Host, outcome: Outcome) -> None:
    made = []
    for change in outcome.changes:
        try:
            failed = _apply(host, change, outcome.notes)
        except HostError as failure:
            outcome.failures.append(failure)
            outcome.restarted = [name for name in outcome.restarted if name != change.now.name]
            continue
        outcome.notes += [str(each) for each in failed.values() if each.gone]
        outcome.failures += [each for each in failed.values() if not each.gone]
        made.append(replace(change, renewals=[each for each in change.renewals if each.nic.mac not in failed]))
        outcome.failures += map(HostError, _unmet(host, change))
    outcome.changes = made


def _apply(host: Host, change: NetworkChange, notes: list[str]) -> dict[str, HostError]:
    """Write all of a network, or nothing of it. Return why NICs could not be plugged in anew, by their MACs."""
    now, networks = change.now, host.networks
    undo: list[tuple[str, Callable[[], None]]] = []
    try:
        if change.defined:
            undo.append(("the persistent definition", partial(networks.define, now.name, now.xml["config"])))
            after = {place: write.after for place, write in change.defined.items()}
            networks.define(now.name, with_bandwidths(now.xml["config"], after))
        if change.restart is not None:
            return _restart(host, change, change.restart, notes)
        for name, write in change.running.items():
            old = portgroup_xml(now.xml["live"], name, write.before)
            undo.append((f"portgroup '{name}'", partial(networks.update_portgroup, now.name, old)))
            networks.update_portgroup(now.name, portgroup_xml(now.xml["live"], name, write.after))
        if change.bridge and now.bridge:
            device = now.said["live"].bridge or ""
            undo.append((f"bridge {device}", partial(_bring, device, now.bridge)))
            _bring(device, change.bridge)
    except (HostError, TcError, OSError) as error:
        down = isinstance(error, HostError) and error.stands
        undone, stands = _take_back(undo)
        undone = undone or ("" if down else "Nothing of this network has changed.")
        raise HostError(f"Network '{now.name}': {str(error).rstrip('.')}. {undone}".strip(), stands or down) from error
    return _plug_nics(((each.domain, each.nic) for each in change.renewals), host.renew)


def _restart(
    host: Host, change: NetworkChange, nics: Sequence[tuple[Domain, Nic]], notes: list[str]
) -> dict[str, HostError]:
    """Start a network anew, and plug everything in again that was on its bridge."""
    now = change.now
    device = now.said["live"].bridge or ""
    there = ports(device)
    came = sorted(there.keys() - set(now.ports))
    if came:
        raise HostError(f"{enumerated(came)} came meanwhile; run again")
    began, refused = time.monotonic(), None
    try:
        host.networks.start_anew(now.name, now.xml)
    except HostError as failure:
        if failure.stands:
            raise
        refused = failure
    bridge_again = (refused and device) or now.said["config"].bridge or device
    failed = {}
    try:
        plug(bridge_again, there)
    except (TcError, OSError) as error:
        told = f"Network '{now.name}' was started anew, and not everything could be plugged in again: {error}"
        failed[""] = HostError(f"{told}; see what is missing (bridge link), and plug it in (ip link set).", stands=True)
    if there and now.said["live"].forward != "bridge":  # that one is the host's, and stayed
        off = time.monotonic() - began
        notes.append(f"Network '{now.name}' was started anew; what is plugged into it was cut off for {off:.2f} s.")
    failed.update(_plug_nics(nics, host.plug_again))
    if refused:
        raise HostError(" ".join(map(str, (refused, *failed.values()))), stands="" in failed)
    return failed


def _plug_nics(nics: Iterable[tuple[Domain, Nic]], plug_in: Callable[[Domain, Nic], None]) -> dict[str, HostError]:
    failed = {}
    for domain, nic in nics:
        try:
            plug_in(domain, nic)
        except HostError as failure:
            failed[nic.mac] = failure
    return failed


def _bring(device: str, target: Bridge) -> None:
    now = bridge(device)
    if now is None or now.index != target.index:
        raise HostError(f"bridge {device} went away meanwhile")
    carry_out(difference(now, target))


def _take_back(undo: Sequence[tuple[str, Callable[[], None]]]) -> tuple[str, bool]:
    """Undo what was done, the last of it first; return a sentence on what stands, and whether anything does."""
    said = []
    for what, undoing in reversed(undo):
        try:
            undoing()
        except (HostError, TcError, OSError) as error:
            said.append(
                f"Setting {what} back to what it was failed: {str(error).rstrip('.')}. It may have the new value."
            )
    return " ".join(said), bool(said)


def _unmet(host: Host, change: NetworkChange) -> list[str]:
    """Return a sentence for each of a network's places that was written and does not read back."""
    now = _read(host, change.now.name)
    found = []
    for scope, writes in (("config", change.defined), ("live", change.running)):
        network = now.said.get(scope)
        for place, write in writes.items():
            own = network and (network.bandwidth if place is None else network.portgroups.get(place))
            if own != write.after:
                what = "its own limit" if place is None else f"portgroup '{place}'"
                found.append(f"network '{now.name}': {what} reads back differently ({scope})")
    if change.bridge and now.bridge:
        holds = bool(now.said["live"].bandwidth.inbound.average)
        if difference(now.bridge, shaped(now.bridge, change.wanted, holds)):
            found.append(f"network '{now.name}': bridge {now.said['live'].bridge} reads back differently")
    why = "libvirt ignored it, or somebody else changed it meanwhile; run again."
    return [f"{text}: {why}" for text in found]
