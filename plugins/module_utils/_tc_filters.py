# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Filters, as the kernel is told of them and tells them: rules, the lifter, and what has no place any more.

Sources: linux/pkt_cls.h, and the _change() and _dump() of net/sched/cls_flower.c, cls_fw.c, cls_u32.c, cls_basic.c.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DEFAULT_MINOR,
    TAGGED,
    Filter,
    ForeignFilter,
    Stray,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import (
    LIFT_PREFERENCE,
    PREFERENCES,
    Match,
    Network,
    Ports,
    Rule,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    CHAIN,
    KIND,
    OPTIONS,
    Message,
    attribute,
    attributes,
    nested,
    text,
)

ALL_FRAMES = 0x0003  # ETH_P_ALL
FAMILIES = {4: 0x0800, 6: 0x86DD}  # ETH_P_IP, ETH_P_IPV6

# TCA_FLOWER_...
CLASSID, ETH_TYPE, IP_PROTO, FLAGS, VLAN_ID, VLAN_ETH_TYPE = 1, 8, 9, 22, 23, 25
TOS, TOS_MASK, HARDWARE_COUNT = 73, 74, 86
ADDRESSES = {4: {"src": (10, 11), "dst": (12, 13)}, 6: {"src": (14, 15), "dst": (16, 17)}}  # and masks
PORTS = {  # of TCP, UDP and SCTP, and masks
    6: {"src": (18, 35), "dst": (19, 36)},
    17: {"src": (20, 37), "dst": (21, 38)},
    132: {"src": (41, 39), "dst": (42, 40)},
}
RANGES = {"src": (87, 88), "dst": (89, 90)}  # first and last
SKIPS = 0x3  # TCA_CLS_FLAGS_SKIP_HW, _SKIP_SW
DSCP_BITS = 0xFC

FW_CLASSID, FW_MASK = 1, 5
BASIC_CLASSID, BASIC_MATCHES, BASIC_COUNTERS, BASIC_PADDING = 1, 2, 5, 6
U32_CLASSID, U32_HASH, U32_SELECTOR, U32_ACTIONS, U32_COUNTERS, U32_FLAGS, U32_PADDING = 1, 2, 5, 7, 9, 11, 12
# What the kernel adds to any u32 filter
U32_OWN = {U32_HASH, U32_COUNTERS, U32_FLAGS, U32_PADDING}
# The attribute of each kind of filter that is the class it points to (of flow, the first of them); cgroup has none.
CLASSIDS = {
    "basic": BASIC_CLASSID,
    "bpf": 3,
    "flow": 3,
    "flower": CLASSID,
    "fw": FW_CLASSID,
    "matchall": 1,
    "route": 1,
    "rsvp": 1,
    "rsvp6": 1,
    "tcindex": 5,
    "u32": U32_CLASSID,
}

ACTION_KIND, ACTION_OPTIONS = 1, 2
VLAN_PARAMETERS, VLAN_PUSH_ID = 2, 3
PUSH, POP, PIPE, GO_ON = 2, 1, 3, -1  # TCA_VLAN_ACT_PUSH, _POP, TC_ACT_PIPE, TC_ACT_UNSPEC
# struct tc_u32_sel (terminal, one key) and tc_u32_key; keys are 32 bits, so this one starts at -8
LIFT_SELECTOR = (
    struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + struct.pack("!II", 0xFFFF, TAGGED) + struct.pack("=ii", -8, 0)
)

VDSM_MAJOR = 0x1389
VDSM_CATCH_ALL = 5000
VDSM_SELECTOR = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + bytes(16)  # match u8 0 0
EMATCH_META, META_INTEGER, META_VLAN = 4, 0x1000, 0x102E


class Encoded(NamedTuple):
    """A filter as it is sent: its kind, its preference and protocol (tcm_info), and its options."""

    kind: str
    info: int
    options: bytes


def info_of(preference: int, protocol: int) -> int:
    """Return tcm_info of a filter; the protocol is as on the wire."""
    return preference << 16 | socket.htons(protocol)


