# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    OTHER,
    TAGGED,
    TEMPORARY,
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
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_info import Counted, device_info
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule, rules_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import parse
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import declare, handle_of
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_counters import Counters
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link

MAJOR = 0x1389
MBIT = 125_000
ONE = HfscClass(ls=Curve(MBIT))
LINK = Link(speed=1250 * 10**6)


def filters(minor: int, *matches: Match) -> dict[Rule, Filter]:
    return {rule: Filter(minor, handle_of(rule, ())) for match in matches for rule in rules_of(match)}


# Two VLANs below a class, and one beside it
TREE = Tree(
    qdisc={MAJOR: 0x1388},
    classes={
        0x1388: HfscClass(ls=Curve(MBIT), ul=Curve(2 * MBIT)),
        0x2000: ONE,
        100: HfscClass(rt=Curve(MBIT, 2 * MBIT, 1), parent=0x2000),
        0x2001: replace(ONE, parent=0x2000),
        7: ONE,
    },
    leaves={
        0x1388: Leaf("fq_codel", 0x1388),
        100: Leaf("fq_codel", 100, (("ecn", 0), ("target", 1000))),
        7: Leaf("sfq", 7, (("perturb", 10),)),
    },
    lifts={TAGGED: True},
    filters={**filters(100, Match(vlan=100)), **filters(0x2001, Match(vlan=9), Match(fwmark=(1, 0xFF)))},
)
CLASSES: list[dict[str, Any]] = [
    {"default": True, "ls": "1mbit", "ul": "2mbit", "leaf": "fq_codel"},
    {"classid": "1389:7", "ls": "1mbit", "leaf": {"kind": "sfq", "perturb": "10s"}},
    {"classid": "1389:2000", "ls": "1mbit"},
    {
        "vlan": 100,
        "parent": "1389:2000",
        "rt": {"m1": "2mbit", "d": "1us", "m2": "1mbit"},
        "leaf": {"kind": "fq_codel", "ecn": False, "target": "1ms"},
    },
    {
        "classid": "1389:2001",
        "parent": "1389:2000",
        "ls": "1mbit",
        "match": [{"vlan": 9}, {"fwmark": "0x1/0xff"}],
        "leaf": "none",
    },
]


def info(tree: Tree, counted: Counted | None = None) -> dict[str, Any]:
    return device_info("bond0", tree, LINK, counted or Counted())


def pasted(tree: Tree, classes: list[dict[str, Any]]) -> Tree:
    problems = Problems()
    declaration = parse({"handle": "1389:", "classes": classes, "prune": True}, problems)
    assert problems.found == []
    assert declaration
    return declare(tree, declaration, LINK.packet, LINK.queue)


def test_classes_are_written_as_the_module_takes_them() -> None:
    assert info(TREE)["classes"] == CLASSES
    assert not plan(TREE, pasted(TREE, CLASSES)).actions
    assert pasted(Tree(), CLASSES) == TREE


@pytest.mark.parametrize(
    ("default", "written"),
    [(100, {"vlan": 100, "default": True}), (7, {"classid": "1389:7", "default": True})],
)
def test_a_default_class_of_another_kind(default: int, written: dict[str, Any]) -> None:
    classes = {minor: node for minor, node in TREE.classes.items() if minor != 0x1388}
    leaves = {minor: leaf for minor, leaf in TREE.leaves.items() if minor != 0x1388}
    tree = replace(TREE, qdisc={MAJOR: default}, classes=classes, leaves=leaves)
    found = info(tree)
    assert found["default"] == f"1389:{default:x}"
    (entry,) = (each for each in found["classes"] if each.get("default"))
    assert {key: entry.get(key) for key in written} == written
    assert pasted(Tree(), found["classes"]) == tree


UNSAID: dict[str, Tree] = {
    "a qdisc that is not one of ours": replace(TREE, leaves={**TREE.leaves, 7: Leaf("netem", 7)}),
    "a curve that ends flat": replace(TREE, classes={**TREE.classes, 7: HfscClass(ls=Curve(0, 5, 5))}),
    "a limit without ls": replace(TREE, classes={**TREE.classes, 7: HfscClass(rt=Curve(5), ul=Curve(5))}),
    "a limit below the guarantee": replace(TREE, classes={**TREE.classes, 7: HfscClass(Curve(5), Curve(5), Curve(4))}),
}


