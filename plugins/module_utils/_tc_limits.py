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

from ansible_collections.virtnet.qos.plugins.module_utils._htb import (
    U32_CLASSID,
    U32_POLICE,
    U32_SELECTOR,
    HtbClass,
    Police,
    class_of,
    default_of,
    kind_of,
    police_of,
    tolerance,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    INGRESS,
    KIND,
    OPTIONS,
    ROOT,
    Message,
    attributes,
    text,
)

U32_ACTIONS = 7
MATCHALL_ACTIONS = 2
ACTION_KIND, ACTION_OPTIONS = 1, 2
ALL_FRAMES = socket.htons(0x0003)  # ETH_P_ALL, as in tcm_info

_SELECTOR = struct.Struct("=BBBxHHhhI")  # struct tc_u32_sel
_KEY = struct.Struct("!II")  # struct tc_u32_key: mask and value, then offset and its mask in the machine's order

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
        """By how many bytes the burst may differ from the one that tc(8) was told."""
        return tolerance(self.rate)


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
        return self.root.handle if self.root and kind_of(self.root) == "htb" else 0


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
        other = Other(f"qdisc {kind_of(root)} {root.handle >> 16:x}:") if root and kind_of(root) not in QUEUES else None
        return Limits(other, _policer(received))
    by_handle = {each.handle: each for each in classes}
    rates = {handle: found for handle, each in by_handle.items() if (found := class_of(each))}
    guaranteed = {mac: rates[classid].rate for mac, classid in _by_mac(sent) if classid in rates}
    return Limits(_default(root, by_handle, rates), _policer(received), guaranteed)


def _default(root: Message, classes: Mapping[int, Message], rates: Mapping[int, HtbClass]) -> Shape | None:
    """Return what holds for packets that no filter claims: those go to the default class, if there is one.

    On a bridge that class shares what the one above it has with those of floors, so the rates are of the one above.
    """
    handle = root.handle | default_of(root)
    if handle not in rates:
        return None
    top = handle
    for _level in range(8):  # TC_HTB_MAXDEPTH
        if classes[top].parent not in rates:
            break
        top = classes[top].parent
    return Shape(rates[top].rate, rates[top].ceil, rates[handle].burst)


def _policer(filters: Iterable[Message]) -> Enforced:
    found = policer_of(filters)
    return Shape(found[1].rate, found[1].rate, found[1].burst) if found else None


def policer_of(filters: Iterable[Message]) -> tuple[Message, Police] | None:
    """Return the first filter that polices every packet, with its policer; of two, the later one is never asked."""
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
            police = police_of(attributes(policer))
            if police:
                return each, police
    return None


def has_rule(message: Message) -> bool:
    """Whether it is a filter that packets can fit. Beside those, the kernel tells of the tables that they are in."""
    said = attributes(message.data)
    return OPTIONS in said and (text(said.get(KIND)) != "u32" or U32_SELECTOR in attributes(said[OPTIONS]))


def _actions(actions: bytes | None) -> Iterator[bytes]:
    for action in attributes(actions).values():
        said = attributes(action)
        if text(said.get(ACTION_KIND)) == "police":
            yield said.get(ACTION_OPTIONS, b"")


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