def rule(wanted: Rule, classid: int) -> Encoded:
    """Return the filter that sends the packets of a rule to a class.

    All VLANs' filters take one hash lookup: flower keeps filters with the same mask, at the same preference, in one
    table. PCP is not part of the mask. The flow classifier could do with a single filter, but its vlan_get_tag() looks
    for the tag only where the device's NETIF_F_HW_VLAN_CTAG_TX says it is, and would miss the tags of virtio devices,
    of bridges and of packet sockets. With its handle a filter is replaced in place: fl_change() puts the new one into
    the table before it takes the old one out, fw_change() exchanges the two.
    """
    target = {CLASSID: struct.pack("=I", classid)}
    if wanted.match.fwmark:
        mask = struct.pack("=I", wanted.match.fwmark[1])
        return Encoded("fw", info_of(wanted.preference, ALL_FRAMES), nested({**target, FW_MASK: mask}))
    protocol = TAGGED if wanted.tagged else FAMILIES[wanted.family]
    return Encoded("flower", info_of(wanted.preference, protocol), nested({**target, **_keys(wanted)}))


def _keys(wanted: Rule) -> dict[int, bytes]:
    match = wanted.match
    ethertype = struct.pack("!H", FAMILIES.get(wanted.family, 0))
    keys = {ETH_TYPE: ethertype}
    if wanted.tagged:
        keys[ETH_TYPE] = struct.pack("!H", TAGGED)
        if match.vlan is not None:
            keys[VLAN_ID] = struct.pack("=H", match.vlan)
        if not wanted.family:
            return keys
        keys[VLAN_ETH_TYPE] = ethertype
    if match.ip_proto is not None:
        keys[IP_PROTO] = bytes([match.ip_proto])
    if match.dscp is not None:
        keys[TOS], keys[TOS_MASK] = bytes([match.dscp << 2]), bytes([DSCP_BITS])
    for side, network in (("src", match.src), ("dst", match.dst)):
        if network:
            key, mask = ADDRESSES[wanted.family][side]
            keys[key], keys[mask] = network.network_address.packed, network.netmask.packed
    for side, ports in (("src", match.src_port), ("dst", match.dst_port)):
        if ports:
            exact = ports[0] == ports[1]
            one, other = PORTS[match.ip_proto or 0][side] if exact else RANGES[side]
            keys[one], keys[other] = struct.pack("!H", ports[0]), struct.pack("!H", 0xFFFF if exact else ports[1])
    return keys


def lifter() -> Encoded:
    """Return the filter that moves a tag from inside a frame to the packet's metadata, where flower finds it.

    Packet sockets and macvtap guests send frames with the tag inside, and the kernel then puts the network header
    behind the tag (packet_parse_headers(), tap_get_user()), so that the flow dissector takes the first bytes of the
    IP header for a VLAN id: IPv4 frames of any VLAN would be VLAN 1280's. They are known by the EtherType 0x8100 six
    bytes before the network header. Pushing a tag and popping it again (act_vlan) moves the inner one out, PCP and
    all; for any other frame that would match, the two cancel out. Then the search goes on.
    """
    actions = _vlan_action(1, PUSH, PIPE, attribute(VLAN_PUSH_ID, struct.pack("=H", 1)))
    actions += _vlan_action(2, POP, GO_ON, b"")
    options = nested({U32_SELECTOR: LIFT_SELECTOR, U32_ACTIONS: actions})
    return Encoded("u32", info_of(LIFT_PREFERENCE, TAGGED), options)


def _vlan_action(order: int, action: int, verdict: int, more: bytes) -> bytes:
    parameters = struct.pack("=IIiiii", 0, 0, verdict, 0, 0, action)  # struct tc_vlan
    options = attribute(VLAN_PARAMETERS, parameters) + more
    return attribute(order, nested({ACTION_KIND: b"vlan\0", ACTION_OPTIONS: options}))


@dataclass
class Filters:
    """The filters under a root qdisc and its classes, as the parts of `Tree`."""

    lifts: dict[int, bool] = field(default_factory=dict)
    rules: dict[Rule, Filter] = field(default_factory=dict)
    strays: dict[Stray, bool] = field(default_factory=dict)
    foreign: list[ForeignFilter] = field(default_factory=list)


