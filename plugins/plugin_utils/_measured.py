# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What became of measuring: the answers of iperf3, of a guest's agent and of virsh -> lines of a report."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TIMED_OUT = (124, 137)  # what timeout(1) exits with
COLUMNS = ("host", "guest", "direction", "declared", "enforced", "measured", "ratio", "verdict")


def rows(nic: Mapping[str, Any], said: Mapping[str, Any] | None, tolerance: float, low: float) -> list[dict[str, Any]]:
    """Return a line for each stream of a NIC.

    ``said`` has the results of the tasks; without, it was only asked what would be measured.
    """
    note = "" if said is None else _obstacle(nic, said)
    found = []
    for index, stream in enumerate(nic["streams"]):
        line = {key: stream[key] for key in ("direction", "declared", "enforced")}
        line = {"domain": nic["domain"], "mac": nic["mac"], **line, "measured": None, "verdict": "not measured"}
        if said is None:
            by = f"at {nic['address']}" if nic["address"] else "by its agent"
            line.update(verdict="would be measured", note=f"{by}, up to {stream['most'] / 1e6:.3g} MB")
        elif note:
            line["note"] = note
        else:
            line.update(_verdict(stream, said["streams"]["results"][index], tolerance, low))
        found.append(line)
    return found


def report(by_host: Mapping[str, Sequence[Mapping[str, Any]]], refused: Mapping[str, str]) -> dict[str, Any]:
    """Return the lines of all hosts as data and as a table, and how many there are of each verdict.

    ``refused`` says why nothing was measured on a host at all.
    """
    lines = [{"host": host, **line} for host, of_host in by_host.items() for line in of_host]
    empty = {"domain": "", "mac": "", "direction": "", "declared": "", "enforced": "", "measured": None}
    lines += [{"host": host, **empty, "verdict": "not measured", "note": why} for host, why in refused.items()]
    verdicts = [line["verdict"] for line in lines]
    count = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
    return {"rows": lines, "table": _table(lines), "count": count}


def _obstacle(nic: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    """Return why no stream was begun; nothing where they were."""
    address = said["address"]
    if not address:
        asked = _last(said["addresses"]["results"])
        return f"it has no address that the host knows of; name one, or start its guest agent ({asked})"
    started, ended = said["started"], said["ended"]
    if not nic["address"] and started.get("rc") != 0:
        return f"its guest agent did not start iperf3; name an address where one listens ({_last([started])})"
    if said["answers"].get("state") != "started":
        why = _gone(ended) if not nic["address"] else ""
        return f"nothing answers at {address}, port {nic['port']}{why}"
    if not said["near"]:
        known = _neighbours(said["neighbours"])
        return f"{address} is not the NIC's, or the host reaches it on another way ({known}); nothing was sent"
    return ""


def _neighbours(result: Mapping[str, Any]) -> str:
    known = json.loads(result.get("stdout") or "[]")
    told = [f"{each.get('lladdr', 'nobody')} on {each.get('dev', 'no device')}" for each in known]
    return "it finds " + (" and ".join(told) or "no neighbour of that address")


def _gone(ended: Mapping[str, Any]) -> str:
    """Return what the guest agent said of the iperf3 that it had started, once it was told to end it."""
    ends = [_returned(each) for each in ended.get("results", [])]
    if len(ends) != 2 or not all(each.get("exited") for each in ends):
        return ""
    server, kill = ends
    if kill.get("exitcode") == 0:
        return ", though iperf3 was running in the guest; does a firewall let it be reached?"
    output = base64.b64decode(server.get("err-data", "")).decode(errors="replace").strip().splitlines()
    return f"; in the guest, {output[0]}" if output else ""


def _returned(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer of the guest agent; an empty one where it gave none."""
    try:
        returned = json.loads(result.get("stdout") or "")["return"]
    except (ValueError, KeyError, TypeError):
        return {}
    return returned if isinstance(returned, dict) else {}


def _last(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the last line of the first result that failed."""
    texts = (str(each.get("stderr") or each.get("msg") or "") for each in results if each.get("rc") != 0)
    lines = next(filter(None, texts), "no error was told").strip().splitlines()
    return lines[-1].removeprefix("error: ")


def _verdict(stream: Mapping[str, Any], result: Mapping[str, Any], tolerance: float, low: float) -> dict[str, Any]:
    """Return what a stream says of its limit, with tolerances in per cent of it."""
    if result.get("rc") in TIMED_OUT:
        return {"note": f"iperf3 did not end within {stream['seconds']} s"}
    try:
        answer = json.loads(result.get("stdout") or "")
        received = answer["end"]["sum_received"]
        measured, seconds = float(received["bits_per_second"]), float(received["seconds"])
    except (ValueError, KeyError, TypeError):
        return {"note": f"iperf3 said: {_complaint(result)}"}
    limit = stream["limit"]
    line = {"measured": measured, "ratio": round(measured / limit, 3), "note": ""}
    allowed = limit * (1 + tolerance / 100) + _left(stream, answer) / seconds
    if measured > allowed:
        return {**line, "verdict": "above"}
    if measured < limit * low / 100:
        return {**line, "verdict": "below", "note": "the sender may be the limit, or the burst too small for TCP"}
    return {**line, "verdict": "as declared"}


def _left(stream: Mapping[str, Any], answer: Mapping[str, Any]) -> float:
    """Return how many bits the bucket still held when counting began, as far as the host received what came before."""
    # The other way round it only knows what it has put into its own buffers.
    if stream["direction"] != "outbound":
        return 0
    before = [each["sum"] for each in answer.get("intervals", []) if each["sum"].get("omitted")]
    spent = sum(8.0 * each["bytes"] - stream["limit"] * each["seconds"] for each in before)
    return max(0.0, float(8 * stream["burst"] - max(0.0, spent)))


def _complaint(result: Mapping[str, Any]) -> str:
    try:
        return str(json.loads(result.get("stdout") or "")["error"])
    except (ValueError, KeyError, TypeError):
        return _last([{**result, "rc": 1}])


def _table(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [COLUMNS, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]


def _cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    measured = "" if line["measured"] is None else f"{line['measured'] / 1e6:.3g} Mbit/s"
    ratio = f"{line['ratio']:.2f}" if line.get("ratio") is not None else ""
    verdict = f"{line['verdict']}: {line['note']}" if line.get("note") else line["verdict"]
    guest = f"{line['domain']} {line['mac']}".strip()
    return (line["host"], guest, line["direction"], line["declared"], line["enforced"], measured, ratio, verdict)
