# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A device's tree as the input of ``tc -batch``: what is persisted, and what a person reads.

Applied to a device without a tree it makes the same tree, which the kernel lab proves.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    LIFT_PREFERENCE,
    VLAN_PREFERENCE,
    Curve,
    Tree,
)


def script(tree: Tree, device: str) -> str:
    """Return the batch that makes the whole tree on a device that has none; empty where there is no tree."""
    return "".join(f"{line}\n" for line in _lines(tree, device))


def _lines(tree: Tree, device: str) -> Iterator[str]:
    for major, default in tree.qdisc.items():
        yield f"# The HFSC tree of {device}; tc -batch makes it on a device without one."
        yield f"qdisc add dev {device} root handle {major:x}: hfsc default {default:x}"
        for minor in tree.parents_first(tree.classes):
            yield from _class(tree, device, major, minor)
        yield from _filters(tree, device, major)
        yield from (f"# Not of virtnet.qos, and not here: {each.text}" for each in tree.foreign.filters)
        yield from (f"# Not of virtnet.qos, and not here: {each.text}" for each in tree.foreign.qdiscs)


def _class(tree: Tree, device: str, major: int, minor: int) -> Iterator[str]:
    node, leaf = tree.classes[minor], tree.leaves.get(minor)
    vlans = ", ".join(f"VLAN {vlan}" for vlan, target in sorted(tree.filters.items()) if target == minor)
    default = "what no filter claims" if minor == tree.default else ""
    yield "# " + (" and ".join(each for each in (vlans, default) if each) or "no VLAN")
    curves = " ".join(f"{name} {_curve(curve)}" for name, curve in node.curves().items())
    parent = f"{major:x}:{node.parent:x}" if node.parent else f"{major:x}:"
    yield f"class add dev {device} parent {parent} classid {major:x}:{minor:x} hfsc {curves}"
    if leaf:
        yield f"qdisc add dev {device} parent {major:x}:{minor:x} handle {leaf.handle:x}: {leaf.kind}"


def _curve(curve: Curve) -> str:
    # In bit/s, for tc has units of its own, and reads a number of bits exactly.
    first = f"m1 {curve.m1 * 8}bit d {curve.d}us " if curve.d else ""
    return f"{first}m2 {curve.m2 * 8}bit"


def _filters(tree: Tree, device: str, major: int) -> Iterator[str]:
    head = f"filter add dev {device} parent {major:x}: protocol 802.1q prio"
    if tree.lifts:
        yield "# Tags that come inside the frame (packet sockets, macvtap guests) are moved to where flower looks."
        yield (
            f"{head} {LIFT_PREFERENCE} u32 match u16 0x8100 0xffff at -6"
            " action vlan push id 1 pipe action vlan pop continue"
        )
    if tree.filters:
        yield "# One hash lookup, whatever the number of VLANs."
    for vlan, minor in sorted(tree.filters.items()):
        yield f"{head} {VLAN_PREFERENCE} handle {vlan} flower vlan_id {vlan} classid {major:x}:{minor:x}"
