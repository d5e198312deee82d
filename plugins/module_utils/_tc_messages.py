# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Steps of a plan as tc messages for the kernel, and the kernel's messages as a tree. No socket here.

The messages are pyroute2's (0.7.2 and later). What is inside TCA_OPTIONS is encoded and decoded here, since pyroute2
has no flower, decodes some kinds wrongly, and must not stumble over what other people put on a device.
"""

from __future__ import annotations

import socket
import struct
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DRIFTED,
    LIFT_PREFERENCE,
    TAGGED,
    VLAN_PREFERENCE,
    Curve,
    Foreign,
    ForeignFilter,
    ForeignQdisc,
    HfscClass,
    Leaf,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step

PYROUTE2_ERROR: str | None = None
try:
    from pyroute2.netlink.rtnl.tcmsg import tcmsg
except ImportError:
    PYROUTE2_ERROR = traceback.format_exc()
    tcmsg = dict

# linux/rtnetlink.h and linux/netlink.h
NEWQDISC, DELQDISC, GETQDISC = 36, 37, 38
NEWTCLASS, DELTCLASS, GETTCLASS = 40, 41, 42
NEWTFILTER, DELTFILTER, GETTFILTER = 44, 45, 46
REQUEST, ACK, ECHO, EXCLUSIVE, DUMP, CREATE = 0x1, 0x4, 0x8, 0x200, 0x300, 0x400
ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1

CURVES = {"rt": 1, "ls": 2, "ul": 3}  # TCA_HFSC_RSC, _FSC, _USC: each a struct tc_service_curve
FLOWER_CLASSID, FLOWER_ETH_TYPE, FLOWER_FLAGS, FLOWER_VLAN_ID, FLOWER_HARDWARE_COUNT = 1, 8, 22, 23, 86
U32_HASH, U32_SELECTOR, U32_ACTIONS, U32_COUNTERS, U32_FLAGS, U32_PADDING = 2, 5, 7, 9, 11, 12
# What the kernel dumps of our own filters, and nothing that would make them match or do something else
OUR_FLOWER = {FLOWER_CLASSID, FLOWER_ETH_TYPE, FLOWER_FLAGS, FLOWER_VLAN_ID, FLOWER_HARDWARE_COUNT}
OUR_U32 = {U32_HASH, U32_SELECTOR, U32_ACTIONS, U32_COUNTERS, U32_FLAGS, U32_PADDING}
ACTION_KIND, ACTION_OPTIONS = 1, 2
VLAN_PARAMETERS, VLAN_PUSH_ID = 2, 3
PUSH, POP, PIPE, GO_ON = 2, 1, 3, -1  # TCA_VLAN_ACT_PUSH, _POP, TC_ACT_PIPE, TC_ACT_UNSPEC
STATISTICS_QUEUE = 3
# The kinds of filters whose attribute 1 is the class they point to
CLASSID_FIRST = frozenset({"basic", "flower", "fw", "matchall", "route", "u32"})


# struct tc_u32_sel (terminal, one key) and tc_u32_key; keys are 32 bits, so this one starts at -8
LIFT_SELECTOR = (
    struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + struct.pack("!II", 0xFFFF, TAGGED) + struct.pack("=ii", -8, 0)
)


class TcMessage(tcmsg):  # type: ignore[misc]
    """A tc message whose attributes, but for its kind, stay as they are."""

    nla_map = (
        ("TCA_UNSPEC", "none"),
        ("TCA_KIND", "asciiz"),
        *(
            (f"TCA_{name}", "cdata")
            for name in (
                *("OPTIONS", "STATS", "XSTATS", "RATE", "FCNT", "STATS2", "STAB", "PAD", "DUMP_INVISIBLE", "CHAIN"),
                *("HW_OFFLOAD", "INGRESS_BLOCK", "EGRESS_BLOCK", "DUMP_FLAGS", "EXT_WARN_MSG"),
            )
        ),
    )


def message(  # noqa: PLR0913
    number: int,
    flags: int,
    index: int,
    *,
    parent: int = 0,
    handle: int = 0,
    info: int = 0,
    kind: str | None = None,
    options: bytes | None = None,
) -> Any:
    """Return a tc message (struct tcmsg and its attributes) that wants to be numbered and encoded."""
    made = TcMessage()
    made["header"].update({"type": number, "flags": REQUEST | flags, "pid": 0})
    made.update({"index": index, "parent": parent, "handle": handle, "info": info})
    attributes = {"TCA_KIND": kind, "TCA_OPTIONS": options}
    made["attrs"] = [[name, value] for name, value in attributes.items() if value is not None]
    return made


def message_of(step: Step, index: int, major: int) -> Any:
    """Return the message that carries a step out on the device with this index."""
    flags = ACK
    if step.before is None:
        flags |= CREATE | EXCLUSIVE
    if step.part == "root":
        # Not replaced in one message: the handle may be in use in the very tree that goes (tc_modify_qdisc(), EINVAL).
        return message(DELQDISC, flags, index, parent=ROOT, handle=step.key << 16, kind=step.before.split()[0])
    made: Any = {
        "qdisc": _qdisc,
        "classes": _class,
        "leaves": _leaf,
        "lifts": _lifter,
        "filters": _vlan_filter,
    }[step.part](step, flags, index, major << 16)
    return made


def _qdisc(step: Step, flags: int, index: int, root: int) -> Any:
    if step.after is None:
        return message(DELQDISC, flags, index, parent=ROOT, handle=root)
    options = struct.pack("=H", step.after)  # struct tc_hfsc_qopt
    return message(NEWQDISC, flags, index, parent=ROOT, handle=root, kind="hfsc", options=options)


def _class(step: Step, flags: int, index: int, root: int) -> Any:
    if step.after is None:
        return message(DELTCLASS, flags, index, handle=root | step.key)
    curves = step.after.curves().items()
    options = b"".join(_attribute(CURVES[name], struct.pack("=III", each.m1, each.d, each.m2)) for name, each in curves)
    parent, handle = root | step.after.parent, root | step.key
    return message(NEWTCLASS, flags, index, parent=parent, handle=handle, kind="hfsc", options=options)


def _leaf(step: Step, flags: int, index: int, root: int) -> Any:
    leaf = step.after or step.before
    number = DELQDISC if step.after is None else NEWQDISC
    return message(number, flags, index, parent=root | step.key, handle=leaf.handle << 16, kind=leaf.kind)


def _vlan_filter(step: Step, flags: int, index: int, root: int) -> Any:
    """One hash lookup for all VLANs: flower keeps filters with the same mask, at the same preference, in one table.

    The handle is the VLAN's id, so that a filter is replaced in place (fl_change() puts the new one into the table
    before it takes the old one out). PCP is not part of the mask. The flow classifier could do with a single filter,
    but its vlan_get_tag() looks for the tag only where the device's NETIF_F_HW_VLAN_CTAG_TX says it is, and would
    miss the tags of virtio devices, of bridges and of packet sockets.
    """
    info = _filter_info(VLAN_PREFERENCE)
    if step.after is None:
        return message(DELTFILTER, flags, index, parent=root, handle=step.key, info=info, kind="flower")
    options = (
        _attribute(FLOWER_CLASSID, struct.pack("=I", root | step.after))
        + _attribute(FLOWER_ETH_TYPE, struct.pack("!H", TAGGED))
        + _attribute(FLOWER_VLAN_ID, struct.pack("=H", step.key))
    )
    return message(NEWTFILTER, flags, index, parent=root, handle=step.key, info=info, kind="flower", options=options)


def _lifter(step: Step, flags: int, index: int, root: int) -> Any:
    """The filter that moves a tag from inside a frame to the packet's metadata, where flower finds it.

    Packet sockets and macvtap guests send frames with the tag inside, and the kernel then puts the network header
    behind the tag (packet_parse_headers(), tap_get_user()), so that the flow dissector takes the first bytes of the
    IP header for a VLAN id: IPv4 frames of any VLAN would be VLAN 1280's. They are known by the EtherType 0x8100 six
    bytes before the network header. Pushing a tag and popping it again (act_vlan) moves the inner one out, PCP and
    all; for any other frame that would match, the two cancel out. Then the search goes on.
    """
    info = _filter_info(LIFT_PREFERENCE)
    if step.after is None:
        return message(DELTFILTER, flags, index, parent=root, info=info, kind="u32")
    actions = _vlan_action(1, PUSH, PIPE, _attribute(VLAN_PUSH_ID, struct.pack("=H", 1)))
    actions += _vlan_action(2, POP, GO_ON, b"")
    options = _attribute(U32_SELECTOR, LIFT_SELECTOR) + _attribute(U32_ACTIONS, actions)
    return message(NEWTFILTER, flags, index, parent=root, info=info, kind="u32", options=options)


def _vlan_action(order: int, action: int, verdict: int, more: bytes) -> bytes:
    parameters = struct.pack("=IIiiii", 0, 0, verdict, 0, 0, action)  # struct tc_vlan
    options = _attribute(VLAN_PARAMETERS, parameters) + more
    return _attribute(order, _attribute(ACTION_KIND, b"vlan\0") + _attribute(ACTION_OPTIONS, options))


def _filter_info(preference: int) -> int:
    return preference << 16 | socket.htons(TAGGED)


def _attribute(number: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), number) + content + bytes(-len(content) % 4)


def attributes(data: bytes | None) -> dict[int, bytes]:
    """Return netlink attributes by their numbers; what is cut off or malformed is left out."""
    found = {}
    offset = 0
    while data and offset + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, offset)
        if length < 4 or offset + length > len(data):
            break
        found[number & 0x3FFF] = data[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


def backlog(reply: Any) -> int:
    """Return how many packets wait in a class, from the kernel's message about it (struct gnet_stats_queue)."""
    queue = attributes(reply.get_attr("TCA_STATS2")).get(STATISTICS_QUEUE, bytes(4))
    length: int = struct.unpack_from("=I", queue)[0]
    return length