def filters_of(major: int, messages: Iterable[Message]) -> Filters:
    """Return what the kernel told of the filters under the root ``major``:. Never fails over what is not ours.

    A filter is a rule's only where `rule` would make the very same, attached to the root: nothing else in it, and no
    actions.
    """
    found = Filters()
    lift = lifter().info
    for message in messages:
        said = attributes(message.data)
        kind, handle, info = text(said.get(KIND)), message.handle, message.info
        if not _is_filter(kind, handle, said):
            continue
        options = attributes(said.get(OPTIONS))
        minor = _minor(major, kind, options)
        preference, protocol = info >> 16, socket.ntohs(info & 0xFFFF)
        name = f"{kind} filter 0x{handle:x} at preference {preference}"
        above = message.parent & 0xFFFF
        if above:
            name += f" of class {major:x}:{above:x}"
            found.foreign.append(ForeignFilter(name, preference, minor, above))
            continue
        first_chain = not any(said.get(CHAIN, b""))
        known = _rule(kind, handle, protocol, options) if minor and first_chain and preference in PREFERENCES else None
        if known and known.preference == preference and known not in found.rules:
            found.rules[known] = Filter(minor or 0, handle)
        elif (kind, info) == ("u32", lift) and first_chain:
            found.lifts[TAGGED] = TAGGED not in found.lifts and _lifts(options)
        elif first_chain and preference in PREFERENCES:
            found.strays[Stray(name, kind, preference, protocol, handle, minor)] = True
        elif first_chain and major == VDSM_MAJOR and _is_vdsms(kind, preference, protocol, minor, options):
            found.strays[Stray(name, kind, preference, protocol, handle, minor or DEFAULT_MINOR)] = True
        else:
            found.foreign.append(ForeignFilter(name, preference, minor))
    return replace(found, strays=_with_their_tables(found))


def _with_their_tables(found: Filters) -> dict[Stray, bool]:
    """Return the strays, those of u32 as all that is at their preference (handle 0), unless somebody else is there too.

    By itself the kernel keeps u32's hash table after its last filter, while the qdisc has another (u32_delete()).
    """
    shared = {each.preference for each in found.foreign if not each.parent}
    strays: dict[tuple[int, int, int], Stray] = {}
    for stray in found.strays:
        whole = stray.kind == "u32" and stray.preference not in shared
        handle = 0 if whole else stray.handle
        strays.setdefault((stray.preference, stray.protocol, handle), replace(stray, handle=handle))
    return dict.fromkeys(strays.values(), True)


def _is_filter(kind: str, handle: int, said: dict[int, bytes]) -> bool:
    """Whether it is none of what a dump has besides filters: one line a preference, and the hash tables of u32."""
    if kind == "u32":
        return bool(handle & 0xFFF)
    return bool(handle) or OPTIONS in said


def _minor(major: int, kind: str, options: dict[int, bytes]) -> int | None:
    classid = int.from_bytes(options.get(CLASSIDS[kind], b"")[:4], sys.byteorder) if kind in CLASSIDS else 0
    return classid & 0xFFFF if classid >> 16 == major else None


def _rule(kind: str, handle: int, protocol: int, options: dict[int, bytes]) -> Rule | None:
    if kind == "fw":
        mask = int.from_bytes(options.get(FW_MASK, b"\xff" * 4), sys.byteorder)
        plain = options.keys() <= {FW_CLASSID, FW_MASK} and protocol == ALL_FRAMES and handle & ~mask == 0
        return Rule(Match(fwmark=(handle, mask)), None) if plain else None
    return _flower_rule(protocol, options) if kind == "flower" else None


def _flower_rule(protocol: int, options: dict[int, bytes]) -> Rule | None:
    """Return the rule that makes exactly this flower filter, if one does."""
    keys = {key: value for key, value in options.items() if key not in (CLASSID, FLAGS, HARDWARE_COUNT)}
    if int.from_bytes(options.get(FLAGS, b""), sys.byteorder) & SKIPS:
        return None
    tagged = protocol == TAGGED
    if tagged:
        # Kernels tell the EtherType behind the tag, or that of the tag, or neither.
        ethertype = keys.pop(ETH_TYPE, None)
        inner = keys.get(VLAN_ETH_TYPE, struct.pack("!H", TAGGED))
        if ethertype not in (None, struct.pack("!H", TAGGED), inner):
            return None
        keys[ETH_TYPE] = struct.pack("!H", TAGGED)
        protocol = int.from_bytes(keys.get(VLAN_ETH_TYPE, b""), "big")
    family = next((version for version, number in FAMILIES.items() if number == protocol), 0)
    match = _match(family, keys)
    # Whether it is what `rules_of` makes of the match, and whether the kernel was told the same
    fits = family in match.families if family else tagged and not match.families and match.vlan is not None
    made = Rule(match, tagged, family)
    return made if fits and _keys(made) == keys else None


