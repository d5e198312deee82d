# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The qdisc inside a class: its kinds, their options, the kernel's defaults for them, and what users write.

Sizes are bytes, times microseconds (``perturb``: seconds), limits packets. Ranges and defaults are those of
net/sched/sch_fq_codel.c, sch_sfq.c and sch_fifo.c.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import TIMED
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._units import SIZE, TIME, Quantity, Scale

Range = Union[range, tuple[Quantity, Scale], None]  # numbers, a quantity with a unit, or yes and no

COUNT = range(1, 2**32)  # a limit of 0 would drop everything
# CoDel keeps a time in steps of 1024 ns and compares two of them as signed 32 bits (include/net/codel.h).
LATENCY = (TIME, Scale(1, 2, 2**31, "CoDel's clock tells times from 2us to 2147.483648s apart"))
THRESHOLD = (TIME, Scale(1, 0, 2**31, LATENCY[1].rule))  # 0 marks every packet

RANGES: Mapping[str, Mapping[str, Range]] = {
    "fq_codel": {
        "limit": COUNT,
        "flows": range(1, 65536 + 1),
        "target": LATENCY,
        "interval": LATENCY,
        # Fewer become 256, more are refused (FQ_CODEL_QUANTUM_MAX).
        "quantum": (SIZE, Scale(1, 256, 1 << 20, "fq_codel takes a quantum from 256B to 1MiB")),
        "memory_limit": (SIZE, Scale(1, 1, 1 << 31, "fq_codel takes a memory_limit from 1B to 2GiB")),
        "drop_batch": COUNT,
        "ecn": None,
        "ce_threshold": THRESHOLD,
    },
    "sfq": {
        "limit": range(2, 127 * 128 + 1),  # SFQ_MAX_DEPTH packets in each of SFQ_DEFAULT_FLOWS; 1 is refused
        # Before Linux 6.13 it was kept in steps of 8 bytes as signed 16 bits, and larger ones hung the kernel.
        "quantum": (SIZE, Scale(1, 1, 0x7FFF << 3, "sfq takes a quantum from 1B to 262136B")),
        # INT_MAX / HZ, where a kernel has 1000 ticks a second
        "perturb": (TIME, Scale(10**6, 0, (2**31 - 1) // 1000, "sfq takes perturb as whole seconds to 2147483s")),
    },
    "pfifo": {"limit": COUNT},
    "none": {},
}
DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "fq_codel": {
        "limit": 10 * 1024,
        "flows": 1024,
        "target": 5_000,
        "interval": 100_000,
        "memory_limit": 32 << 20,
        "drop_batch": 64,
        "ecn": 1,
    },
    "sfq": {"limit": 127, "perturb": 0},
    "pfifo": {},
}


@dataclass(frozen=True)
class LeafWish:
    """A qdisc as a user writes it: its kind and the options that were named, sorted, in their base units."""

    kind: str
    options: tuple[tuple[str, int], ...] = ()


def defaults(kind: str, packet: int, queue: int) -> dict[str, int]:
    """Return what the kernel gives a new qdisc of this kind, on a device of this psched_mtu() and txqueuelen."""
    known = dict(DEFAULTS.get(kind, {}))
    if kind in ("fq_codel", "sfq"):
        known["quantum"] = packet
    if kind == "pfifo":
        known["limit"] = queue or 1000  # qdisc_create() mends a device that has no queue (DEFAULT_TX_QUEUE_LEN)
    return known


def less_defaults(wish: LeafWish, packet: int, queue: int) -> tuple[tuple[str, int], ...]:
    """Return the options that are not the kernel's defaults, with times as the kernel keeps them."""
    known = defaults(wish.kind, packet, queue)
    kept = ((name, kept_time(value) if name in TIMED else value) for name, value in wish.options)
    return tuple((name, value) for name, value in kept if known.get(name) != value)


def kept_time(time: int) -> int:
    """Return the fewest microseconds that the kernel keeps as it keeps ``time``: 43 and 42 are the same to it."""
    return _microseconds(time * 1000 // 1024)


def reported_time(time: int) -> int:
    """Return the fewest microseconds that the kernel, which rounds down twice, reports as ``time``: 5000 for 4999."""
    return _microseconds(-(-time * 1000 // 1024))


def _microseconds(steps: int) -> int:
    return -(-steps * 1024 // 1000)


def leaf_option(kind: str, options: tuple[tuple[str, int], ...]) -> str | dict[str, Any]:
    """Return a qdisc as a user writes it; one that no user can write as its kind."""
    if not options:
        return kind
    return {"kind": kind, **{name: _written(RANGES[kind][name], value) for name, value in options}}


def _written(allowed: Range, value: int) -> Any:
    if isinstance(allowed, tuple):
        return allowed[0].format(value, allowed[1])
    return value if allowed else bool(value)


def parse_leaf(value: Any, path: str, problems: Problems) -> LeafWish | None:
    """Return the qdisc that a class's ``leaf`` describes; None for the kernel's own, or where it was refused."""
    options = value if isinstance(value, dict) else {"kind": value}
    kind = options.get("kind")
    if not isinstance(kind, str) or kind not in RANGES:
        where = f"{path}.kind" if isinstance(value, dict) else path
        problems.add(where, kind, "not a qdisc that can be inside a class", f"use one of {', '.join(RANGES)}")
        return None
    named = {name: each for name, each in options.items() if name != "kind" and each is not None}
    parsed = {}
    for name, each in named.items():
        if name not in RANGES[kind]:
            known = f"use one of {', '.join(RANGES[kind])}" if RANGES[kind] else "leave it out"
            problems.add(f"{path}.{name}", each, f"{kind} has no such option", known)
            continue
        number = _option(RANGES[kind][name], each, f"{path}.{name}", problems)
        if number is not None:
            parsed[name] = number
    return None if kind == "none" else LeafWish(kind, tuple(sorted(parsed.items())))


def _option(allowed: Range, value: Any, path: str, problems: Problems) -> int | None:
    if isinstance(allowed, tuple):
        return problems.quantity(path, str(value), *allowed)
    text = str(value).lower()
    if allowed is None:
        if text in ("true", "yes", "on", "false", "no", "off"):
            return int(text in ("true", "yes", "on"))
        problems.add(path, value, "neither true nor false", "write true or false")
        return None
    number = int(text) if re.fullmatch("[0-9]{1,10}", text, re.ASCII) else -1
    if number not in allowed:
        rule = f"not a whole number from {allowed[0]} to {allowed[-1]}"
        problems.add(path, value, rule, "write one of those, or leave it out for the kernel's default")
        return None
    return number
