# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""The report of an audit as text for a terminal and a job's log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LISTED = 20  # hosts that are in order
SHOWN = 10  # findings of one kind on a host
LARGEST = 250_000  # bytes as JSON, but for hosts and kinds: AWX keeps nothing of a result above 700 000
COLUMNS = (
    "host",
    "NICs",
    "in order",
    "not compared",
    "not declared",
    "differ",
    "drift",
    "not enforced",
    "errors",
    "warnings",
)
NIC_KEYS = ("total", "in_order", "not_compared", "undeclared", "differs", "drift", "unenforced")


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report: a line a host, then what was found, host by host."""
    totals = report["totals"]
    hosts = report["hosts"]
    told = [row for row in hosts if _trouble(row)] if len(hosts) > LISTED else hosts
    said = [
        f"Bandwidth audit of {counted(totals['hosts'], 'host')} with {counted(totals['nics']['total'], 'NIC')}, "
        f"{report['made']}: {counted(totals['errors'], 'error')}, {counted(totals['warnings'], 'warning')}.",
        "",
        *_table([COLUMNS, *map(_row, told)]),
    ]
    if len(told) < len(hosts):
        said.append(f"{counted(len(hosts) - len(told), 'other host')} without errors and warnings")
    of_host: dict[str, list[Mapping[str, Any]]] = {}
    for each in report["findings"]:
        of_host.setdefault(each["host"], []).append(each)
    room, left = LARGEST - _size(said), []
    for row in hosts:
        found = of_host.get(row["name"], [])
        shown = ["", f"{row['name']}:", *_findings(found)] if found else []
        if _size(shown) <= room:
            said += shown
            room -= _size(shown)
        else:
            left.append(len(found))
    if left:
        more = f"and {counted(sum(left), 'more finding')} on {counted(len(left), 'host')}"
        said += ["", f"{more}; the report as JSON has them all."]
    used = [kind for kind in report["kinds"].values() if kind["findings"] and kind["severity"] != "info"]
    if used:
        said += ["", "What to do:", *(f"  {kind['title']}: {kind['remedy']}" for kind in used)]
    return said


def counted(number: int, thing: str) -> str:
    """Return such as ``1 host`` and ``2 hosts``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _trouble(row: Mapping[str, Any]) -> bool:
    return bool(row["errors"] or row["warnings"])


def _size(said: Sequence[str]) -> int:
    return sum(len(json.dumps(line)) + 2 for line in said)


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    nics = [str(row["nics"][key]) for key in NIC_KEYS] if row["looked_at"] else ["?"] * len(NIC_KEYS)
    return (row["name"], *nics, str(row["errors"]), str(row["warnings"]))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for first, *numbers in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:])]
        yield "  ".join([first.ljust(widths[0]), *cells])


def _findings(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for kind in dict.fromkeys(each["kind"] for each in found):
        same = [each for each in found if each["kind"] == kind]
        for each in same[:SHOWN]:
            yield f"  {each['severity'].upper()} {kind}: {each['object']}: {each['message']}"
        if len(same) > SHOWN:
            yield f"  and {len(same) - SHOWN} more of {kind}"
