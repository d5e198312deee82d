# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What the kernel counts for a class and its qdisc."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import STATS, STATS2, Message, attributes

# linux/gen_stats.h
BASIC, QUEUE, APPLICATION, PACKETS = 1, 3, 4, 8
_BASIC = struct.Struct("=QI")  # struct gnet_stats_basic
_QUEUE = struct.Struct("=IIIII")  # struct gnet_stats_queue: packets, bytes, drops, requeues, overlimits
_OLD = struct.Struct("=QIIIIIII")  # struct tc_stats: bytes, packets, drops, overlimits, bps, pps, packets, bytes
_HFSC = struct.Struct("=QQII")  # struct tc_hfsc_stats


@dataclass(frozen=True)
class Counters:
    """Counted since the class was made. ``queue`` packets of ``backlog`` bytes wait now.

    A class with children sends nothing itself: only ``work`` counts what went through it, in bytes, of which
    ``realtime`` by its own guarantee. ``period`` is how often it began to be busy, ``level`` how many generations of
    classes are below it.
    """

    bytes: int = 0
    packets: int = 0
    drops: int = 0
    overlimits: int = 0
    queue: int = 0
    backlog: int = 0
    work: int = 0
    realtime: int = 0
    period: int = 0
    level: int = 0


def counters_of(message: Message) -> Counters:
    """Return what a message about a class or a qdisc says that was counted; 0 where it says nothing."""
    said = attributes(message.data)
    found = attributes(said.get(STATS2))
    old = _OLD.unpack(_sized(said.get(STATS), _OLD))
    count, packets, drops, overlimits, queue, backlog = *old[:4], *old[6:]
    if BASIC in found:
        count, packets = _BASIC.unpack(_sized(found[BASIC], _BASIC))
        packets = int.from_bytes(found[PACKETS], sys.byteorder) if PACKETS in found else packets
    if QUEUE in found:
        queue, backlog, drops, _requeues, overlimits = _QUEUE.unpack(_sized(found[QUEUE], _QUEUE))
    work, realtime, period, level = _HFSC.unpack(_sized(found.get(APPLICATION), _HFSC))
    return Counters(count, packets, drops, overlimits, queue, backlog, work, realtime, period, level)


def _sized(content: bytes | None, form: struct.Struct) -> bytes:
    return (content or b"")[: form.size].ljust(form.size, b"\0")
