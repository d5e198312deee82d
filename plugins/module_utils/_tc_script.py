# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A device's tree as the input of ``tc -batch``: what is persisted, and what a person reads.

Applied to a device without a tree it makes the same tree, which the kernel lab proves. iproute2 6.1 and later read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Curve, Tree, option_text
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import DEFAULTS
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import (
    LIFT_PREFERENCE,
    PROTOCOLS,
    WITH_PORTS,
    Match,
    Rule,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import match_texts

ETHERTYPES = {4: "ip", 6: "ipv6"}
# Those that flower's options call by name; all others are hexadecimal numbers (flower_parse_ip_proto() of iproute2).
NAMED = {PROTOCOLS[name]: name for name in (*WITH_PORTS, "icmp", "icmpv6")}
NOT_OURS = "# Not of virtnet.qos, and not here:"


def script(tree: Tree, device: str) -> str:
    """Return the batch that makes the whole tree on a device that has none; empty where there is no tree."""
    return "".join(f"{line}\n" for line in _lines(tree, device))


def _lines(tree: Tree, device: str) -> Iterator[str]:
    for major, default in tree.qdisc.items():
        yield (
            f"# The HFSC tree of {device}; tc -batch makes it on a device without one"
            " (in a network namespace: tc -n NAME -batch)."
        )
        yield f"qdisc add dev {device} root handle {major:x}: hfsc default {default:x}"
        matches = match_texts(tree)
        for minor in tree.parents_first(tree.classes):
            yield from _class(tree, device, major, minor, matches.get(minor, []))
        yield from _filters(tree, device, major)
        yield from (f"{NOT_OURS} {each.text}" for each in tree.foreign.filters)
        yield from (f"{NOT_OURS} {each.text}" for each in tree.foreign.qdiscs)


def _class(tree: Tree, device: str, major: int, minor: int, matches: list[str]) -> Iterator[str]:
    node, leaf = tree.classes[minor], tree.leaves.get(minor)
    children = tree.offspring.get(minor)
    about = [*matches, *(["what no filter claims"] if minor == tree.default else [])]
    if children:
        about.append("what is below it: " + ", ".join(f"{major:x}:{child:x}" for child in sorted(children)))
    yield "# " + ("; ".join(about) or "no filter's")
    curves = " ".join(f"{name} {_curve(curve)}" for name, curve in node.curves().items())
    parent = f"{major:x}:{node.parent:x}" if node.parent else f"{major:x}:"
    yield f"class add dev {device} parent {parent} classid {major:x}:{minor:x} hfsc {curves}"
    if leaf and leaf.kind not in DEFAULTS:
        yield f"{NOT_OURS} qdisc {leaf} in class {major:x}:{minor:x}"
    elif leaf and not children:
        options = (option_text(*option) for option in leaf.options)
        line = f"qdisc add dev {device} parent {major:x}:{minor:x} handle {leaf.handle:x}: {leaf.kind}"
        yield " ".join([line, *options])


def _curve(curve: Curve) -> str:
    # In bit/s, for tc has units of its own, and reads a number of bits exactly.
    first = f"m1 {curve.m1 * 8}bit d {curve.d}us " if curve.d else ""
    return f"{first}m2 {curve.m2 * 8}bit"


def _filters(tree: Tree, device: str, major: int) -> Iterator[str]:
    head = f"filter add dev {device} parent {major:x}:"
    if tree.lifts:
        yield "# Tags that come inside the frame (packet sockets, macvtap guests) are moved to where flower looks."
        yield (
            f"{head} protocol 802.1q prio {LIFT_PREFERENCE} u32 match u16 0x8100 0xffff at -6"
            " action vlan push id 1 pipe action vlan pop continue"
        )
    if tree.filters:
        yield "# The first that fits decides. Those that look at the same fields are one hash lookup."
    filters = ((rule.preference, each.handle, rule, each.minor) for rule, each in tree.filters.items())
    for preference, handle, rule, minor in sorted(filters, key=itemgetter(0, 1)):
        yield f"{head} {_filter(rule, preference, handle)} classid {major:x}:{minor:x}"


def _filter(rule: Rule, preference: int, handle: int) -> str:
    match = rule.match
    if match.fwmark:
        mark, mask = match.fwmark
        return f"protocol all prio {preference} handle 0x{mark:x}/0x{mask:x} fw"
    ethertype = ETHERTYPES.get(rule.family, "")
    protocol = "802.1q" if rule.tagged else ethertype
    keys = [f"protocol {protocol} prio {preference} handle {handle} flower"]
    if match.vlan is not None:
        keys.append(f"vlan_id {match.vlan}")
    if rule.tagged and ethertype:
        keys.append(f"vlan_ethtype {ethertype}")
    return " ".join([*keys, *_keys(match)])


def _keys(match: Match) -> Iterator[str]:
    """Give what flower looks for in the IP packet, in tc's words: the protocol before the ports, tos in decimal."""
    if match.ip_proto is not None:
        yield f"ip_proto {NAMED.get(match.ip_proto, hex(match.ip_proto))}"
    if match.dscp is not None:
        yield f"ip_tos {match.dscp << 2}/0xfc"
    for name, network in (("src_ip", match.src), ("dst_ip", match.dst)):
        if network:
            yield f"{name} {network}"
    for name, ports in (("src_port", match.src_port), ("dst_port", match.dst_port)):
        if ports:
            first, last = ports
            yield f"{name} {first}" if first == last else f"{name} {first}-{last}"