def tree_of(major: int, qdiscs: Iterable[Any], classes: Iterable[Any], filters: Iterable[Any]) -> Tree:
    """Return the tree of a device from the kernel's messages about that device. Never fails over what is not ours."""
    here = {each["parent"]: each for each in qdiscs if each["parent"] == ROOT or each["handle"]}
    root = here.pop(ROOT, None)
    ours = root is not None and root.get_attr("TCA_KIND") == "hfsc" and root["handle"] == major << 16
    occupied = None
    if root is not None and not ours and root["handle"]:  # the kernel's own qdiscs have no handle
        occupied = f"{root.get_attr('TCA_KIND')} {root['handle'] >> 16:x}:"
    qdiscs = [each for parent, each in here.items() if parent >> 16 != major]
    foreign_qdiscs = tuple(
        ForeignQdisc(
            f"qdisc {each.get_attr('TCA_KIND')} {each['handle'] >> 16:x}:", each["handle"] >> 16, each["parent"] >> 16
        )
        # All but ingress and clsact goes with the root that is replaced.
        for each in qdiscs
        if ours or each["parent"] == INGRESS
    )
    if not ours:
        return Tree(foreign=Foreign(root=occupied, qdiscs=foreign_qdiscs))
    default = struct.unpack("=H", (root.get_attr("TCA_OPTIONS") or b"")[:2].ljust(2, b"\0"))[0]
    nodes = {
        each["handle"] & 0xFFFF: _node(each)
        for each in classes
        if each.get_attr("TCA_KIND") == "hfsc" and each["handle"] >> 16 == major and each["handle"] & 0xFFFF
    }
    leaves = {
        parent & 0xFFFF: Leaf(each.get_attr("TCA_KIND"), each["handle"] >> 16)
        for parent, each in here.items()
        if parent >> 16 == major and parent & 0xFFFF in nodes
    }
    lifts, vlans, foreign = _filters(major, filters, nodes.keys())
    return Tree(
        qdisc={major: default},
        classes=nodes,
        leaves=leaves,
        lifts=lifts,
        filters=vlans,
        foreign=Foreign(filters=tuple(foreign), qdiscs=foreign_qdiscs),
    )


