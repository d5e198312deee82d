# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What a user writes about HFSC classes, turned into the model; everything that cannot be is refused."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    FIRST_RATES,
    OUR_PREFERENCES,
    RATES,
    TIMES,
    Curve,
    HfscClass,
    Tree,
    Wish,
    healed,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Link
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, TIME

# One share is 1mbit, in bytes/s. Not 1 byte/s: m2sm() of net/sched/sch_hfsc.c keeps slopes in steps of about
# 0.93 bytes/s, rounded up, and a weight of 2 to 1 would become one of 3 to 2.
SHARE = 125_000
SHARES = range(1, RATES.largest // SHARE + 1)
VLANS = range(1, 4095)
CURVES = ("rt", "ls", "ul")


def parse_handle(text: str, problems: Problems) -> int:
    """Return the major number of a qdisc's handle, ``1389:`` (hexadecimal, 1: to fffe:)."""
    found = re.fullmatch(r"([0-9a-fA-F]{1,4}):?", text.strip())
    major = int(found.group(1), 16) if found else 0
    if not 0 < major < 0xFFFF:
        problems.add("handle", text, "not the handle of a root qdisc", "write a hexadecimal number from 1: to fffe:")
    return major


def parse_class(options: dict[str, Any], problems: Problems, path: str = "") -> Wish:
    """Return the class that a module's options, or an element of its list (``path`` is ``classes[3].``), describe."""
    vlan = _vlan(options, problems, path)
    before = len(problems.found)
    curves = {name: _curve(f"{path}{name}", options.get(name), problems) for name in CURVES}
    share = options.get("share")
    if share is not None:
        if options.get("ls") is not None:
            problems.add(f"{path}share", share, "share and ls are two ways to say the same", "leave one of them out")
        elif not isinstance(share, bool) and share in SHARES:
            curves["ls"] = Curve(share * SHARE)
        else:
            rule = (
                f"a share is a whole number from {SHARES[0]} to {SHARES[-1]} (1 share is {RATE.format(SHARE, RATES)})"
            )
            remedy = "scale all shares down, and ls rates beside them, as only their proportions matter"
            if share < SHARES[0]:
                remedy = f"the smallest is {SHARES[0]}; to have no class, state: absent"
            problems.add(f"{path}share", share, rule, "write a number" if isinstance(share, bool) else remedy)
    node = HfscClass(curves["rt"], curves["ls"], curves["ul"])
    if len(problems.found) == before and options.get("state") != "absent":
        _check_together(node, problems, path)
    leaf = options.get("leaf")
    return Wish(vlan, node, None if leaf == "none" else leaf)


def check_device(tree: Tree, device: str, handle: str, replace_root: bool, problems: Problems) -> None:
    """Refuse a device whose root qdisc somebody else put there, or whose filters are where ours go."""
    for each in tree.foreign.filters:
        if each.preference in OUR_PREFERENCES:
            rule = f"preferences {' and '.join(map(str, OUR_PREFERENCES))} are where this module keeps its own filters"
            problems.add("device", device, f"{each.text} is in the way: {rule}", "give that filter another preference")
    root = tree.foreign.root
    if not root or replace_root:
        return
    remedy = "set replace_root: true to replace it with all that is below it"
    if root.startswith("hfsc"):
        remedy = f"set handle: {root.split()[1]!r} to manage that one, or {remedy}"
    elif root.startswith("htb"):
        remedy += " (libvirt keeps a guest's or a network's bandwidth in an htb)"
    problems.add("device", device, f"its root qdisc is {root}, not hfsc {handle}", remedy)


def check_kind(link: Link, device: str, problems: Problems) -> None:
    """Refuse a device that the traffic does not leave the host through, or that carries but one VLAN."""
    name = f", that is {link.below}" if link.below else ""
    unfit = {
        "vlan": ("a VLAN device, which has but one VLAN", f"name the NIC or bond below it{name}"),
        "bridge": ("a bridge, which only the host's own traffic passes", "name the NIC or bond that is its port"),
        "loopback": ("the loopback device, which nothing leaves the host through", "name a NIC or bond"),
        "tun": ("a guest's or a tunnel's tap", "use virt_iface_bandwidth for a guest, and here name a NIC or bond"),
    }
    if link.kind in unfit:
        rule, remedy = unfit[link.kind]
        problems.add("device", device, f"it is {rule}", remedy)


def check_withdrawal(tree: Tree, wish: Wish, handle: str, problems: Problems) -> None:
    """Refuse to take away the default class while others need it, for it would take the root qdisc along."""
    tree = healed(tree)
    root = tree.foreign.root or ""
    if root.startswith("hfsc"):
        rule = f"the classes of the device are below {root}, so nothing would be taken away"
        problems.add("handle", handle, rule, f"set handle: {root.split()[1]!r}, if those are meant")
    others = [f"class {minor:x}" for minor in sorted(tree.classes) if minor != wish.minor]
    others += [each.text for each in tree.foreign.filters]
    if wish.vlan is None and tree.qdisc and others:
        rule = f"the root qdisc goes with the default class, and these still need it: {', '.join(others)}"
        problems.add("default", True, rule, "remove those first, or declare the default class with what it should get")


def _vlan(options: dict[str, Any], problems: Problems, path: str) -> int | None:
    vlan: int | None = options.get("vlan")
    if (vlan is not None) == bool(options.get("default")):
        rule = "a class is either a VLAN's or the default one"
        problems.add(f"{path}vlan", vlan, rule, f"give exactly one of {path}vlan and {path}default: true")
    elif isinstance(vlan, bool):
        problems.add(f"{path}vlan", vlan, "not a number", "write the VLAN's id, or default: true")
    elif vlan is not None and vlan not in VLANS:
        rule = f"a VLAN id is from {VLANS[0]} to {VLANS[-1]}"
        problems.add(f"{path}vlan", vlan, rule, "untagged traffic is the default class's: default: true")
    return vlan


def _curve(path: str, value: Any, problems: Problems) -> Curve | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        rate = problems.quantity(path, _text(value), RATE, RATES)
        return None if rate is None else Curve(rate)
    before = len(problems.found)
    unknown = [str(key) for key in value if key not in ("m1", "d", "m2")]
    for key in unknown:
        problems.add(f"{path}.{key}", None, "a curve has no such part", "write m2, or m1, d and m2")
    m1, d, m2 = (_text(value.get(key)) for key in ("m1", "d", "m2"))
    if m2 is None:
        problems.add(f"{path}.m2", None, "missing", "write the rate that holds in the long run")
    if m1 is not None and d is None:
        problems.add(f"{path}.d", None, "missing", f"write how long {path}.m1 holds, such as 10ms, or leave m1 out")
    if d is not None and m1 is None:
        problems.add(f"{path}.m1", None, "missing", f"write the rate that holds for {path}.d, or leave d out")
    first = problems.quantity(f"{path}.m1", m1, RATE, FIRST_RATES)
    time = problems.quantity(f"{path}.d", d, TIME, TIMES)
    last = problems.quantity(f"{path}.m2", m2, RATE, RATES)
    return None if last is None or len(problems.found) > before else Curve(last, first or 0, time or 0)


def _text(value: Any) -> str | None:
    """Return what the user wrote, as text; a bare number or a list is then refused as such."""
    return None if value is None else str(value)


def _check_together(node: HfscClass, problems: Problems, path: str) -> None:
    if not node.ls and not node.rt:
        rule = "a class needs a part of the link"
        problems.add(f"{path}ls", None, rule, f"give {path}ls or {path}share, or {path}rt for a guarantee")
    if node.ul and not node.ls:
        rule = "an upper limit limits what ls gives, and there is no ls"
        problems.add(f"{path}ul", str(node.ul), rule, f"give {path}ls or {path}share too")
    if node.ul and node.rt and not node.ul.reaches(node.rt):
        rule = f"the limit is below the guarantee (rt {node.rt})"
        if node.ul.m2 >= node.rt.m2:
            rule += " at the start of a backlog"
        problems.add(f"{path}ul", str(node.ul), rule, f"raise {path}ul or lower {path}rt")
