# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    Curve,
    Foreign,
    ForeignFilter,
    ForeignQdisc,
    HfscClass,
    Tree,
    Wish,
    declare,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_script import script

TREE = """\
# The HFSC tree of bond0; tc -batch makes it on a device without one.
qdisc add dev bond0 root handle 1389: hfsc default 1388
# what no filter claims
class add dev bond0 parent 1389: classid 1389:1388 hfsc ls m2 34359738360bit
qdisc add dev bond0 parent 1389:1388 handle 1388: fq_codel
# VLAN 100
class add dev bond0 parent 1389: classid 1389:64 hfsc rt m2 8bit ls m2 34359738360bit ul m1 16bit d 33us m2 24bit
qdisc add dev bond0 parent 1389:64 handle 64: fq_codel
"""
FILTERS = """\
# Tags that come inside the frame (packet sockets, macvtap guests) are moved to where flower looks.
filter add dev bond0 parent 1389: protocol 802.1q prio 4998 u32 match u16 0x8100 0xffff at -6\
 action vlan push id 1 pipe action vlan pop continue
# One hash lookup, whatever the number of VLANs.
filter add dev bond0 parent 1389: protocol 802.1q prio 4999 handle 100 flower vlan_id 100 classid 1389:64
"""


def test_a_script_makes_the_whole_tree() -> None:
    node = HfscClass(rt=Curve(1), ls=Curve(2**32 - 1), ul=Curve(3, 2, 33))
    tree = declare(Tree(), 0x1389, Wish(100, node, "fq_codel"))
    assert script(tree, "bond0") == TREE + FILTERS


def test_no_tree_is_no_script() -> None:
    assert script(Tree(), "bond0") == ""


def test_parents_come_first_and_what_is_not_ours_is_named() -> None:
    tree = declare(Tree(), 1, Wish(None, HfscClass(ls=Curve(1)), None))
    classes = {**tree.classes, 3: HfscClass(ls=Curve(1), parent=9), 9: HfscClass(ls=Curve(1))}
    foreign = Foreign(
        filters=(ForeignFilter("fw filter 0x1 at preference 7", 7),),
        qdiscs=(ForeignQdisc("qdisc ingress ffff:", 0xFFFF, 0xFFFF),),
    )
    lines = script(replace(tree, classes=classes, foreign=foreign), "e0").splitlines()
    assert [line for line in lines if line.startswith("class")] == [
        "class add dev e0 parent 1: classid 1:1388 hfsc ls m2 8bit",
        "class add dev e0 parent 1: classid 1:9 hfsc ls m2 8bit",
        "class add dev e0 parent 1:9 classid 1:3 hfsc ls m2 8bit",
    ]
    assert lines[-2:] == [
        "# Not of virtnet.qos, and not here: fw filter 0x1 at preference 7",
        "# Not of virtnet.qos, and not here: qdisc ingress ffff:",
    ]