def _node(each: Any) -> HfscClass:
    options = attributes(each.get_attr("TCA_OPTIONS"))
    curves = {}
    for name, number in CURVES.items():
        if len(options.get(number, b"")) >= 12:
            m1, d, m2 = struct.unpack_from("=III", options[number])
            curves[name] = Curve(m2, m1, d)
    return HfscClass(**curves, parent=each["parent"] & 0xFFFF)


def _filters(
    major: int, filters: Iterable[Any], classes: Collection[int]
) -> tuple[Mapping[int, bool], Mapping[int, int], list[ForeignFilter]]:
    lifts: dict[int, bool] = {}
    vlans: dict[int, int] = {}
    foreign: list[ForeignFilter] = []
    for each in _real(filters):
        kind, handle, preference = each.get_attr("TCA_KIND"), each["handle"], each["info"] >> 16
        options = attributes(each.get_attr("TCA_OPTIONS"))
        classid = int.from_bytes(options.get(1, b"")[:4], sys.byteorder) if kind in CLASSID_FIRST else 0
        minor = classid & 0xFFFF if classid >> 16 == major else None
        first_chain = not any(each.get_attr("TCA_CHAIN") or b"")
        here = {(kind, each["info"])} if first_chain else set()
        if ("u32", _filter_info(LIFT_PREFERENCE)) in here:
            lifts[TAGGED] = TAGGED not in lifts and _lifts(options)
        elif ("flower", _filter_info(VLAN_PREFERENCE)) in here and _is_ours(options, handle):
            vlans[handle] = minor or 0
        elif ("flower", _filter_info(VLAN_PREFERENCE)) in here and handle in classes:
            vlans[handle] = DRIFTED
        else:
            foreign.append(ForeignFilter(f"{kind} filter 0x{handle:x} at preference {preference}", preference, minor))
    return lifts, vlans, foreign


