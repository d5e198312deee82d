# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What limits a device, from the kernel's messages about it: the HTB class that it sends by, and its policer.

That is what libvirt has tc(8) make (src/util/virnetdevbandwidth.c), on the tap or macvtap of a NIC, and on the bridge
of a network. Sources of the messages: linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_police.h, and the _dump() of
net/sched/sch_htb.c, cls_u32.c, cls_matchall.c and act_police.c.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Optional, Union

from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    INGRESS,
    KIND,
    OPTIONS,
    ROOT,
    Message,
    attributes,
    text,
)

HTB_PARAMETERS, HTB_GLOBAL, HTB_RATE64, HTB_CEIL64 = 1, 2, 6, 7
U32_CLASSID, U32_SELECTOR, U32_POLICE, U32_ACTIONS = 1, 5, 6, 7
MATCHALL_ACTIONS = 2
ACTION_KIND, ACTION_OPTIONS = 1, 2
POLICE_PARAMETERS, POLICE_RATE64 = 1, 8
DROP = 2  # TC_ACT_SHOT
ALL_FRAMES = socket.htons(0x0003)  # ETH_P_ALL, as in tcm_info

_RATE = "BBHhHI"  # struct tc_ratespec
_HTB = struct.Struct(f"={_RATE}{_RATE}IIIII")  # struct tc_htb_opt: rate, ceil, buffer, cbuffer, quantum, level, prio
_HTB_GLOBAL = struct.Struct("=III")  # struct tc_htb_glob: version, rate2quantum, defcls
_POLICE = struct.Struct(f"=IiIII{_RATE}")  # struct tc_police: index, action, limit, burst, mtu, rate
_SELECTOR = struct.Struct("=BBBxHHhhI")  # struct tc_u32_sel
_KEY = struct.Struct("!II")  # struct tc_u32_key: mask and value, then offset and its mask in the machine's order

# The kernel is told, and tells, bursts as the time that they take at their rate, in ticks of 64 ns (PSCHED_SHIFT).
TICKS = 15_625_000  # a second
# Qdiscs that hold packets back only while the device is busy; others may be limits.
QUEUES = ("codel", "fq", "fq_codel", "mq", "noqueue", "pfifo", "bfifo", "pfifo_fast", "prio", "sfq")


@dataclass(frozen=True)
class Shape:
    """A limit: rates in bytes/s, burst in bytes. A policer has no ceil of its own."""

    rate: int
    ceil: int
    burst: int

    @property
    def tolerance(self) -> int:
        """By how many bytes the burst may differ from the one that tc(8) was told.

        tc rounds its time to whole microseconds, and to ticks; before iproute2 6.14 both (tc_calc_xmittime() in
        tc/tc_core.c). Rates are told in whole bytes/s, and need none.
        """
        return self.rate // 1_000_000 + 2 * self.rate // TICKS + 1


@dataclass(frozen=True)
class Other:
    """Something that may limit or not, and is not libvirt's."""

    what: str


# None where nothing limits.
Enforced = Optional[Union[Shape, Other]]


@dataclass(frozen=True)
class Limits:
    """What the kernel does with what a device sends, and with what it receives."""

    sent: Enforced = None
    received: Enforced = None
    # On the bridge of a network: the rates, in bytes/s, that are guaranteed to guests, by the MAC of the NIC.
    guaranteed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Roots:
    """The qdiscs of a device that there is more to ask about: its root, and whether it has one for what it receives."""

    root: Message | None = None
    ingress: bool = False

    @property
    def htb(self) -> int:
        """The handle of the root qdisc, where that is an HTB; 0 otherwise."""
        return self.root.handle if self.root and _kind(self.root) == "htb" else 0


def roots_by_device(qdiscs: Iterable[Message]) -> dict[int, Roots]:
    """Return what there is more to ask about, by the device's index. The kernel's own qdiscs have no handle."""
    roots = {each.device: each for each in qdiscs if each.parent == ROOT and each.handle}
    # clsact has the parent of an ingress, and its filters at the same place
    received = {each.device for each in qdiscs if each.parent == INGRESS}
    return {index: Roots(roots.get(index), index in received) for index in {*roots, *received}}


def limits_of(there: Roots, classes: Iterable[Message], sent: Iterable[Message], received: Iterable[Message]) -> Limits:
    """Return what limits a device; the filters are those of its root qdisc, and those of what it receives."""
    root = there.root
    if root is None or not there.htb:
        other = Other(f"qdisc {_kind(root)} {root.handle >> 16:x}:") if root and _kind(root) not in QUEUES else None
        return Limits(other, _policer(received))
    by_handle = {each.handle: each for each in classes}
    rates = {handle: shape for handle, shape in ((each.handle, _shape(each)) for each in by_handle.values()) if shape}
    guaranteed = {mac: rates[classid].rate for mac, classid in _by_mac(sent) if classid in rates}
    return Limits(_default(root, by_handle, rates), _policer(received), guaranteed)


