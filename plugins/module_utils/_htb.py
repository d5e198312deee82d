# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""HTB classes and policers in the kernel's messages, both ways.

Sources: linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_police.h, and net/sched/sch_htb.c, cls_u32.c, act_police.c.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    KIND,
    OPTIONS,
    ROOT,
    Message,
    attributes,
    nested,
    text,
)

HTB_PARAMETERS, HTB_GLOBAL, HTB_RATE64, HTB_CEIL64 = 1, 2, 6, 7
U32_CLASSID, U32_SELECTOR, U32_POLICE = 1, 5, 6
POLICE_PARAMETERS, POLICE_TABLE, POLICE_RATE64 = 1, 2, 8
DROP = 2  # TC_ACT_SHOT
ETHERNET = 1  # TC_LINKLAYER_ETHERNET: the kernel then needs no table for an HTB class
# The kernel is told, and tells, bursts as the time that they take at their rate, in ticks of 64 ns (PSCHED_SHIFT).
TICKS = 15_625_000  # a second
NARROW = 2**32 - 1  # what is more, is in an attribute of its own
FRAME = 1600  # bytes, tc's own burst where none is given and time is exact (tc/q_htb.c)
SEGMENT = 64 * 1024  # bytes, the largest packet that a policer of libvirt's lets pass

_RATE = "BBHhHI"  # struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate
_HTB = struct.Struct(f"={_RATE}{_RATE}IIIII")  # struct tc_htb_opt: rate, ceil, buffer, cbuffer, quantum, level, prio
_HTB_GLOBAL = struct.Struct("=IIIII")  # struct tc_htb_glob: version, rate2quantum, defcls, debug, direct_pkts
_POLICE = struct.Struct(f"=IiIII{_RATE}")  # struct tc_police: index, action, limit, burst, mtu, rate, and more
_POLICE_REST = 24  # peakrate, refcnt, bindcnt, capab
_TABLE_CELL = 9  # so that 256 cells hold a segment
# struct tc_u32_sel with one key that every packet fits
_EVERY_PACKET = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + bytes(16)


@dataclass(frozen=True)
class HtbClass:
    """A class: rates in bytes/s, bursts in bytes, and of what it may borrow its share in bytes a round.

    ``parent`` is the minor of the class above, 0 where that is the root qdisc.
    """

    parent: int
    rate: int
    ceil: int
    burst: int
    ceil_burst: int
    quantum: int


@dataclass(frozen=True)
class Police:
    """What drops what is more than a rate in bytes/s; it saves up ``burst`` bytes."""

    rate: int
    burst: int


def tolerance(rate: int) -> int:
    """By how many bytes a burst may differ from the one that tc(8) was told.

    tc rounds its time to whole microseconds, and to ticks; before iproute2 6.14 both (tc_calc_xmittime() in
    tc/tc_core.c). Rates are told in whole bytes/s, and need none.
    """
    return rate // 1_000_000 + 2 * rate // TICKS + 1


def longest_burst(rate: int) -> int:
    """Return the largest burst that the kernel can be told for a rate: what comes in 274 seconds."""
    return rate * NARROW // TICKS


def default_of(root: Message) -> int:
    """Return the minor of the class for packets that no filter claims."""
    options = attributes(attributes(root.data).get(OPTIONS)).get(HTB_GLOBAL, b"")
    default: int = _HTB_GLOBAL.unpack(options[: _HTB_GLOBAL.size].ljust(_HTB_GLOBAL.size, b"\0"))[2]
    return default


def root_options(default: int) -> bytes:
    """Return the options of a root qdisc with this default class."""
    return nested({HTB_GLOBAL: _HTB_GLOBAL.pack(3, 10, default, 0, 0)})


def class_of(message: Message) -> HtbClass | None:
    """Return the class that the kernel told of; None where it is not one of HTB's."""
    options = attributes(attributes(message.data).get(OPTIONS))
    said = options.get(HTB_PARAMETERS, b"")
    if len(said) < _HTB.size:
        return None
    numbers = _HTB.unpack_from(said)
    rate, ceil = _wide(numbers[5], options.get(HTB_RATE64)), _wide(numbers[11], options.get(HTB_CEIL64))
    parent = 0 if message.parent == ROOT else message.parent & 0xFFFF
    return HtbClass(parent, rate, ceil, _bytes(rate, numbers[12]), _bytes(ceil, numbers[13]), numbers[14])


def class_options(each: HtbClass) -> bytes:
    """Return the options that make a class, or change one in place: what waits in it stays."""
    rates = (*_ratespec(each.rate), *_ratespec(each.ceil))
    ticks = _ticks(each.rate, each.burst), _ticks(each.ceil, each.ceil_burst)
    options = {HTB_PARAMETERS: _HTB.pack(*rates, *ticks, each.quantum, 0, 0)}
    wide = {HTB_RATE64: each.rate, HTB_CEIL64: each.ceil}
    return nested(
        {**options, **{number: rate.to_bytes(8, sys.byteorder) for number, rate in wide.items() if rate > NARROW}}
    )


def police_of(options: dict[int, bytes]) -> Police | None:
    """Return what the attributes of a policer say; None where it does not limit, or lets pass what is more."""
    said = options.get(POLICE_PARAMETERS, b"")
    if len(said) < _POLICE.size:
        return None
    numbers = _POLICE.unpack_from(said)
    action, burst, rate = numbers[1], numbers[3], _wide(numbers[10], options.get(POLICE_RATE64))
    return Police(rate, _bytes(rate, burst)) if rate and action == DROP else None


def police_options(police: Police) -> bytes:
    """Return the options of a u32 filter that polices every packet, as libvirt's does."""
    numbers = (0, DROP, 0, _ticks(police.rate, police.burst), SEGMENT)
    parameters = _POLICE.pack(*numbers, *_ratespec(police.rate, _TABLE_CELL)) + bytes(_POLICE_REST)
    # The kernel insists on the table, and does not look into it (tcf_police_init()).
    table = struct.pack("=256I", *(min(_ticks(police.rate, cell + 1 << _TABLE_CELL), NARROW) for cell in range(256)))
    said = {POLICE_PARAMETERS: parameters, POLICE_TABLE: table}
    if police.rate > NARROW:
        said[POLICE_RATE64] = police.rate.to_bytes(8, sys.byteorder)
    return nested({U32_CLASSID: struct.pack("=I", 1), U32_SELECTOR: _EVERY_PACKET, U32_POLICE: nested(said)})


def kind_of(message: Message) -> str:
    """Return the kind of a qdisc, a class or a filter."""
    return text(attributes(message.data).get(KIND))


def _ratespec(rate: int, cell: int = 0) -> tuple[int, ...]:
    return cell, ETHERNET, 0, -1, 0, min(rate, NARROW)


def _wide(narrow: int, wide: bytes | None) -> int:
    return int.from_bytes(wide, sys.byteorder) if wide else narrow


def _bytes(rate: int, ticks: int) -> int:
    return round(rate * ticks / TICKS)


def _ticks(rate: int, size: int) -> int:
    return min(-(-size * TICKS // rate), NARROW)