def _is_ours(options: dict[int, bytes], vlan: int) -> bool:
    """Whether a flower filter matches a VLAN's id and nothing else, and does nothing but name a class."""
    return (
        options.keys() <= OUR_FLOWER
        and int.from_bytes(options.get(FLOWER_VLAN_ID, b""), sys.byteorder) == vlan
        and options.get(FLOWER_ETH_TYPE, struct.pack("!H", TAGGED)) == struct.pack("!H", TAGGED)
    )


def _lifts(options: dict[int, bytes]) -> bool:
    """Whether a u32 filter has the selector and the actions of the lifter."""
    found = []
    for order, action in sorted(attributes(options.get(U32_ACTIONS)).items()):
        kind, content = (attributes(action).get(number, b"") for number in (ACTION_KIND, ACTION_OPTIONS))
        inside = attributes(content)
        parameters = inside.get(VLAN_PARAMETERS, b"").ljust(24, b"\0")
        verdict, what = struct.unpack_from("=i8xi", parameters, 8)
        found.append((order, kind, verdict, what))
    ours = [(1, b"vlan\0", PIPE, PUSH), (2, b"vlan\0", GO_ON, POP)]
    return options.keys() <= OUR_U32 and options.get(U32_SELECTOR) == LIFT_SELECTOR and found == ours


def _real(filters: Iterable[Any]) -> Iterator[Any]:
    """Leave out what a dump has besides filters: one line for each preference, and the hash tables of u32."""
    for each in filters:
        node = each["handle"] & 0xFFF if each.get_attr("TCA_KIND") == "u32" else each["handle"]
        if node or each.get_attr("TCA_KIND") in ("cgroup", "tcindex"):
            yield each
