# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Reading virtual networks, and carrying out what is planned for them: all of a network, or nothing."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Callable

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import UNLIMITED
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import enumerated
from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Bridge, as_it_was, difference, shaped
from ansible_collections.virtnet.qos.plugins.module_utils._bridge_ports import plug, ports, sorting
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_networks import legible
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Nic, read_network
from ansible_collections.virtnet.qos.plugins.module_utils._network_plan import (
    NetworkChange,
    NetworkNow,
    Renewal,
    pending_restart,
    plugged_into,
)
from ansible_collections.virtnet.qos.plugins.module_utils._network_xml import (
    portgroup_xml,
    portgroups_of,
    with_bandwidths,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import devices
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits
from ansible_collections.virtnet.qos.plugins.module_utils._tc_lock import Locked, only_run
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError, bridge, carry_out, limits


@dataclass
class Outcome:
    """What a run did, or would do in check mode."""

    changes: list[NetworkChange]
    warnings: list[str]
    # The networks of which libvirt believes, until they are started anew, that they have other limits.
    pending_restart: set[str]
    restarted: list[str]
    failures: list[HostError] = field(default_factory=list)
    # What came in between, and is nobody's fault.
    notes: list[str] = field(default_factory=list)


def read(host: Host, name: str, ports_too: bool = False) -> NetworkNow:
    """Return a network by scope, with what the kernel does on its bridge; ``ports_too`` with what is plugged in."""
    xml = host.networks.texts(name)
    with legible(name):
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


def apply_all(host: Host, outcome: Outcome) -> None:
    """Carry out the changes of an outcome, and note in it what came of them."""
    made = []
    for change in outcome.changes:
        name = change.now.name
        try:
            failed = _apply(host, change, outcome.notes)
        except HostError as failure:
            outcome.failures.append(failure)
            outcome.restarted = [each for each in outcome.restarted if each != name]
        else:
            outcome.notes += [str(each) for each in failed.values() if each.gone]
            outcome.failures += [each for each in failed.values() if not each.gone]
            renewed = [each for each in change.renewals if _key(each.domain, each.nic) not in failed]
            made.append(replace(change, renewals=renewed))
            outcome.failures += map(HostError, [*_take_policers(host, renewed), *_not_renewed(host, renewed)])
        outcome.pending_restart.discard(name)
        try:
            now = read(host, name)
            if made and made[-1].now is change.now:
                outcome.failures += map(HostError, _unmet(change, now))
            if pending_restart(replace(change, now=now, bridge=None, defined={})):
                outcome.pending_restart.add(name)
        except HostError as failure:
            outcome.failures.append(failure)
    outcome.changes = made


def _apply(host: Host, change: NetworkChange, notes: list[str]) -> dict[tuple[str, str], HostError]:
    """Write all of a network, or nothing of it. Return why NICs could not be plugged in anew."""
    now, networks = change.now, host.networks
    undo: list[tuple[str, Callable[[], None]]] = []
    try:
        for domain, _nic in change.restart or ():
            host.check_idle(domain)
        if change.defined:
            _check_definition(host, now)
            undo.append(("the persistent definition", partial(networks.define, now.name, now.xml["config"])))
            after = {place: write.after for place, write in change.defined.items()}
            networks.define(now.name, with_bandwidths(now.xml["config"], after))
        if change.restarts:
            return _restart(host, change, notes)
        for name, write in change.running.items():
            old = portgroup_xml(now.xml["live"], name, write.before)
            undo.append((f"portgroup '{name}'", partial(networks.update_portgroup, now.name, old)))
            networks.update_portgroup(now.name, portgroup_xml(now.xml["live"], name, write.after))
        if change.bridge and now.bridge:
            _bring(now.said["live"].bridge or "", _reshaping(change))
    except (HostError, TcError, OSError) as error:
        down = isinstance(error, HostError) and error.stands
        undone, stands = _take_back(undo)
        undone = undone or ("" if down else "Nothing of this network has changed.")
        raise HostError(f"Network '{now.name}': {str(error).rstrip('.')}. {undone}".strip(), stands or down) from error
    return _plug_nics(host, ((each.domain, each.nic) for each in change.renewals), host.renew)


def _check_definition(host: Host, now: NetworkNow) -> None:
    """Refuse to overwrite what came since it was read, such as an address of DHCP."""
    if host.networks.texts(now.name).get("config") != now.xml["config"]:
        raise HostError("somebody else changed its definition meanwhile; run again")


def _reshaping(change: NetworkChange) -> Callable[[Bridge], Bridge]:
    """Return what makes of a bridge, as it is found, what it is to be."""
    holds = change.to_start_with if change.restarts else change.now.said["live"].bandwidth
    return partial(shaped, wanted=change.wanted, holds=bool(holds.inbound.average))


def _bring(device: str, to: Callable[[Bridge], Bridge]) -> None:
    """Bring a device from what it is by now, since guests with floors come and go, to what ``to`` makes of that.

    Where that fails, it stays as it was. Nobody else changes it meanwhile, but libvirt.
    """
    try:
        with only_run(devices().get(device, 0)):
            now = bridge(device)
            if now is None:
                raise HostError(f"bridge {device} went away meanwhile")
            try:
                carry_out(difference(now, to(now)))
            except TcError as error:
                done = {each.direction for each in error.sent}
                undone, stands = _take_back([(f"bridge {device}", partial(_bring_back, device, now, done))])
                raise HostError(f"{str(error).rstrip('.')}. {undone}".strip(), stands) from error
    except Locked as error:
        raise HostError(f"bridge {device}: {error}") from error


def _bring_back(device: str, before: Bridge, directions: Collection[str]) -> None:
    now = bridge(device)
    if now:
        carry_out(difference(now, as_it_was(now, before, directions)))


def _restart(host: Host, change: NetworkChange, notes: list[str]) -> dict[tuple[str, str], HostError]:
    """Start a network anew, and plug everything in again that was on its bridge."""
    now = change.now
    device = now.said["live"].bridge or ""
    there = ports(device)
    came = sorted(there.keys() - set(now.ports))
    if came:
        raise HostError(f"{enumerated(came)} came meanwhile; run again")
    began, refused = time.monotonic(), None
    host.networks.stop(now.name)
    try:
        host.networks.start(now.name, now.xml["live"])
    except HostError as failure:
        if failure.stands:
            raise
        refused = failure
    again = device if refused else now.said["config"].bridge or device
    missing = plug(again, there)
    if there and now.said["live"].forward != "bridge":  # that one is the host's, and stayed
        off = time.monotonic() - began
        notes.append(f"Network '{now.name}' was started anew; what is plugged into it was cut off for {off:.2f} s.")
    failed = {}
    try:
        # Guests may have come and gone meanwhile.
        nics = plugged_into(now.name, host.domains(("live",)))
        missing += plug(again, {nic.target: {} for _domain, nic in nics if nic.target and nic.target not in there})
        failed = _plug_nics(host, nics, host.plug_again)
        if refused:
            host.networks.define(now.name, now.xml["config"])
        # libvirt made its classes as it does, and then those of floors beside them.
        _bring(again, partial(as_it_was, before=now.bridge) if refused and now.bridge else _reshaping(change))
    except (HostError, TcError, OSError) as error:
        missing.append(str(error))
    if missing:
        told = f"Network '{now.name}' was started anew, and not everything is as it was before: {'; '.join(missing)}"
        failed["", ""] = HostError(f"{told}. See what is missing (bridge link, tc class), and run again.", stands=True)
    if refused:
        notes += [str(each) for each in failed.values() if each.gone]
        lost = [each for each in failed.values() if not each.gone]
        raise HostError(" ".join(map(str, (refused, *lost))), stands=bool(lost))
    return failed


def _key(domain: Domain, nic: Nic) -> tuple[str, str]:
    return domain.uuid, nic.mac


def _plug_nics(
    host: Host, nics: Iterable[tuple[Domain, Nic]], plug_in: Callable[[Domain, Nic], None]
) -> dict[tuple[str, str], HostError]:
    failed = {}
    for domain, nic in nics:
        try:
            plug_in(domain, nic)
        except HostError as failure:
            # libvirt has one number for a guest that is off, and for floors that do not fit.
            failure.gone = failure.gone and not host.runs(domain)
            failed[_key(domain, nic)] = failure
    return failed


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


def _unmet(change: NetworkChange, now: NetworkNow) -> list[str]:
    """Return a sentence for each of a network's places that was written and does not read back."""
    found = []
    for scope, writes in (("config", change.defined), ("live", change.running)):
        network = now.said.get(scope)
        for place, write in writes.items():
            own = network and (network.bandwidth if place is None else network.portgroups.get(place))
            if own != write.after:
                what = "its own limit" if place is None else f"portgroup '{place}'"
                found.append(f"network '{now.name}': {what} reads back differently ({scope})")
    if change.bridge and now.bridge and difference(now.bridge, _reshaping(change)(now.bridge)):
        found.append(f"network '{now.name}': bridge {now.said['live'].bridge} reads back differently")
    why = "libvirt ignored it, or somebody else changed it meanwhile; run again."
    return [f"{text}: {why}" for text in found]


def _take_policers(host: Host, renewals: Iterable[Renewal]) -> list[str]:
    """Take the policers away that libvirt 12.4 and later leave where only what a NIC sends is not limited any more.

    Return a sentence for each that stays.
    """
    found = []
    for each in renewals:
        lost = each.nic.shown.outbound.average and not each.after.outbound.average
        if lost and host.here and each.nic.target and each.nic.policed == "outbound":
            try:
                _bring(each.nic.target, partial(shaped, wanted={"outbound": UNLIMITED}, holds=False))
            except (HostError, TcError, OSError) as error:
                if host.runs(each.domain):
                    stays = f"{each.nic.target} may go on to limit what its guest sends: {error}"
                    found.append(f"{stays}; take that away (tc qdisc del dev {each.nic.target} ingress).")
    return found


def _not_renewed(host: Host, renewals: Iterable[Renewal]) -> list[str]:
    """Return a sentence for each NIC that was to have what its portgroup gives by now, and has not."""
    found = []
    for each in renewals:
        of = f"NIC {each.nic} of domain '{each.domain.name}'"
        try:
            now = host.domain(each.domain.uuid)
        except HostError as error:
            if host.runs(each.domain):
                found.append(f"{of} could not be looked at again: {error}")
            continue
        shown = [nic.shown for nic in now.nics.get("live", ()) if nic.mac == each.nic.mac]
        if shown and shown != [each.after]:
            found.append(f"{of} has not what its portgroup gives: libvirt ignored it; restart the guest.")
    return found
