# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees that tc(8) makes on the veth device ``near``, and what they are to be read as.

A kernel reads them in the kernel lab, and the unit tests from what one answered there (record.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    TAGGED,
    Curve,
    Filter,
    Foreign,
    ForeignFilter,
    ForeignQdisc,
    HfscClass,
    Leaf,
    Stray,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule

MAJOR = 0x1389
ALL, IPV4, IPV6 = 0x0003, 0x0800, 0x86DD


@dataclass(frozen=True)
class Scenario:
    """Input of ``tc -batch``, and the tree that is read then; ``ours`` where that tree is all there is."""

    batch: str
    tree: Tree
    ours: bool = False


NET4, NET6 = ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")
HOST4, HOST6 = ip_network("198.51.100.7"), ip_network("2001:db8::7")

# Each kind of rule, and what tc(8) wants for it behind "handle"; the handles are 0x10001 and up
FLOWERS: list[tuple[Rule, str, str]] = [
    (Rule(Match(vlan=0), True), "802.1q", "vlan_id 0"),
    (Rule(Match(vlan=4094), True), "802.1q", "vlan_id 4094"),
    *(
        (Rule(Match(**each), tagged, family), protocol, f"{inner} {words}")
        for each, families, words in (
            ({"dscp": 46}, (4, 6), "ip_tos 0xb8/0xfc"),
            ({"dscp": 0}, (4, 6), "ip_tos 0/0xfc"),
            ({"ip_proto": 47}, (4, 6), "ip_proto 0x2f"),
            ({"ip_proto": 1}, (4,), "ip_proto icmp"),
            ({"ip_proto": 58}, (6,), "ip_proto icmpv6"),
            ({"src": NET4}, (4,), "src_ip 192.0.2.0/24"),
            ({"src": HOST4, "dst": NET4}, (4,), "src_ip 198.51.100.7 dst_ip 192.0.2.0/24"),
            ({"dst": NET6}, (6,), "dst_ip 2001:db8::/32"),
            ({"src": HOST6, "dst": NET6}, (6,), "src_ip 2001:db8::7 dst_ip 2001:db8::/32"),
            ({"ip_proto": 6, "dst_port": (443, 443)}, (4, 6), "ip_proto tcp dst_port 443"),
            ({"ip_proto": 17, "src_port": (53, 53), "dst_port": (1, 1)}, (4, 6), "ip_proto udp src_port 53 dst_port 1"),
            ({"ip_proto": 132, "src_port": (9, 9)}, (4, 6), "ip_proto sctp src_port 9"),
            ({"ip_proto": 6, "src_port": (8000, 8999)}, (4, 6), "ip_proto tcp src_port 8000-8999"),
            (
                {"ip_proto": 17, "src_port": (5, 5), "dst_port": (1, 65535)},
                (4, 6),
                "ip_proto udp src_port 5 dst_port 1-65535",
            ),
            (
                {"vlan": 0, "dscp": 10, "src": NET4, "dst": HOST4, "ip_proto": 6, "dst_port": (80, 81)},
                (4,),
                "vlan_id 0 ip_tos 0x28/0xfc src_ip 192.0.2.0/24 dst_ip 198.51.100.7 ip_proto tcp dst_port 80-81",
            ),
            ({"vlan": 100, "dscp": 46}, (4, 6), "vlan_id 100 ip_tos 0xb8/0xfc"),
        )
        for family, name in ((4, "ip"), (6, "ipv6"))
        if family in families
        for tagged, protocol, inner in ((False, name, ""), (True, "802.1q", f"vlan_ethtype {name}"))
        if tagged or "vlan" not in each
    ),
]
MARKS = {
    Rule(Match(fwmark=(0x10, 0xFFFFFFFF)), None): "0x10",
    Rule(Match(fwmark=(0x10, 0xFF)), None): "0x10/0xff",
    Rule(Match(fwmark=(0x80000000, 0x80000000)), None): "0x80000000/0x80000000",
}

ROOT = "qdisc add dev near root handle 1389: hfsc default 1388\n"
DEFAULT = ROOT + "class add dev near parent 1389: classid 1389:1388 hfsc ls m2 8mbit\n"
LS = HfscClass(ls=Curve(1_000_000))
FILTER = "filter add dev near parent 1389: protocol"
LIFTER = (
    f"{FILTER} 802.1q prio 6040 u32 match u16 0x8100 0xffff at -6 action vlan push id 1 pipe action vlan pop continue\n"
)


def _rules() -> tuple[str, dict[Rule, Filter]]:
    lines, rules = [], {}
    for handle, (rule, protocol, words) in enumerate(FLOWERS, 0x10001):
        rules[rule] = Filter(0x1388, handle)
        lines.append(f"{FILTER} {protocol} prio {rule.preference} handle {handle} flower {words} classid 1389:1388\n")
    for rule, mark in MARKS.items():
        assert rule.match.fwmark
        rules[rule] = Filter(0x1388, rule.match.fwmark[0])
        lines.append(f"{FILTER} all prio {rule.preference} handle {mark} fw classid 1389:1388\n")
    return "".join(lines), rules


def _stray(kind: str, handle: int, preference: int, protocol: int, minor: int | None) -> Stray:
    return Stray(f"{kind} filter 0x{handle:x} at preference {preference}", kind, preference, protocol, handle, minor)


def _foreign(kind: str, handle: int, preference: int, minor: int | None) -> ForeignFilter:
    return ForeignFilter(f"{kind} filter 0x{handle:x} at preference {preference}", preference, minor)


_RULE_LINES, _RULES = _rules()
DSCP, VLAN = Rule(Match(dscp=46), False, 4), Rule(Match(vlan=100), True)

SCENARIOS: Mapping[str, Scenario] = {
    "nothing": Scenario("", Tree()),
    "rules": Scenario(
        DEFAULT + LIFTER + _RULE_LINES,
        Tree({MAJOR: 0x1388}, {0x1388: LS}, lifts={TAGGED: True}, filters=_RULES),
        ours=True,
    ),
    "classes": Scenario(
        """\
qdisc add dev near root handle 1389: hfsc default ffff
class add dev near parent 1389: classid 1389:1 hfsc rt m1 8bit d 4294s m2 16bit ls m2 34359738360bit
class add dev near parent 1389:1 classid 1389:7fff hfsc ls m2 8bit ul m1 80bit d 33us m2 34359738352bit
class add dev near parent 1389:7fff classid 1389:8001 hfsc rt m2 8bit
class add dev near parent 1389: classid 1389:2 hfsc sc m2 800bit
qdisc add dev near parent 1389:8001 handle 8001: fq_codel
""",
        Tree(
            {MAJOR: 0xFFFF},
            {
                1: HfscClass(rt=Curve(2, 1, 4294_000_000), ls=Curve(2**32 - 1)),
                0x7FFF: HfscClass(ls=Curve(1), ul=Curve(2**32 - 2, 10, 33), parent=1),
                0x8001: HfscClass(rt=Curve(1), parent=0x7FFF),
                2: HfscClass(rt=Curve(100), ls=Curve(100)),
            },
            {0x8001: Leaf("fq_codel", 0x8001)},
        ),
        ours=True,
    ),
    "leaves": Scenario(
        ROOT
        + "".join(f"class add dev near parent 1389: classid 1389:{minor:x} hfsc ls m2 8mbit\n" for minor in range(1, 8))
        + """\
qdisc add dev near parent 1389:1 handle 1: fq_codel limit 1 flows 2 target 7ms interval 42us quantum 300 \
memory_limit 1mb drop_batch 9 noecn ce_threshold 1ms
qdisc add dev near parent 1389:2 handle 2: fq_codel limit 10240 flows 1024 target 5ms interval 100ms quantum 1514 \
memory_limit 32mb drop_batch 64 ecn
qdisc add dev near parent 1389:3 handle 3: sfq limit 99 perturb 10 quantum 3000
qdisc add dev near parent 1389:4 handle 4: sfq
qdisc add dev near parent 1389:5 handle 5: pfifo limit 7
qdisc add dev near parent 1389:6 handle 6: pfifo
""",
        Tree(
            {MAJOR: 0x1388},
            dict.fromkeys(range(1, 8), LS),
            {
                1: Leaf(
                    "fq_codel",
                    1,
                    (
                        *(("ce_threshold", 1000), ("drop_batch", 9), ("ecn", 0), ("flows", 2), ("interval", 42)),
                        *(("limit", 1), ("memory_limit", 1 << 20), ("quantum", 300), ("target", 7000)),
                    ),
                ),
                2: Leaf("fq_codel", 2),
                3: Leaf("sfq", 3, (("limit", 99), ("perturb", 10), ("quantum", 3000))),
                4: Leaf("sfq", 4),
                5: Leaf("pfifo", 5, (("limit", 7),)),
                6: Leaf("pfifo", 6),
            },
        ),
        ours=True,
    ),
    # What vdsm's lib/vdsm/network/configurators/qos.py runs for VLANs 16 and 17 and what has none, that twice;
    # and another mask, since the one it means misses priorities.
    "vdsm": Scenario(
        """\
qdisc add dev near root handle 0x1389: hfsc default 0x1388
qdisc add dev near ingress
class add dev near parent 1389: classid 1389:10 hfsc ls m1 32000000bit d 800000us m2 24000000bit ul m2 8000000bit
class add dev near parent 1389: classid 1389:1388 hfsc ls m1 32000000bit d 800000us m2 24000000bit
filter replace dev near protocol all parent 1389: pref 5000 u32 match u8 0 0 flowid 0x1388
filter replace dev near protocol all parent 1389: pref 5000 u32 match u8 0 0 flowid 1389:1388
filter replace dev near protocol all parent 1389: pref 16 basic match meta(vlan eq 16) flowid 1389:10
qdisc add dev near parent 1389:10 handle 10: fq_codel
qdisc add dev near parent 1389:1388 handle 1388: fq_codel
class add dev near parent 1389: classid 1389:11 hfsc ls m2 80000000bit
filter replace dev near protocol all parent 1389: pref 17 basic match meta(vlan mask 0xfff eq 17) flowid 1389:11
qdisc add dev near parent 1389:11 handle 11: fq_codel
""",
        Tree(
            {MAJOR: 0x1388},
            {
                0x10: HfscClass(ls=Curve(3_000_000, 4_000_000, 800_000), ul=Curve(1_000_000)),
                0x1388: HfscClass(ls=Curve(3_000_000, 4_000_000, 800_000)),
                0x11: HfscClass(ls=Curve(10_000_000)),
            },
            {minor: Leaf("fq_codel", minor) for minor in (0x10, 0x1388, 0x11)},
            strays={
                _stray("basic", 1, 16, ALL, 0x10): True,
                _stray("basic", 1, 17, ALL, 0x11): True,
                # Both, and the table that they are in
                replace(_stray("u32", 0x80000800, 5000, ALL, 0x1388), handle=0): True,
            },
            foreign=Foreign(qdiscs=(ForeignQdisc("qdisc ingress ffff:", 0xFFFF, 0xFFFF),)),
        ),
    ),
    # In our preferences, but not as we make them: with another handle than another, at another preference, with an
    # action, a key more, no class, a part of the mask, another kind or protocol; and two lifters
    "strays": Scenario(
        DEFAULT
        + LIFTER
        + LIFTER
        + f"""\
{FILTER} 802.1q prio {VLAN.preference} handle 100 flower vlan_id 100 classid 1389:1388
{FILTER} 802.1q prio {VLAN.preference + 3} handle 1 flower vlan_id 100 classid 1389:1388
{FILTER} 802.1q prio {VLAN.preference} handle 2 flower vlan_id 101 classid 1389:1388 action ok
{FILTER} 802.1q prio {VLAN.preference} handle 3 flower vlan_id 101 vlan_prio 5 classid 1389:1388
{FILTER} 802.1q prio {VLAN.preference} handle 4 flower vlan_id 102
{FILTER} 802.1q prio {VLAN.preference} handle 5 flower vlan_id 103 vlan_ethtype ip classid 1389:1388
{FILTER} 802.1q prio {VLAN.preference} handle 6 flower skip_hw vlan_id 104 classid 1389:1388
{FILTER} 802.1q prio {VLAN.preference} handle 7 flower vlan_id 105 classid 1:5
{FILTER} 802.1q prio {VLAN.preference} handle 8 flower classid 1389:1388
{FILTER} ip prio {DSCP.preference} handle 9 flower ip_tos 0xb8/0xff classid 1389:1388
{FILTER} all prio 6999 matchall classid 1389:1388
{FILTER} all prio 6000 handle 0x10/0xff fw classid 1389:1388
""",
        Tree(
            {MAJOR: 0x1388},
            {0x1388: LS},
            lifts={TAGGED: False},
            filters={VLAN: Filter(0x1388, 100)},
            strays={
                _stray("flower", 1, VLAN.preference + 3, TAGGED, 0x1388): True,
                **{
                    _stray("flower", handle, VLAN.preference, TAGGED, minor): True
                    for handle, minor in ((2, 0x1388), (3, 0x1388), (4, None), (5, 0x1388), (6, 0x1388), (7, None))
                },
                _stray("flower", 8, VLAN.preference, TAGGED, 0x1388): True,
                _stray("flower", 9, DSCP.preference, IPV4, 0x1388): True,
                _stray("matchall", 1, 6999, ALL, 0x1388): True,
                _stray("fw", 0x10, 6000, ALL, 0x1388): True,
            },
        ),
    ),
    # Nothing of all this is touched: filters of others, also in another chain; other VLANs' than vdsm's would be;
    # a leaf that has qdiscs in it; one in a class that got children, which the kernel does not use any more; clsact.
    "foreign": Scenario(
        DEFAULT
        + f"""\
qdisc add dev near clsact
filter add dev near ingress protocol all prio 6000 matchall action ok
class add dev near parent 1389: classid 1389:10 hfsc ls m2 8mbit
qdisc add dev near parent 1389:10 handle 10: fq_codel
class add dev near parent 1389:10 classid 1389:11 hfsc ls m2 8mbit
qdisc add dev near parent 1389:11 handle 11: prio
qdisc add dev near parent 11:1 handle 12: pfifo
filter add dev near parent 11: protocol all prio 6000 matchall classid 11:1
{FILTER} all prio 7 handle 3 fw classid 1389:1388
{FILTER} all prio 8 matchall classid 1389:11
{FILTER} all prio 16 basic match 'meta(vlan mask 0xff eq 16)' classid 1389:10
{FILTER} all prio 17 basic match 'meta(vlan eq 17)' classid 1389:10
{FILTER} all prio 18 basic match 'meta(vlan eq 18)' classid 1389:18 action ok
{FILTER} all prio 19 basic match 'meta(priority eq 19)' classid 1389:11
{FILTER} 802.1q prio 20 handle 100 flower vlan_id 100 classid 1389:11
{FILTER} 802.1q chain 5 prio {VLAN.preference} handle 100 flower vlan_id 100 classid 1389:11
{FILTER} all prio 4999 u32 match u8 0 0 flowid 1389:1388
{FILTER} all prio 5000 u32 match u8 0 1 flowid 1389:1388
{FILTER} ip prio 5001 handle 2: u32 divisor 256
{FILTER} ip prio 5002 handle 1 cgroup action ok
{FILTER} ip prio 5003 route to 5 classid 1389:11
""",
        Tree(
            {MAJOR: 0x1388},
            {0x1388: LS, 0x10: LS, 0x11: HfscClass(ls=Curve(1_000_000), parent=0x10)},
            {0x11: Leaf("prio", 0x11)},
            foreign=Foreign(
                filters=(
                    _foreign("fw", 3, 7, 0x1388),
                    _foreign("matchall", 1, 8, 0x11),
                    _foreign("basic", 1, 16, 0x10),
                    _foreign("basic", 1, 17, 0x10),
                    _foreign("basic", 1, 18, 0x18),
                    _foreign("basic", 1, 19, 0x11),
                    _foreign("flower", 100, 20, 0x11),
                    _foreign("u32", 0x80000800, 4999, 0x1388),
                    _foreign("u32", 0x80100800, 5000, 0x1388),
                    _foreign("cgroup", 1, 5002, None),
                    _foreign("route", 0xFFFF0005, 5003, 0x11),
                    _foreign("flower", 100, VLAN.preference, 0x11),
                ),
                qdiscs=(
                    ForeignQdisc("qdisc fq_codel 10:", 0x10, MAJOR),
                    ForeignQdisc("qdisc pfifo 12:", 0x12, 0x11),
                    ForeignQdisc("qdisc clsact ffff:", 0xFFFF, 0xFFFF),
                ),
            ),
        ),
    ),
    "root": Scenario(
        """\
qdisc add dev near ingress
qdisc add dev near root handle 1: htb
class add dev near parent 1: classid 1:1 htb rate 8mbit
qdisc add dev near parent 1:1 handle 1389: hfsc default 1388
class add dev near parent 1389: classid 1389:1388 hfsc ls m2 8mbit
""",
        Tree(foreign=Foreign(root="htb 1:", qdiscs=(ForeignQdisc("qdisc ingress ffff:", 0xFFFF, 0xFFFF),))),
    ),
}
