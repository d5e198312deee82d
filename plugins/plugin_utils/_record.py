# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What a run changed on a host: from what its modules answered to the record of it.

An entry is one thing (a device, or a NIC, a network or a portgroup in one scope) with what it had before and has after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import DIRECTIONS

VERSION = 1
KINDS = ("devices", "networks", "interfaces")
SIDES = ("before", "after")
EMPTY: dict[str, Any] = {kind: [] for kind in KINDS}

Entry = dict[str, Any]
Record = dict[str, Any]


def record_of(
    answers: Mapping[str, Any],
    run: str,
    time: str,
    former: Mapping[str, Any] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> Record:
    """Return the record of a run; an empty one of a run that changed nothing.

    ``answers`` are those of tc_hfsc_class, virt_network_bandwidth and virt_iface_bandwidth, by what they are about,
    each of a task or of a task with a loop. ``former`` is the record that the run went back from: what the run found
    back already counts as if it had brought it back. ``earlier`` is the record that is there, which stays a part of it
    where it is of the same run.
    """
    found: dict[str, dict[tuple[Any, ...], Entry]] = {kind: {} for kind in KINDS}
    former = former or EMPTY
    for entry in former["devices"]:
        found["devices"][entry["device"],] = _turned(entry)
    for kind in KINDS[1:]:
        for entry in former[kind]:
            _add(found[kind], _turned(entry))
    for answer in _each(answers.get("devices")):
        if answer.get("changed") and "before" in answer:
            found["devices"][answer["device"],] = {name: answer[name] for name in ("device", *SIDES)}
    for kind in KINDS[1:]:
        for answer in _each(answers.get(kind)):
            for entry in answer.get(kind) or ():
                for scope in entry["scopes"]:
                    _add(found[kind], _restorable(entry, kind, scope))
    listed = {kind: [entry for entry in found[kind].values() if entry["before"] != entry["after"]] for kind in KINDS}
    if not any(listed.values()):
        return {}
    if earlier and earlier["run"] == run:
        listed = {kind: _joined(earlier[kind], listed[kind]) for kind in KINDS}
    return {"version": VERSION, "run": run, "time": time, "undid": former.get("run"), **listed}


def key_of(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what an entry is about."""
    return tuple(entry.get(name) for name in ("device", "domain", "mac", "name", "portgroup", "scope"))


def _joined(earlier: Iterable[Entry], later: Iterable[Entry]) -> list[Entry]:
    """Return the entries of two parts of a run: what was before the first, and after the second."""
    found = {key_of(entry): entry for entry in earlier}
    for entry in later:
        there = found.get(key_of(entry), entry)
        sides = {"before": {**entry["before"], **there["before"]}, "after": {**there["after"], **entry["after"]}}
        own = {"own": {"before": there["own"]["before"], "after": entry["own"]["after"]}} if "own" in entry else {}
        found[key_of(entry)] = {**entry, **own, **sides}
    return list(found.values())


def _each(answer: Any) -> Iterator[Mapping[str, Any]]:
    """Give the answers of a task, with a loop or without, that were given."""
    if isinstance(answer, Mapping):
        yield from answer.get("results", [answer])


def _restorable(entry: Mapping[str, Any], kind: str, scope: str) -> Entry:
    """Return an entry of one scope. What a bridge's classes were in detail libvirt's words cannot say."""
    names = ("domain", "mac", "target") if kind == "interfaces" else ("name", "portgroup")
    own = {"own": {side: scope in entry["own"][side] for side in SIDES}} if kind == "interfaces" else {}
    sides = {side: {name: entry[side][name] for name in DIRECTIONS if name in entry[side]} for side in SIDES}
    return {**{name: entry[name] for name in names}, **own, "scope": scope, **sides}


def _turned(entry: Mapping[str, Any]) -> Entry:
    turned = {**entry, "before": entry["after"], "after": entry["before"]}
    if "own" in entry:
        turned["own"] = {"before": entry["own"]["after"], "after": entry["own"]["before"]}
    return turned


def _add(found: dict[tuple[Any, ...], Entry], entry: Entry) -> None:
    """Add an entry; where there is one of the same thing, this run is what counts, in the directions it changed."""
    there = found.get(key_of(entry))
    if there:
        entry = {**entry, **{side: {**there[side], **entry[side]} for side in SIDES}}
    found[key_of(entry)] = entry