def _default(root: Message, classes: Mapping[int, Message], rates: Mapping[int, Shape]) -> Shape | None:
    """Return what holds for packets that no filter claims: those go to the default class, if there is one.

    On a bridge that class shares what the one above it has with those of floors, so the rates are of the one above.
    """
    options = attributes(attributes(root.data).get(OPTIONS)).get(HTB_GLOBAL, b"")
    _version, _quantum, default = _HTB_GLOBAL.unpack(options[: _HTB_GLOBAL.size].ljust(_HTB_GLOBAL.size, b"\0"))
    handle = root.handle | default
    if handle not in rates:
        return None
    top = handle
    for _level in range(8):  # TC_HTB_MAXDEPTH
        if classes[top].parent not in rates:
            break
        top = classes[top].parent
    return Shape(rates[top].rate, rates[top].ceil, rates[handle].burst)


def _shape(message: Message) -> Shape | None:
    options = attributes(attributes(message.data).get(OPTIONS))
    said = options.get(HTB_PARAMETERS, b"")
    if len(said) < _HTB.size:
        return None
    numbers = _HTB.unpack_from(said)
    rate, ceil = _rate(numbers[5], options.get(HTB_RATE64)), _rate(numbers[11], options.get(HTB_CEIL64))
    return Shape(rate, ceil, _bytes(rate, numbers[12]))


def _rate(narrow: int, wide: bytes | None) -> int:
    """Return a rate in bytes/s: where it does not fit into 32 bits, the kernel tells it in 64 as well."""
    return int.from_bytes(wide, sys.byteorder) if wide else narrow


def _bytes(rate: int, ticks: int) -> int:
    return round(rate * ticks / TICKS)


def _policer(filters: Iterable[Message]) -> Enforced:
    """Return the first policer that every packet comes to; of two, the later one is never asked."""
    for each in filters:
        said = attributes(each.data)
        kind, options = text(said.get(KIND)), attributes(said.get(OPTIONS))
        if kind == "u32" and U32_SELECTOR in options:
            all_fit = all(mask == 0 for mask, _value, _offset in _keys(options[U32_SELECTOR]))
            policers = [options[U32_POLICE]] if U32_POLICE in options else list(_actions(options.get(U32_ACTIONS)))
        elif kind == "matchall":
            all_fit, policers = True, list(_actions(options.get(MATCHALL_ACTIONS)))
        else:
            continue  # a table of u32, or what is for some packets only
        for policer in policers if all_fit and each.info & 0xFFFF == ALL_FRAMES else ():
            shape = _policed(attributes(policer))
            if shape:
                return shape
    return None


def _actions(actions: bytes | None) -> Iterator[bytes]:
    for action in attributes(actions).values():
        said = attributes(action)
        if text(said.get(ACTION_KIND)) == "police":
            yield said.get(ACTION_OPTIONS, b"")


def _policed(options: Mapping[int, bytes]) -> Shape | None:
    said = options.get(POLICE_PARAMETERS, b"")
    if len(said) < _POLICE.size:
        return None
    numbers = _POLICE.unpack_from(said)
    action, burst, rate = numbers[1], numbers[3], _rate(numbers[10], options.get(POLICE_RATE64))
    return Shape(rate, rate, _bytes(rate, burst)) if rate and action == DROP else None


def _keys(selector: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield mask, value and offset of each key."""
    number = selector[2] if len(selector) >= _SELECTOR.size else 0
    for start in range(_SELECTOR.size, min(len(selector) - 15, _SELECTOR.size + 16 * number), 16):
        mask, value = _KEY.unpack_from(selector, start)
        yield mask, value, struct.unpack_from("=i", selector, start + _KEY.size)[0]


def _by_mac(filters: Iterable[Message]) -> Iterator[tuple[str, int]]:
    """Yield the MACs that have a class of their own on a bridge, and its id.

    libvirt's filter (virNetDevBandwidthManipulateFilter) looks at what is before the IP header: the destination is the
    lower half of the word at -16, and that at -12.
    """
    for each in filters:
        options = attributes(attributes(each.data).get(OPTIONS))
        if text(attributes(each.data).get(KIND)) != "u32" or U32_CLASSID not in options:
            continue
        words = {(offset, mask): value for mask, value, offset in _keys(options.get(U32_SELECTOR, b""))}
        if (-16, 0xFFFF) in words and (-12, 0xFFFFFFFF) in words:
            mac = struct.pack("!HI", words[-16, 0xFFFF], words[-12, 0xFFFFFFFF])
            yield mac.hex(":"), int.from_bytes(options[U32_CLASSID], sys.byteorder)


def _kind(message: Message) -> str:
    return text(attributes(message.data).get(KIND))
