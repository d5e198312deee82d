# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Whether a virtual network is to be started anew, and what has to be plugged in again then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import DIRECTIONS, NO_BANDWIDTH
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Write, enumerated
from ansible_collections.virtnet.qos.plugins.module_utils._bridge import difference, shaped
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._network_plan import (
    FLOORS_FIRST,
    NetworkChange,
    NetworkNow,
    cap_text,
    lowered,
    plugged_into,
    redefined,
    renewals,
    unfit,
)
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import NetworkWish
from ansible_collections.virtnet.qos.plugins.module_utils._network_xml import unlike
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems


def with_restart(
    change: NetworkChange, wish: NetworkWish, domains: Sequence[Domain], problems: Problems
) -> NetworkChange:
    """Return a change with a restart of its network, where one is asked for and needed to have libvirt agree."""
    now = change.now
    if wish.restart and "config" not in now.said:
        rule = f"network '{now.name}' is transient, and is gone when it is stopped"
        problems.add(f"{wish.path}restart", True, rule, "drop it, or define the network first (virsh net-define)")
    if not wish.restart or not redefined(change):
        return change
    plugged = plugged_into(now.name, domains)
    _check(wish, now, plugged, problems)
    live, config, own = now.said["live"], now.said["config"], change.to_start_with
    promised = unfit(now.name, own.inbound, domains).get("live")
    if promised and not (wish.inbound and lowered(now, own.inbound, now.said)):  # which is refused by itself
        problems.add(f"{wish.path}restart", cap_text(own.inbound), promised, FLOORS_FIRST)
    given = {**config.portgroups, **{name: each.after for name, each in change.defined.items() if name}}
    running = {
        name: Write(before, given[name])
        for name, before in live.portgroups.items()
        if given.get(name, before) != before
    }
    renewed = list(renewals(plugged, lambda nic: given.get(config.portgroup_of(nic) or "", NO_BANDWIDTH)))
    # All of it is as defined then, be it named in the options or not.
    wanted = {direction: own[direction] for direction in DIRECTIONS}
    target = now.bridge and shaped(now.bridge, wanted, bool(own.inbound.average))
    bridge = target if now.bridge and target and difference(now.bridge, target) else None
    return replace(change, running=running, bridge=bridge, wanted=wanted, renewals=renewed, restart=plugged)


def _check(wish: NetworkWish, now: NetworkNow, plugged: Sequence[tuple[Domain, Nic]], problems: Problems) -> None:
    guests = {nic.target: f"{nic.target} of domain '{domain.name}'" for domain, nic in plugged}
    # A bridge of the host keeps its ports, and not all of them are of this network.
    others = [] if now.said["live"].forward == "bridge" else [name for name in now.ports if name not in guests]
    listed = [*guests.values(), *others]
    pending = unlike(now.xml["live"], now.xml["config"])
    if pending:
        what = f"which is defined otherwise than it runs ({enumerated(pending)})"
        rule = f"it would bring more into force than limits in network '{now.name}', {what}"
        by_hand = "start it anew by hand when its guests may be cut off (virsh net-destroy, net-start)"
        problems.add(f"{wish.path}restart", True, rule, f"{by_hand}, or define what runs (virsh net-edit)")
    if now.bridge is None:
        rule = f"the bridge of network '{now.name}' is not on this host, so that nobody knows what is plugged in there"
        problems.add(f"{wish.path}restart", True, rule, "run the task on that host, or drop it")
    elif listed and not wish.force_restart:
        rule = f"network '{now.name}' is in use by {enumerated(listed)}, which a restart cuts off"
        remedy = "drop it, since the limits are in force without a restart, or set force_restart=true as well"
        problems.add(f"{wish.path}restart", True, rule, remedy)
    elif listed and now.sorting and now.said["live"].forward != "bridge":
        rule = f"network '{now.name}' has {now.sorting}, which would not be there for what is plugged in again"
        problems.add(
            f"{wish.path}force_restart", True, rule, "drop it, and restart the network while its guests are off"
        )
