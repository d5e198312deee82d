# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""From the record of a run, and what there is today, to what the modules are given to bring back what was before."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    CLEAR,
    DIRECTIONS,
    FIELDS,
    Limit,
    parse_limit,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.plugin_utils._record import Entry

Way = dict[str, Any]


def find_way_back(record: Mapping[str, Any], interfaces: Iterable[Entry], networks: Iterable[Entry]) -> Way:
    """Return what the modules are to be given, in this order. ``interfaces`` and ``networks`` are those there are.

    The devices; the networks whose limit rises, since floors of guests need that; the guests; and the networks whose
    limit sinks, since the floors of guests have to sink before.
    """
    way: Way = {"gone": [], "notes": []}
    way["devices"] = [_device(entry, way["notes"]) for entry in record["devices"]]
    first: list[Entry] = []
    last: list[Entry] = []
    for entry in _networks_there(record["networks"], networks, way["gone"]):
        readable = _readable(entry, way["notes"])
        if readable["before"]:
            (last if _sinks(readable) else first).append(readable)
    way["networks_first"], way["networks_last"] = _of_networks(first), _of_networks(last)
    way["guests"] = _of_guests(_nics_there(record["interfaces"], interfaces, way["gone"]))
    return way


def _device(entry: Mapping[str, Any], notes: list[str]) -> Entry:
    device, before, after = (entry[name] for name in ("device", "before", "after"))
    lost = {each["classid"] for each in before["classes"] if each.get("ignore")}
    lost -= {each["classid"] for each in after["classes"] if each.get("ignore")}
    if lost:
        notes.append(f"{device}: what was in {', '.join(sorted(lost))} was somebody else's, and does not come back.")
    if before["root"]:
        notes.append(f"{device}: the root qdisc {before['root']} was somebody else's, and does not come back.")
    if before["kept"] is False:
        notes.append(f"{device}: the next boot would have brought something else than it had; now it brings that.")
    options = {
        "device": device,
        "handle": before["handle"] or after["handle"],
        "persistent": before["kept"] is not None,
    }
    if not before["handle"]:
        return {**options, "state": "absent"}
    classes = [each for each in before["classes"] if each.get("classid") not in lost]
    return {**options, "classes": classes, "prune": True, "allow_overcommit": True}


def _networks_there(entries: Iterable[Entry], seen: Iterable[Mapping[str, Any]], gone: list[str]) -> list[Entry]:
    there = {network["name"]: network for network in seen}
    found, missing = [], {}
    for entry in entries:
        network = there.get(entry["name"])
        names = {each["name"]: each for each in network["portgroups"]} if network else {}
        place = network if entry["portgroup"] is None else names.get(entry["portgroup"])
        if not place:
            portgroup = f"portgroup '{entry['portgroup']}' of " if network else ""
            missing[f"{portgroup}network '{entry['name']}'"] = True
        elif place[entry["scope"]] is not None:
            found.append(entry)  # a network that was stopped has lost what it had running
    gone += missing
    return found


def _readable(entry: Entry, notes: list[str]) -> Entry:
    """Leave out what a network's bridge did that no option can say: it was not of this collection."""
    before = {}
    for direction, limit in entry["before"].items():
        problems = Problems()
        _parsed(limit, problems)
        if problems.found:
            shown = ", ".join(f"{name} {value}" for name, value in limit.items())
            notes.append(f"Network '{entry['name']}' had {shown} {direction} in the kernel, which does not come back.")
        else:
            before[direction] = limit
    return {**entry, "before": before}


def _parsed(limit: Mapping[str, str], problems: Problems) -> Limit:
    return parse_limit({**dict.fromkeys(FIELDS), **limit}, problems, "inbound")


def _sinks(entry: Entry) -> bool:
    """Whether a network is to have less for its guests than it has."""
    sides = [_parsed(entry[side].get("inbound", {"average": CLEAR}), Problems()).cap for side in ("before", "after")]
    return entry["portgroup"] is None and sides[0] < sides[1]


def _of_networks(entries: Iterable[Entry]) -> list[Way]:
    """Return the options of a task for each set of scopes. Running guests get what their portgroup gives again."""
    tasks = []
    for scopes, places in _by_scopes(entries):
        networks: dict[str, Entry] = {}
        for place in places:
            network = networks.setdefault(place["name"], {"name": place["name"], "update_running": "live" in scopes})
            if place["portgroup"] is None:
                network.update(place["before"])
            else:
                group = {"name": place["portgroup"], **place["before"]}
                network.setdefault("portgroups", []).append(group)
        tasks.append({"affect": list(scopes), "networks": list(networks.values())})
    return tasks


def _nics_there(entries: Iterable[Entry], seen: Iterable[Mapping[str, Any]], gone: list[str]) -> list[Entry]:
    there = {(nic["domain"], nic["mac"]): nic for nic in seen}
    found, missing = [], {}
    for entry in entries:
        nic = there.get((entry["domain"], entry["mac"]))
        if not nic:
            missing[f"NIC {entry['mac']} of domain '{entry['domain']}'"] = True
            continue
        if nic[entry["scope"]] is not None:
            found.append(entry)
        # A guest that was shut off then, and was started since, has been started with what goes now.
        if entry["scope"] == "config" and entry["target"] is None and nic["live"] is not None:
            found.append({**entry, "scope": "live"})
    gone += missing
    return found


def _of_guests(entries: Iterable[Entry]) -> list[Way]:
    tasks = []
    for scopes, nics in _by_scopes(entries):
        policies = [
            {"match": {"domain": [glob.escape(nic["domain"])], "mac": [nic["mac"]]}, **_limits(nic)} for nic in nics
        ]
        tasks.append({"affect": list(scopes), "policies": policies})
    return tasks


def _limits(nic: Entry) -> Entry:
    """Return what a NIC had of its own, as options."""
    if not nic["own"]["before"]:
        return {"state": "absent"}
    # One that has nothing of its own now had nothing in the direction that did not change, and a portgroup's not there.
    others = {} if nic["own"]["after"] else {direction: {"average": CLEAR} for direction in DIRECTIONS}
    return {**others, **nic["before"]}


def _by_scopes(entries: Iterable[Entry]) -> list[tuple[tuple[str, ...], list[Entry]]]:
    """Return the entries by their scopes; those that are the same in both are one."""
    same: dict[str, tuple[list[str], Entry]] = {}
    for entry in entries:
        rest = {name: value for name, value in entry.items() if name not in ("scope", "target", "after")}
        text = json.dumps(rest, sort_keys=True)
        scopes, _entry = same.setdefault(text, ([], entry))
        scopes.append(entry["scope"])
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for scopes, entry in same.values():
        groups.setdefault(tuple(scope for scope in SCOPES if scope in scopes), []).append(entry)
    return list(groups.items())
