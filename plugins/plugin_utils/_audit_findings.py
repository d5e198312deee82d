# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What is not as it should be on a host, from what its tasks answered. A thing is told once, by what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_brief import words
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_capacity import overcommitted
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import KINDS, Finding
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_read import Answers

DIRECTIONS = ("inbound", "outbound")
SCOPES = {"live": "running", "config": "persistent"}


def findings(answers: Answers) -> list[Finding]:
    """Return all findings of a host, in the order of their kinds."""
    found = [
        *answers.trouble,
        *_drift(answers),
        *_nics(answers),
        *_networks(answers),
        *_undeclared(answers),
        *overcommitted(answers),
        *_unknown(answers),
    ]
    return sorted(found, key=lambda each: list(KINDS).index(each.kind))


def limits(directions: Mapping[str, Any]) -> str:
    """Return the limits of the directions as one text."""
    return "; ".join(
        f"{direction} {words(limit) if isinstance(limit, Mapping) else limit}"
        for direction, limit in directions.items()
    )


def _nic(each: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    return f"{each['domain']} {each['mac']}", {"domain": each["domain"], "mac": each["mac"]}


def _drift(answers: Answers) -> Iterator[Finding]:
    """Tell what a run of site would change."""
    host = answers.name
    for result in answers.roles["host_qos"].get("results") or []:
        for action in result.get("actions") or []:
            device = str(result.get("device") or result.get("item"))
            about = {"device": device, "object": action["object"], "id": action["id"]}
            what = f"{device} {action['object']} {action['id']}"
            before, after = action.get("before"), action.get("after")
            yield Finding(host, "drift", what, _change(before or "not there", after or "not there"), about)
    networks = answers.roles["network_qos"]
    for each in networks.get("networks") or []:
        what, about = f"network {each['name']}", {"network": each["name"]}
        if each["portgroup"] is not None:
            what, about = f"portgroup {each['name']}/{each['portgroup']}", {**about, "portgroup": each["portgroup"]}
        yield Finding(host, "drift", what, _scoped(each), about)
    for each in networks.get("interfaces") or []:
        what, about = _nic(each)
        message = f"running: {_change(limits(each['before']), limits(each['after']))}, as its portgroup has it"
        yield Finding(host, "drift", what, message, about)
    for each in answers.roles["vm_qos"].get("interfaces") or []:
        what, about = _nic(each)
        yield Finding(host, "drift", what, _scoped(each), about)


def _scoped(change: Mapping[str, Any]) -> str:
    where = " and ".join(SCOPES[scope] for scope in change["scopes"])
    return f"{where}: {_change(limits(change['before']), limits(change['after']))}"


def _change(before: str, after: str) -> str:
    return f"is {before}; declared {after}"


def _nics(answers: Answers) -> Iterator[Finding]:
    """Tell of NICs what libvirt and the kernel do not agree on, and what the site playbook would not mend."""
    mended = {
        (each["domain"], each["mac"], direction)
        for each in answers.roles["vm_qos"].get("interfaces") or []
        for direction in each["after"]
    }
    for each in answers.libvirt.get("interfaces", []):
        what, about = _nic(each)
        for direction, of in each.get("unenforced", {}).items():
            note = f" ({of['note']})" if "note" in of else ""
            message = f"{direction}: libvirt says {of['promised']}, the kernel does {of['enforced']}{note}"
            yield Finding(answers.name, "unenforced", what, message, {**about, "direction": direction})
        for direction, of in each.get("drift", {}).items():
            if (each["domain"], each["mac"], direction) not in mended:
                message = f"{direction}: running {of['live']}; persistent {of['config']}"
                yield Finding(answers.name, "differs", what, message, {**about, "direction": direction})
        if "undeclared" in each:
            where = "" if len(each["undeclared"]) == len(SCOPES) else f" where it is {SCOPES[each['undeclared'][0]]}"
            on = each.get("network") or each.get("bridge")
            has = "has a limit" if each["limited"] else "has no limit"
            message = f"no policy fits it{where}; it {has}{f' and is on {on}' if on else ''}"
            yield Finding(answers.name, "undeclared", what, message, about)


def _networks(answers: Answers) -> Iterator[Finding]:
    """Tell the same of networks and portgroups."""
    changes = answers.roles["network_qos"].get("networks") or []
    mended = {(each["name"], each["portgroup"]) for each in changes}
    for each in answers.libvirt.get("networks", []):
        about, what, name = {"network": each["name"]}, f"network {each['name']}", each["name"]
        enforced = each["enforced"] or {}
        wanted = each["config"] or each["live"]
        for direction in DIRECTIONS if (name, None) not in mended and enforced else ():
            if enforced[direction]["agrees"] is False:
                message = (
                    f"{direction}: defined is {words(wanted[direction])}, the bridge does {words(enforced[direction])}"
                )
                yield Finding(answers.name, "unenforced", what, message, {**about, "direction": direction})
        for part in (each, *each["portgroups"]):
            group = None if part is each else part["name"]
            if (name, group) in mended:
                continue
            label = what if group is None else f"portgroup {name}/{group}"
            for direction in part["drift"]:
                # Of a network that runs libvirt believes what it was started with; what its bridge does has been told.
                if group is None and enforced and enforced[direction]["agrees"] is not None:
                    continue
                message = f"{direction}: running {words(part['live'][direction])}; persistent " + words(
                    part["config"][direction]
                )
                found = about if group is None else {**about, "portgroup": group}
                yield Finding(answers.name, "differs", label, message, {**found, "direction": direction})


def _undeclared(answers: Answers) -> Iterator[Finding]:
    """Tell the devices and networks that have limits which the inventory does not know."""
    devices, networks = answers.named("host_qos"), answers.named("network_qos")
    for each in answers.devices:
        if devices is not None and each["managed"] and each["device"] not in devices:
            message = f"it has {len(each['classes'])} traffic classes, and host_qos_devices does not name it"
            yield Finding(answers.name, "undeclared", f"uplink {each['device']}", message, {"device": each["device"]})
    for each in answers.libvirt.get("networks", []):
        parts = [part[scope] for part in (each, *each["portgroups"]) for scope in SCOPES if part[scope]]
        limited = any(part[direction] != {"average": "unlimited"} for part in parts for direction in DIRECTIONS)
        if networks is not None and limited and each["name"] not in networks:
            message = "it has limits, and network_qos_networks does not name it"
            yield Finding(answers.name, "undeclared", f"network {each['name']}", message, {"network": each["name"]})


def _unknown(answers: Answers) -> Iterator[Finding]:
    count = answers.libvirt.get("summary", {}).get("unknown", 0)
    if count:
        message = f"of {count} running NICs with a limit it is not known whether the kernel enforces it"
        yield Finding(answers.name, "unknown", "NICs", message, {"nics": count})
