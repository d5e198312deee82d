# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    TAGGED,
    Curve,
    Filter,
    Foreign,
    ForeignFilter,
    ForeignQdisc,
    HfscClass,
    Leaf,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, rules_of
from ansible_collections.virtnet.qos.plugins.module_utils._tc_script import script

VLAN = rules_of(Match(vlan=100))[0]
TREE = Tree(
    qdisc={0x1389: 0x1388},
    classes={
        100: HfscClass(rt=Curve(1), ls=Curve(2**32 - 1), ul=Curve(3, 2, 33)),
        0x1388: HfscClass(ls=Curve(2**32 - 1)),
    },
    leaves={0x1388: Leaf("fq_codel", 0x1388, (("ecn", 0), ("limit", 5), ("target", 777))), 100: Leaf("fq_codel", 100)},
    lifts={TAGGED: True},
    filters={VLAN: Filter(100, 100)},
)
SCRIPT = """\
# The HFSC tree of bond0; tc -batch makes it on a device without one (in a network namespace: tc -n NAME -batch).
qdisc add dev bond0 root handle 1389: hfsc default 1388
# what no filter claims
class add dev bond0 parent 1389: classid 1389:1388 hfsc ls m2 34359738360bit
qdisc add dev bond0 parent 1389:1388 handle 1388: fq_codel noecn limit 5 target 777us
# VLAN 100
class add dev bond0 parent 1389: classid 1389:64 hfsc rt m2 8bit ls m2 34359738360bit ul m1 16bit d 33us m2 24bit
qdisc add dev bond0 parent 1389:64 handle 64: fq_codel
# Tags that come inside the frame (packet sockets, macvtap guests) are moved to where flower looks.
filter add dev bond0 parent 1389: protocol 802.1q prio 6040 u32 match u16 0x8100 0xffff at -6\
 action vlan push id 1 pipe action vlan pop continue
# The first that fits decides. Those that look at the same fields are one hash lookup.
filter add dev bond0 parent 1389: protocol 802.1q prio 6958 handle 100 flower vlan_id 100 classid 1389:64
"""


def test_a_script_makes_the_whole_tree() -> None:
    assert script(TREE, "bond0") == SCRIPT


def test_no_tree_is_no_script() -> None:
    assert script(Tree(), "bond0") == ""


def test_parents_come_first_have_no_leaf_and_what_is_not_ours_is_named() -> None:
    curve = Curve(1)
    tree = Tree(
        qdisc={1: 0x1388},
        classes={
            3: HfscClass(ls=curve, parent=9),
            4: HfscClass(ls=curve, parent=9),
            9: HfscClass(ls=curve),
            0x1388: HfscClass(ls=curve),
        },
        leaves={9: Leaf("fq_codel", 9), 3: Leaf("tbf", 3), 4: Leaf("pfifo", 4, (("limit", 7),))},
        foreign=Foreign(
            filters=(ForeignFilter("fw filter 0x1 at preference 7", 7),),
            qdiscs=(ForeignQdisc("qdisc ingress ffff:", 0xFFFF, 0xFFFF),),
        ),
    )
    assert script(tree, "e0").splitlines()[2:] == [
        "# what no filter claims",
        "class add dev e0 parent 1: classid 1:1388 hfsc ls m2 8bit",
        "# what is below it: 1:3, 1:4",
        "class add dev e0 parent 1: classid 1:9 hfsc ls m2 8bit",
        "# no filter's",
        "class add dev e0 parent 1:9 classid 1:3 hfsc ls m2 8bit",
        # tbf cannot be made without the options that nobody knows here, and would end the batch.
        "# Not of virtnet.qos, and not here: qdisc tbf 3: in class 1:3",
        "# no filter's",
        "class add dev e0 parent 1:9 classid 1:4 hfsc ls m2 8bit",
        "qdisc add dev e0 parent 1:4 handle 4: pfifo limit 7",
        "# Not of virtnet.qos, and not here: fw filter 0x1 at preference 7",
        "# Not of virtnet.qos, and not here: qdisc ingress ffff:",
    ]


@pytest.mark.parametrize(
    ("match", "filters"),
    [
        (Match(vlan=0), ["802.1q prio 6958 handle 1 flower vlan_id 0"]),
        (Match(fwmark=(16, 2**32 - 1)), ["all prio 6000 handle 0x10/0xffffffff fw"]),
        (Match(fwmark=(16, 0xF0)), ["all prio 6028 handle 0x10/0xf0 fw"]),
        (
            Match(vlan=5, dscp=46),
            [
                "802.1q prio 6940 handle 1 flower vlan_id 5 vlan_ethtype ip ip_tos 184/0xfc",
                "802.1q prio 6940 handle 2 flower vlan_id 5 vlan_ethtype ipv6 ip_tos 184/0xfc",
            ],
        ),
        (
            Match(src=ip_network("2001:db8::/32"), ip_proto=17, src_port=(8000, 8999), dst_port=(53, 53)),
            [
                "ipv6 prio 6807 handle 1 flower ip_proto udp src_ip 2001:db8::/32 src_port 8000-8999 dst_port 53",
                "802.1q prio 6808 handle 2 flower vlan_ethtype ipv6"
                " ip_proto udp src_ip 2001:db8::/32 src_port 8000-8999 dst_port 53",
            ],
        ),
        (
            Match(dst=ip_network("10.0.0.1"), ip_proto=47),
            [
                "ip prio 6872 handle 1 flower ip_proto 0x2f dst_ip 10.0.0.1/32",
                "802.1q prio 6874 handle 2 flower vlan_ethtype ip ip_proto 0x2f dst_ip 10.0.0.1/32",
            ],
        ),
    ],
)
def test_filters_are_written_as_tc_reads_them(match: Match, filters: list[str]) -> None:
    rules = {rule: Filter(10, handle) for handle, rule in enumerate(rules_of(match), 1)}
    lines = script(Tree(qdisc={1: 2}, classes={10: HfscClass(ls=Curve(1))}, filters=rules), "e0").splitlines()
    assert lines[2] == f"# {match}"
    head, tail = "filter add dev e0 parent 1: protocol ", " classid 1:a"
    assert lines[5:] == [f"{head}{each}{tail}" for each in filters]


def test_a_match_that_lacks_some_of_its_filters_is_known() -> None:
    first, *_others = rules_of(Match(dscp=46))
    tree = Tree(qdisc={1: 2}, classes={10: HfscClass(ls=Curve(1))}, filters={first: Filter(10, 1)})
    assert "# dscp ef, of some frames only\n" in script(tree, "e0")
