# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What is to be measured of guests' NICs, with which streams of iperf3, and how little traffic that takes.

A stream never sends faster than `PACE` times the limit that it is to show, so that even where nothing is enforced the
traffic is bounded. It begins by spending what the bucket of the limit holds, which passes without being limited.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import CLEAR, DIRECTIONS, FIELDS
from ansible_collections.virtnet.qos.plugins.module_utils._nic_match import Match, parse_match
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, SIZE, Scale

BITS = Scale(1, 1, 10**15, "a rate is a whole number of bit/s")
BYTES = Scale(1, 1, 2**50, "a size is a whole number of bytes, 1 PiB at most")

PACE = 2  # times the limit: enough to empty the bucket in about the time it takes to fill it
SPENT_WITHIN = 30  # seconds; iperf3 leaves out 60 at most
LEAST = 2  # seconds; less than that says nothing
AROUND = 15  # seconds that a stream may take to connect and to exchange results
SMALL_BLOCKS_BELOW = 100_000_000  # bit/s: one block of 128 KiB is much of what passes in a second
ENTRY_KEYS = ("domain", "mac", "address", "port")
PORT = 5201  # iperf3's own


@dataclass(frozen=True)
class Bounds:
    """How much may be sent: seconds that count, and bytes in all, of each stream."""

    seconds: int
    size: int


@dataclass(frozen=True)
class Entry:
    """One element of the option that names guests."""

    match: Match
    address: str | None
    port: int
    path: str

    def fits(self, interface: Mapping[str, Any]) -> bool:
        """Whether it names this NIC."""
        mac = self.match.of_nic.get("mac")
        return self.match.concerns(interface["domain"]) and (mac is None or mac.fit(interface["mac"]))


@dataclass(frozen=True)
class Stream:
    """A stream of iperf3, and what it is to show. Rates are in bit/s, sizes in bytes."""

    direction: str
    limit: int
    burst: int
    most: int  # that it sends
    seconds: int  # that it may take at all
    options: list[str]


