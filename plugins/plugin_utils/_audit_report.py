# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""The report of an audit as data: what its JSON has, and what the other forms are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_capacity import bridges, networks, uplinks
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_findings import findings
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import KINDS, SEVERITIES, Finding
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_read import Answers, line, read

FORMAT = 1  # rises when something that a reader relies on becomes something else
# What a NIC is counted as, the worst that is true of it.
STATES = ("unenforced", "drift", "differs", "undeclared", "not_compared", "in_order")


def report(hostvars: Mapping[str, Any], hosts: Iterable[str], made: str) -> dict[str, Any]:
    """Return the report on these hosts."""
    audited = [_audited(name, hostvars) for name in hosts]
    rows = [row for row, _found in audited]
    everything = [finding for _row, found in audited for finding in found]
    return {
        "format": FORMAT,
        "made": made,
        "totals": {
            "hosts": len(rows),
            "looked_at": sum(row["looked_at"] for row in rows),
            "nics": {key: sum(row["nics"][key] for row in rows) for key in _nics(Answers(""), [])},
            **_severities(everything),
        },
        "kinds": {
            name: {
                "severity": kind.severity,
                "title": kind.title,
                "remedy": kind.remedy,
                "findings": sum(each.kind == name for each in everything),
                "hosts": len({each.host for each in everything if each.kind == name}),
            }
            for name, kind in KINDS.items()
        },
        "hosts": rows,
        "findings": [each.data() for each in everything],
    }


def _audited(name: str, hostvars: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Return the row of a host, and what was found on it."""
    try:
        answers = read(name, hostvars[name])
        found = findings(answers)
        return _host(answers, found), found
    except Exception as error:  # whatever it is, it must not keep the other hosts out of the report
        message = f"what its tasks answered is not understood: {type(error).__name__}: {error}"
        odd = Answers(name, trouble=[Finding(name, "unreadable", "answers", line(message))])
        return _host(odd, odd.trouble), odd.trouble


def _severities(found: Sequence[Finding]) -> dict[str, int]:
    count = Counter(KINDS[each.kind].severity for each in found)
    return {f"{severity}s": count[severity] for severity in SEVERITIES}


def _host(answers: Answers, found: Sequence[Finding]) -> dict[str, Any]:
    return {
        "name": answers.name,
        "looked_at": answers.looked_at,
        **_severities(found),
        "nics": _nics(answers, found),
        "averages": answers.libvirt.get("summary", {}).get("averages", {"inbound": {}, "outbound": {}}),
        "uplinks": uplinks(answers),
        "networks": networks(answers),
        "bridges": bridges(answers),
    }


def _nics(answers: Answers, found: Sequence[Finding]) -> dict[str, int]:
    """Count the NICs, each once, by the worst that is true of it."""
    worst: dict[tuple[str, str], str] = {}
    for each in found:
        if "mac" in each.about and each.kind in STATES:
            nic = (each.about["domain"], each.about["mac"])
            worst[nic] = min(each.kind, worst.get(nic, "in_order"), key=STATES.index)
    count, total = Counter(worst.values()), answers.libvirt.get("considered", 0)
    # Of a NIC that was not compared nobody knows that it is in order.
    count["in_order" if answers.compared else "not_compared"] = max(total - len(worst), 0)
    summary = answers.libvirt.get("summary", {})
    return {
        "total": total,
        "running": summary.get("running", 0),
        "limited": summary.get("limited", 0),
        **{state: count[state] for state in STATES},
    }
