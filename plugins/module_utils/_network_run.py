# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""One run over virtual networks: parse, read, plan, apply, read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_warnings import network_warnings
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import login_of
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host, check_uri
from ansible_collections.virtnet.qos.plugins.module_utils._network_apply import Outcome, apply_all, read
from ansible_collections.virtnet.qos.plugins.module_utils._network_plan import (
    NetworkChange,
    NetworkNow,
    left_out,
    pending_restart,
    plan,
)
from ansible_collections.virtnet.qos.plugins.module_utils._network_restart import with_restart
from ansible_collections.virtnet.qos.plugins.module_utils._network_shared import Asked, check_shared, shared_warnings
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import NetworkWish, parse_networks
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems


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
    concerned = any(wish.update_running or wish.restart or wish.inbound for wish in wishes)
    domains = host.domains(SCOPES) if concerned else []
    changes: dict[str, NetworkChange] = {}
    warned = _warnings(wishes)
    asked: list[Asked] = []
    for wish in wishes:
        now = read(host, wish.name, wish.restart)
        if now.name in changes:
            rule = "this is the same network as another in the list"
            problems.add(f"{wish.path}name", wish.name, rule, "write all of it in one element")
        _check_reach(host, wish, now, scopes, problems)
        change = plan(wish, now, domains, scopes, problems)
        changes[now.name] = with_restart(change, wish, domains, problems)
        warned += [*change.warnings, *left_out(wish, now, scopes)]
        if None in wish.places and "live" in now.said and now.said["live"].forward == "bridge":
            warned.append(_HOSTS_BRIDGE.format(now.name))
        if None in wish.places and now.bridge and "live" in scopes:
            asked.append((wish, now))
    check_shared(asked, problems)
    problems.refuse_if_any()
    hosts = [(wish, now) for wish, now in asked if now.said["live"].forward == "bridge"]
    warned += shared_warnings(hosts, host.networks.all()) if hosts else []
    outcome = Outcome(
        [change for change in changes.values() if not change.empty],
        warned,
        {name for name, change in changes.items() if pending_restart(change) and not change.restarts},
        [name for name, change in changes.items() if change.restarts],
    )
    if not check_mode:
        apply_all(host, outcome)
    return outcome


_HOSTS_BRIDGE = (
    "Network '{}' is a bridge of the host: its own limits are for what passes between its guests and the host itself, "
    "not for what passes between its guests and the bridge's other ports."
)


def _warnings(wishes: Sequence[NetworkWish]) -> list[str]:
    subjects = {}
    for wish in wishes:
        for place, wanted in wish.places.items():
            portgroup = f"portgroup '{place}' of " if place else ""
            subjects[f"{portgroup}network '{wish.name}'"] = wanted
    return network_warnings(subjects)


def _check_reach(host: Host, wish: NetworkWish, now: NetworkNow, scopes: Sequence[str], problems: Problems) -> None:
    limited = "live" in scopes and "live" in now.said and now.said["live"].bridge is not None
    if None in wish.places and limited and now.bridge is None:
        where = "libvirt runs on another one" if not host.here else f"it has no device {now.said['live'].bridge}"
        rule = f"running network '{now.name}' is limited by the kernel of its host, and {where}"
        problems.add(f"{wish.path}name", wish.name, rule, "run the task on that host, or restrict it to affect=config")