def _match(family: int, keys: dict[int, bytes]) -> Match:
    """Return the match with everything in it that these keys can say; whether it says the same, is for the caller."""
    if not family:
        return Match(vlan=_number(keys, VLAN_ID, sys.byteorder))
    protocol, tos = _number(keys, IP_PROTO), _number(keys, TOS)
    return Match(
        vlan=_number(keys, VLAN_ID, sys.byteorder),
        dscp=None if tos is None else tos >> 2,
        src=_network(family, "src", keys),
        dst=_network(family, "dst", keys),
        ip_proto=protocol,
        src_port=_ports(protocol, "src", keys),
        dst_port=_ports(protocol, "dst", keys),
    )


def _number(keys: dict[int, bytes], key: int, order: str = "big") -> int | None:
    return int.from_bytes(keys[key], order) if key in keys else None  # type: ignore[arg-type]


def _network(family: int, side: str, keys: dict[int, bytes]) -> Network | None:
    key, mask = ADDRESSES[family][side]
    size = 4 if family == 4 else 16
    if len(keys.get(key, b"")) != size:
        return None
    prefix = bin(int.from_bytes(keys.get(mask, b"")[:size], "big")).count("1")
    return (IPv4Network if family == 4 else IPv6Network)((keys[key], prefix), strict=False)


def _ports(protocol: int | None, side: str, keys: dict[int, bytes]) -> Ports | None:
    if protocol not in PORTS:
        return None
    first, last = (_number(keys, key) for key in RANGES[side])
    if first is None or last is None:
        first = last = _number(keys, PORTS[protocol][side][0])
    return None if first is None or last is None else (first, last)


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
    plain = options.keys() <= {U32_SELECTOR, U32_ACTIONS, *U32_OWN}
    return plain and options.get(U32_SELECTOR) == LIFT_SELECTOR and found == ours


def _is_vdsms(kind: str, preference: int, protocol: int, minor: int | None, options: dict[int, bytes]) -> bool:
    """Whether it is one of the two filters that vdsm makes (lib/vdsm/network/configurators/qos.py).

    For a VLAN: basic match meta(vlan eq N), at preference N, to class N; a later one would have the mask 0xfff.
    For all else: u32 match u8 0 0, whose flowid 0x1388 means class :1388, of no qdisc.
    """
    if protocol != ALL_FRAMES:
        return False
    if kind == "basic" and minor == preference:
        plain = options.keys() <= {BASIC_CLASSID, BASIC_MATCHES, BASIC_COUNTERS, BASIC_PADDING}
        return plain and options.get(BASIC_MATCHES) in [_vlan_ematch(preference, mask) for mask in (0, 0xFFF)]
    if kind == "u32" and preference == VDSM_CATCH_ALL:
        plain = options.keys() <= {U32_CLASSID, U32_SELECTOR, *U32_OWN}
        loose = options.get(U32_CLASSID) == struct.pack("=I", DEFAULT_MINOR)
        return plain and options.get(U32_SELECTOR) == VDSM_SELECTOR and (loose or minor == DEFAULT_MINOR)
    return False


def _vlan_ematch(vlan: int, mask: int) -> bytes:
    """Return TCA_BASIC_EMATCHES of meta(vlan mask MASK eq VLAN), as the kernel tells it (tc_ematch/tc_em_meta.h)."""
    sides = struct.pack("=HBBHBB", META_VLAN, 0, 0, META_INTEGER, 0, 0)
    meta = nested({1: sides, 2: struct.pack("=I", mask), 3: struct.pack("=I", vlan)})
    return nested({1: struct.pack("=HH", 1, 0), 2: attribute(1, struct.pack("=HHHH", 0, EMATCH_META, 0, 0) + meta)})