def plan(
    interfaces: Sequence[Mapping[str, Any]],
    guests: Any,
    seconds: Any,
    size: Any,
    shares: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the NICs to measure with their streams, what is not measured and why, and what is wrong with options."""
    problems = Problems()
    entries = _entries(guests, problems, "qos_measure_guests")
    bounds = _bounds(seconds, size, problems)
    for name, share in (shares or {}).items():
        if not re.fullmatch(r"[0-9]+([.][0-9]+)?", str(share)):
            problems.add(name, share, "this is per cent of a limit", "write a number from 0, without a sign")
    if problems.found:
        return {"nics": [], "rows": [], "problems": problems.found}
    nics: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    fitting: dict[str, int] = {entry.path: 0 for entry in entries}
    for interface in interfaces:
        entry = next((entry for entry in entries if entry.fits(interface)), None)
        if entry is None:
            continue
        fitting[entry.path] += 1
        streams = []
        for direction, stream in _streams(interface, bounds):
            if isinstance(stream, Stream):
                streams.append({**asdict(stream), **_texts(interface, direction)})
            else:
                rows.append(row(interface, direction, *stream))
        if streams:
            nics.append(
                {
                    "domain": interface["domain"],
                    "mac": interface["mac"],
                    "address": entry.address,
                    "port": entry.port,
                    "through": _through(interface),
                    "streams": streams,
                    # That a server in the guest may take: all of them, and as long again to be asked.
                    "seconds": 2 * sum(stream["seconds"] for stream in streams),
                }
            )
    for entry in entries:
        if entry.address and fitting[entry.path] > 1:
            rule = f"{fitting[entry.path]} NICs fit, and an address is of one"
            problems.add(f"{entry.path}.address", entry.address, rule, "name one with domain and mac")
        if not fitting[entry.path]:
            rows.append(row({"domain": entry.path, "mac": ""}, "", "not measured", "no NIC of this host fits it"))
    return {"nics": [] if problems.found else nics, "rows": rows, "problems": problems.found}


def row(
    interface: Mapping[str, Any], direction: str, verdict: str, note: str = "", measured: float | None = None
) -> dict[str, Any]:
    """Return a line of the report."""
    return {
        "domain": interface["domain"],
        "mac": interface["mac"],
        "direction": direction,
        **_texts(interface, direction),
        "measured": measured,
        "verdict": verdict,
        "note": note,
    }


def text_of(limit: Mapping[str, Any] | None) -> str:
    """Return a limit as a person would say it."""
    if limit is None or limit.get("average") is None:
        return "unknown"
    if limit["average"] == CLEAR:
        return CLEAR
    return ", ".join(f"{name} {limit[name]}" for name in FIELDS if name in limit)


def _texts(interface: Mapping[str, Any], direction: str) -> dict[str, str]:
    """Return what is declared of a direction, and what is enforced."""
    if interface.get("live") is None or not direction:
        return {"declared": "", "enforced": ""}
    enforced = (interface.get("enforced") or {}).get(direction)
    return {"declared": text_of(interface["live"]["effective"][direction]), "enforced": text_of(enforced)}


def _entries(guests: Any, problems: Problems, path: str) -> list[Entry]:
    if not isinstance(guests, (list, tuple)):
        problems.add(path, guests, "this is not a list", "write a list, be it of one guest")
        return []
    return [_entry(guest, problems, f"{path}[{index}]") for index, guest in enumerate(guests)]


def _entry(guest: Any, problems: Problems, path: str) -> Entry:
    given = guest if isinstance(guest, Mapping) else {}
    if given is not guest or given.get("domain") is None:
        problems.add(path, guest, "it names no guest", "write {domain: NAME}, or {domain: '*'} for all of a host")
    for key in given:
        if key not in ENTRY_KEYS:
            problems.add(f"{path}.{key}", None, f"there are {', '.join(ENTRY_KEYS)}", "correct the name, or drop it")
    globs = {
        key: [str(each) for each in (given[key] if isinstance(given[key], (list, tuple)) else [given[key]])]
        for key in ENTRY_KEYS[:2]
        if given.get(key) is not None
    }
    match = parse_match(globs, problems, path) if globs else Match({}, {})
    port = str(PORT if given.get("port") is None else given["port"])
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        problems.add(
            f"{path}.port", given["port"], "this is no port", f"write one from 1 to 65535, or drop it ({PORT})"
        )
        port = str(PORT)
    return Entry(match, str(given["address"]) if given.get("address") else None, int(port), path)


def _bounds(seconds: Any, size: Any, problems: Problems) -> Bounds:
    text = str(seconds)
    if not re.fullmatch(r"[0-9]{1,4}", text) or not LEAST <= int(text) <= 3600:
        problems.add("qos_measure_seconds", seconds, f"it is a whole number from {LEAST} to 3600", "write one")
        text = "6"
    return Bounds(int(text), problems.quantity("qos_measure_size", str(size), SIZE, BYTES) or 1)


def _through(interface: Mapping[str, Any]) -> str:
    """Return a pattern for the devices through which the host reaches the NIC itself, without leaving the host."""
    bridge, target = (re.escape(interface[key] or "") for key in ("bridge", "target"))
    # A host has its own address on a VLAN of a bridge now and then.
    return f"({bridge}(\\.[0-9]+)?|{target})$" if bridge else f"({target})$"


def _streams(interface: Mapping[str, Any], bounds: Bounds) -> Iterator[tuple[str, Stream | tuple[str, str]]]:
    """Yield for each direction its stream, or a verdict and a note that say why there is none."""
    live = interface["live"]
    if live is None:
        note = "the running guest has no such NIC" if interface["running"] else "the guest is shut off"
        yield "", ("not measured", note)
        return
    for direction in DIRECTIONS:
        declared = live["effective"][direction]
        if declared["average"] == CLEAR:
            yield direction, ("not limited", "nothing was sent")
        else:
            yield direction, _stream(direction, declared, (interface["enforced"] or {}).get(direction) or {}, bounds)


def _stream(
    direction: str, declared: Mapping[str, str], enforced: Mapping[str, Any], bounds: Bounds
) -> Stream | tuple[str, str]:
    limit = RATE.parse(declared["average"], BITS)
    pace = PACE * limit
    # libvirt polices what a guest sends, where a peak means nothing. What it receives passes at the peak, if there is
    # one, until the burst is spent.
    peak = RATE.parse(declared["peak"], BITS) if "peak" in declared else limit
    fastest = min(pace, peak) if direction == "inbound" else pace
    held = enforced.get("burst") or declared.get("burst")
    burst = SIZE.parse(held, BYTES) if held and fastest > limit else 0
    omitted = 1 + math.ceil(8 * burst / (fastest - limit)) if burst else 1
    if omitted > SPENT_WITHIN:
        note = f"its burst of {held} lasts {omitted - 1} s, and is given {SPENT_WITHIN - 1} s to be spent"
        return "not measured", note
    counted = min(bounds.seconds, int(8 * bounds.size / pace) - omitted)
    if counted < LEAST:
        needed = pace * (omitted + LEAST) / 8e6
        return "not measured", f"it takes up to {needed:.0f} MB, more than qos_measure_size allows"
    options = ["-t", str(counted), "-O", str(omitted), "-b", str(pace)]
    options += ["-l", "8K"] if limit < SMALL_BLOCKS_BELOW else []
    options += ["-R"] if direction == "outbound" else []
    seconds = omitted + counted + AROUND
    return Stream(direction, limit, burst, pace * (omitted + counted) // 8, seconds, options)
