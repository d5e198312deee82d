# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The options of a class's qdisc, as the kernel is told of them and tells them.

Sources: linux/pkt_sched.h, and the _change() and _dump() of net/sched/sch_fq_codel.c, sch_sfq.c and sch_fifo.c.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import TIMED, Leaf
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import defaults, reported_time
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import attributes, nested

# TCA_FQ_CODEL_...: 32 bits each
FQ_CODEL = {
    "target": 1,
    "limit": 2,
    "interval": 3,
    "ecn": 4,
    "flows": 5,
    "quantum": 6,
    "ce_threshold": 7,
    "drop_batch": 8,
    "memory_limit": 9,
}
_SFQ = struct.Struct("=IiIII")  # struct tc_sfq_qopt: quantum, perturb, limit, divisor, flows
LONGER_HEADERS = 64  # bytes, more than `Link` has


def encode(before: Leaf | None, after: Leaf, packet: int, queue: int) -> bytes | None:
    """Return the options that make a new leaf, or of one the other; None where there is nothing to say.

    ``packet`` and ``queue`` are the device's, see `Link`. What was there before and is not named any more gets the
    kernel's default again.
    """
    wanted = dict(after.options)
    if before:
        known = defaults(after.kind, packet, queue)
        old, new = {**known, **dict(before.options)}, {**known, **wanted}
        wanted = {name: value for name, value in new.items() if old.get(name) != value}
    if not wanted:
        return None
    if after.kind == "fq_codel":
        return nested((FQ_CODEL[name], value.to_bytes(4, sys.byteorder)) for name, value in wanted.items())
    if after.kind == "sfq":  # cannot be changed (sfq_qdisc_ops), so all is as the kernel has it where nothing is said
        return _SFQ.pack(wanted.get("quantum", 0), wanted.get("perturb", 0), wanted.get("limit", 0), 0, 0)
    return struct.pack("=I", wanted["limit"])  # pfifo: struct tc_fifo_qopt


def decode(kind: str, data: bytes, packet: int, queue: int) -> tuple[tuple[str, int], ...]:
    """Return the options of a leaf that are not the kernel's defaults; those of another kind are not known."""
    known = defaults(kind, packet, queue)
    return tuple(sorted((name, value) for name, value in _told(kind, data).items() if known.get(name) != value))


def packet_of(leaves: Iterable[Leaf], packet: int) -> int:
    """Return the device's psched_mtu(), as leaves tell that were read with ``packet`` for it.

    The kernel tells nobody how long the header of a device is: 18 bytes on a bond over VLAN devices, 24 on IPoIB. But
    it is in the quantum of leaves that were given none. So where no leaf has the one that was expected, and those that
    could be it agree, it is theirs.
    """
    likely = set()
    for leaf in leaves:
        if leaf.kind in ("fq_codel", "sfq"):
            quantum = dict(leaf.options).get("quantum", packet)
            if quantum == packet:
                return packet
            if packet < quantum <= packet + LONGER_HEADERS:
                likely.add(quantum)
    return likely.pop() if len(likely) == 1 else packet


def _told(kind: str, data: bytes) -> dict[str, int]:
    if kind == "fq_codel":
        found = attributes(data)
        told = {
            name: int.from_bytes(found[number], sys.byteorder) for name, number in FQ_CODEL.items() if number in found
        }
        return {name: reported_time(value) if name in TIMED else value for name, value in told.items()}
    if kind == "sfq" and len(data) >= _SFQ.size:
        quantum, perturb, limit, _divisor, _flows = _SFQ.unpack_from(data)
        return {"limit": limit, "perturb": perturb, "quantum": quantum}
    return {"limit": int.from_bytes(data[:4], sys.byteorder)} if kind == "pfifo" and len(data) >= 4 else {}