@pytest.mark.parametrize("tree", UNSAID.values(), ids=UNSAID.keys())
def test_a_class_that_cannot_be_written_is_one_to_ignore(tree: Tree) -> None:
    classes = info(tree)["classes"]
    assert classes == [CLASSES[0], {"classid": "1389:7", "ignore": True}, *CLASSES[2:]]
    assert not plan(tree, pasted(tree, classes)).actions
    as_default = replace(tree, qdisc={MAJOR: 7})
    assert {"classid": "1389:7", "default": True, "ignore": True} in info(as_default)["classes"]
    # The class with the default's number is not the default any more, and that cannot be written either.
    assert {"classid": "1389:1388", "ignore": True} in info(as_default)["classes"]
    assert not plan(as_default, pasted(as_default, info(as_default)["classes"])).actions


def test_a_device_without_a_tree() -> None:
    found = info(Tree(foreign=Foreign(root="htb 1:", qdiscs=(ForeignQdisc("qdisc ingress ffff:", 0xFFFF, 0xFFFF),))))
    assert found == {
        "device": "bond0",
        "managed": False,
        "handle": None,
        "default": None,
        "speed": "10gbit",
        "root": "htb 1:",
        "vdsm": False,
        "classes": [],
        "tree": [],
        "foreign": ["qdisc ingress ffff:"],
        "notes": [],
    }
    assert device_info("lo", Tree(), Link(), Counted())["speed"] is None


def test_the_tree_is_nested_and_named() -> None:
    found = info(TREE)
    assert (found["managed"], found["handle"], found["default"]) == (True, "1389:", "1389:1388")
    default, seven, inner = found["tree"]
    assert default == {
        "name": "default",
        "classid": "1389:1388",
        "ls": "1mbit",
        "ul": "2mbit",
        "match": [],
        "leaf": "fq_codel 1388:",
        "children": [],
    }
    assert seven["name"] == "1389:7"
    assert (inner["name"], "leaf" in inner) == ("1389:2000", False)
    hundred, marked = inner["children"]
    assert (hundred["name"], hundred["rt"], hundred["leaf"]) == (
        "VLAN 100",
        "m1 2mbit d 1us m2 1mbit",
        "fq_codel 64: noecn target 1000us",
    )
    assert (marked["name"], marked["match"], marked["leaf"]) == ("VLAN 9", ["fwmark 0x1/0xff", "VLAN 9"], "none")
    assert info(replace(TREE, qdisc={MAJOR: 100}))["tree"][2]["children"][0]["name"] == "VLAN 100, default"


def counters(**counted: int) -> Counters:
    return Counters(**counted)


def test_counters_and_rates() -> None:
    now = {
        0x1388: counters(bytes=3_000_000, packets=10, drops=2**32 - 1, overlimits=1, queue=4, backlog=400, work=9),
        0x2000: counters(work=1_250_000),
        100: counters(bytes=5),
    }
    before = {
        0x1388: counters(bytes=600_000, packets=2**32 - 10, drops=2**32 - 3),
        0x2000: counters(work=1_000_000, bytes=77),
        100: counters(bytes=6),
    }
    default, seven, inner = info(TREE, Counted(now, before, 2.0))["tree"]
    assert default["counters"] == {
        "bytes": 3_000_000,
        "packets": 10,
        "drops": 2**32 - 1,
        "overlimits": 1,
        "backlog_bytes": 400,
        "backlog_packets": 4,
    }
    assert (default["rate"], default["packet_rate"], default["drop_rate"]) == ("9.6mbit", 10.0, 1.0)
    # Not there any more when it was counted
    assert not {"counters", "rate"} & seven.keys()
    # The kernel counts but the work of a class with children.
    assert inner["counters"] == {"bytes": 1_250_000}
    assert (inner["rate"], "packet_rate" in inner) == ("1mbit", False)
    # Made anew meanwhile
    assert inner["children"][0]["counters"]["bytes"] == 5
    assert "rate" not in inner["children"][0]
    assert "rate" not in info(TREE, Counted(now))["tree"][0]


