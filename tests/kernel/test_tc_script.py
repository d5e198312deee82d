# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script, read by tc on an empty device in a namespace, makes the tree that netlink makes."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_apply import carry_out
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import parse
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import declare
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Tc
from ansible_collections.virtnet.qos.plugins.module_utils._tc_script import script

Wire = Any

MATCHES: list[dict[str, Any]] = [
    {"vlan": 0},
    {"vlan": 4094},
    {"fwmark": "16"},
    {"fwmark": "0x80000000/0xff000000"},
    {"dscp": "default"},
    {"dscp": "ef"},
    {"dscp": 63},
    {"src": "10.0.0.0/8"},
    {"dst": "10.0.0.1"},
    {"src": "2001:db8::/32"},
    {"dst": "2001:db8::1"},
    {"src": "192.0.2.0/24", "dst": "198.51.100.0/24"},
    *({"ip_proto": name} for name in ("tcp", "udp", "sctp", "icmp", "icmpv6", "gre", "esp", "ah", "ospf", 0, 255)),
    {"ip_proto": "tcp", "dst_port": "443"},
    {"ip_proto": "udp", "src_port": "8000-8999"},
    {"ip_proto": "udp", "src_port": "1-65535", "dst_port": "53"},
    {"ip_proto": "sctp", "src_port": "1-2", "dst_port": "3-4"},
    {"vlan": 100, "dscp": "af11"},
    {"vlan": 100, "ip_proto": "icmpv6"},
    {"vlan": 5, "src": "10.0.0.0/8", "ip_proto": "tcp", "dscp": "cs7", "src_port": "1", "dst_port": "2-3"},
    {"vlan": 5, "dst": "fe80::/10", "ip_proto": "udp", "src_port": "65535"},
]
CODEL = {
    "kind": "fq_codel",
    "limit": 1000,
    "flows": 64,
    "target": "1ms",
    "interval": "20ms",
    "quantum": "300B",
    "memory_limit": "1MiB",
    "drop_batch": 1,
    "ecn": False,
    "ce_threshold": "777us",
}
TREES: dict[str, list[dict[str, Any]]] = {
    "nothing but a default class": [{"default": True, "ls": "8bit"}],
    "curves": [
        {"default": True, "ls": {"m1": "0bit", "d": "1us", "m2": "8bit"}},
        {"vlan": 1, "rt": {"m1": "34359738360bit", "d": "4294967295us", "m2": "34359738352bit"}},
        {"vlan": 4094, "ls": "34359738360bit", "ul": {"m1": "123456792bit", "d": "33us", "m2": "8bit"}},
        {"vlan": 2, "sc": {"m1": "80bit", "d": "1500us", "m2": "12345680bit"}, "ul": "1gbit"},
    ],
    "a hierarchy, with the default class inside": [
        {"classid": ":3fff", "ls": "1gbit", "ul": "1gbit"},
        {"classid": ":1", "parent": ":3fff", "ls": "1gbit"},
        {"default": True, "parent": ":1", "ls": "1mbit"},
        {"vlan": 4094, "parent": ":1", "ls": "1mbit"},
        {"vlan": 7, "parent": ":3fff", "rt": "1mbit"},
        {"classid": ":9", "ls": "1mbit"},
    ],
    "leaves": [
        {"default": True, "ls": "1mbit", "leaf": CODEL},
        {"vlan": 1, "ls": "1mbit", "leaf": {"kind": "sfq", "limit": 64, "perturb": "10s", "quantum": "3000B"}},
        {"vlan": 2, "ls": "1mbit", "leaf": {"kind": "pfifo", "limit": 7}},
        *({"vlan": 10 + n, "ls": "1mbit", "leaf": kind} for n, kind in enumerate(("fq_codel", "sfq", "pfifo", "none"))),
    ],
    "all kinds of matches": [
        {"default": True, "ls": "1mbit"},
        {"vlan": 100, "ls": "1mbit", "match": MATCHES},
        {"vlan": 101, "ls": "1mbit", "match": [{"fwmark": "17"}]},
    ],
}


FLOW = "class fq_codel "  # where it has a packet: of a device that is up, the kernel sends some by itself


def shown(wire: Wire, device: str, *namespace: str) -> str:
    """Return what tc shows of a device, less what is numbered by the order of things."""
    parts = (("qdisc",), ("class",), ("filter",))
    text = "".join(wire.run("tc", *namespace, *part, "show", "dev", device) for part in parts)
    return "\n".join(
        sorted(
            re.sub(r" index \d+ | refcnt \d+ ", " ", line).strip()
            for line in text.splitlines()
            if not line.startswith(FLOW)
        )
    )


@pytest.mark.parametrize("name", TREES)
def test_a_script_makes_what_netlink_makes(wire: Wire, name: str) -> None:
    problems = Problems()
    declaration = parse({"handle": "1389:", "classes": TREES[name]}, problems)
    assert problems.found == []
    assert declaration
    near = Tc("near", socket.if_nametoindex("near"), 0x1389)
    wanted = declare(Tree(), declaration, near.link.packet, near.link.queue)
    carry_out(near, near.read(), plan(near.read(), wanted))
    made = near.read()
    assert made == wanted

    wire.run("tc", "-n", "far", "-batch", "-", batch=script(made, "far"))
    assert wire.far(lambda: Tc("far", socket.if_nametoindex("far"), 0x1389).read()) == made
    assert shown(wire, "far", "-n", "far") == shown(wire, "near")