def test_rates_are_exact() -> None:
    now, before = {0x1388: counters(bytes=1)}, {0x1388: counters()}
    assert info(TREE, Counted(now, before, 3.0))["tree"][0]["rate"] == "3bit"
    assert info(TREE, Counted(now, now, 3.0))["tree"][0]["rate"] == "0bit"


VDSM = Stray("basic filter 0x1 at preference 16", "basic", 16, 3, 1, 16)
CATCH_ALL = Stray("u32 filter 0x80000800 at preference 5000", "u32", 5000, 3, 0, 0x1388)


def test_vdsms_tree_is_written_as_it_is_taken_over() -> None:
    tree = Tree(
        qdisc={MAJOR: 0x1388},
        classes={0x1388: HfscClass(ls=Curve(60)), 16: HfscClass(ls=Curve(40))},
        leaves={0x1388: Leaf("fq_codel", 0x1388), 16: Leaf("fq_codel", 16)},
        strays={VDSM: True, CATCH_ALL: True},
    )
    found = info(tree)
    assert found["vdsm"]
    assert found["classes"] == [
        {"default": True, "ls": "60mbit", "leaf": "fq_codel"},
        {"vlan": 16, "ls": "40mbit", "leaf": "fq_codel"},
    ]
    # As it is
    sixteen = found["tree"][1]
    assert (sixteen["name"], sixteen["ls"], sixteen["match"]) == ("VLAN 16", "320bit", ["VLAN 16"])
    assert found["foreign"] == [f"{VDSM.text}, of vdsm", f"{CATCH_ALL.text}, of vdsm"]
    assert found["notes"] == []


def test_what_is_foreign_and_what_is_wrong_is_named() -> None:
    temporary = 100 | TEMPORARY
    classes = {minor: node for minor, node in TREE.classes.items() if minor not in (100, 0x1388)}
    tree = replace(
        TREE,
        classes={**classes, temporary: replace(ONE, parent=0x2000)},
        leaves={7: Leaf("netem", 7), temporary: Leaf("fq_codel", temporary ^ OTHER)},
        lifts={TAGGED: False},
        filters={**filters(temporary, Match(vlan=100)), **filters(5, Match(vlan=5))},
        strays={replace(VDSM, preference=6958, text="flower filter 0x1 at preference 6958"): True},
        foreign=Foreign(
            filters=(ForeignFilter("fw filter 0x1 at preference 7", 7),),
            qdiscs=(ForeignQdisc("qdisc ingress ffff:", 0xFFFF, 0xFFFF),),
        ),
    )
    found = info(tree)
    assert not found["vdsm"]
    assert found["foreign"] == [
        "fw filter 0x1 at preference 7",
        "qdisc ingress ffff:",
        "flower filter 0x1 at preference 6958, changed by somebody",
        "qdisc netem 7: in class 1389:7",
    ]
    assert found["notes"] == [
        "the default class 1389:1388 is not there: what no filter claims is dropped",
        "class 1389:8064 is a temporary one for 1389:64, of a run that is under way or was interrupted",
        "the filter VLAN 5 points to 1389:5, which is not there",
        "the filter for tags inside frames was changed by somebody",
    ]
    assert [each["name"] for each in found["tree"][1]["children"]] == ["1389:2001", "temporary class of 1389:64"]
    # As the next run puts it right
    assert {"vlan": 100, "parent": "1389:2000", "ls": "1mbit", "leaf": "fq_codel"} in found["classes"]
    assert info(replace(tree, lifts={}))["notes"][-1] == "the filter for tags inside frames is missing"


def test_an_empty_tree() -> None:
    found = info(Tree(qdisc={MAJOR: 1}))
    assert (found["managed"], found["classes"], found["tree"]) == (True, [], [])
    assert found["notes"] == ["the default class 1389:1 is not there: what no filter claims is dropped"]


def test_a_default_class_with_others_below_it_is_none() -> None:
    assert info(replace(TREE, qdisc={MAJOR: 0x2000}))["notes"] == [
        "the default class 1389:2000 has others below it: what no filter claims is dropped"
    ]
    assert info(replace(TREE, qdisc={MAJOR: 0}))["notes"] == [
        "the default class 1389:0 is not there: what no filter claims is dropped"
    ]
    assert info(TREE)["notes"] == []
