# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    OTHER,
    TEMPORARY,
    Curve,
    Foreign,
    ForeignFilter,
    HfscClass,
    Leaf,
    Stray,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import parse
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_rules import check, listed, overrun
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import declare
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link

GBIT = 125_000_000
NIC = Link()
curves = st.builds(Curve, m2=st.integers(1, 50), m1=st.integers(0, 50), d=st.integers(0, 50))


def run(now: Tree, *classes: dict[str, Any], link: Link = NIC, **options: Any) -> tuple[Tree, list[str]]:
    """Return the tree in which the classes are declared, and all that is refused of it."""
    device = {"device": "eth0", "handle": "1389:", "replace_root": False, "allow_overcommit": False, "state": "present"}
    problems = Problems()
    declared = {**device, **({"classes": list(classes)} if classes else {}), **options}
    declaration = parse(declared, problems)
    assert problems.found == []
    assert declaration
    wanted = declare(now, declaration, 1514, 1000)
    check(now, wanted, declaration, link, declared, problems)
    return wanted, problems.found


def tree(*classes: dict[str, Any]) -> Tree:
    made, found = run(Tree(), *classes)
    assert found == []
    return made


def cls(number: int, parent: int = 0, **options: Any) -> dict[str, Any]:
    above = {"parent": f":{parent:x}"} if parent else {}
    rates = {} if options.keys() & {"ls", "rt", "state", "ignore"} else {"ls": "1mbit"}
    return {"classid": f":{number:x}", **above, **rates, **options}


FAMILY = (cls(1), cls(2, 1), cls(3, 1), cls(4, 2))
MATCH = [{"dscp": "ef"}]


@pytest.mark.parametrize(
    "classes",
    [
        FAMILY,
        FAMILY[::-1],
        (cls(1, ls="1mbit", ul="2mbit"), cls(2, 1, rt="1mbit", match=MATCH), cls(3, 1, leaf="sfq")),
        ({"default": True, "ls": "1mbit"}, {"vlan": 1, "ls": "1mbit"}),
    ],
)
def test_what_fits_is_not_refused_when_declared_at_once_or_one_by_one_or_again(classes: Any) -> None:
    whole = tree(*classes)
    assert run(whole, *classes, prune=True) == (whole, [])
    for each in classes:
        assert run(whole, each) == (whole, [])


@pytest.mark.parametrize(
    ("now", "classes", "problems"),
    [
        # Parents
        (
            (),
            [cls(1), cls(2, 9)],
            ["classes[1].parent '1389:9': there is no such class; declare it too, or leave classes[1].parent out."],
        ),
        (FAMILY, [cls(1), cls(2, 3), cls(3, state="absent")], ["classes[1].parent '1389:3': there will be no such"]),
        ((), [cls(1, 1)], ["classes[0].parent '1389:1': class 1389:1 would be below class 1389:1; give one of them"]),
        (
            FAMILY,
            [cls(1, 4), cls(9, 1)],
            ["parent '1389:4': class 1389:1 would be below class 1389:4, that below class 1389:2, that below class"],
        ),
        (
            FAMILY,
            [cls(2, state="absent")],
            ["classes[0].state 'absent': class 1389:4 is below class 1389:2; remove that too, or give it another"],
        ),
        (FAMILY, [cls(2, state="absent"), cls(4, state="absent")], []),
        (FAMILY, [cls(2, state="absent"), cls(4, 1)], []),
        # A class that has others below it
        ((), [cls(1, rt="1mbit", ls="1mbit"), cls(2, 1)], ["classes[0].rt '1mbit': HFSC guarantees nothing to a"]),
        ((), [cls(1, rt="1mbit"), cls(2, 1)], ["classes[0].rt", "classes[0].ls: class 1389:2 is below it, and get"]),
        ((), [{"vlan": 1, "ls": "1mbit"}, cls(2, 1)], ["classes[0].vlan 'VLAN 1': only a class without others below"]),
        ((), [cls(1, match=MATCH), cls(2, 1), cls(3, 1)], ["classes[0].match[0] 'dscp ef': only a class without"]),
        ((), [cls(1, default=True), cls(2, 1)], ["classes[0].default True: only a class without others below has"]),
        ((), [cls(1, leaf="sfq"), cls(2, 1)], ["classes[0].leaf 'sfq': only a class without others below has"]),
        ((), [cls(1, leaf="none"), cls(2, 1)], ["classes[0].leaf 'none': only a class"]),
        ([cls(1)], [cls(2, 1)], []),
        (
            [cls(1, rt="1mbit", match=MATCH)],
            [cls(2, 1)],
            [
                "classes[0].parent '1389:1': that class has a guarantee (rt 1mbit), no ls, the filter for dscp ef"
                " (untagged IPv4), and no class that has others below it can; declare it without in classes, before"
            ],
        ),
        ([cls(1, default=True)], [cls(2, 1)], ["classes[0].parent '1389:1': that class has what no filter claims"]),
        ([cls(1, match=MATCH)], [cls(2, 1), cls(1)], []),
        ([cls(1, default=True)], [cls(2, 1), cls(1)], ["classes[1].default: only a class without others below has"]),
        ([cls(1, default=True)], [cls(2, 1), cls(1), {"default": True, "ls": "1mbit"}], []),
        # Matches of classes that are not declared
        (
            [cls(1, match=MATCH)],
            [cls(2, match=MATCH)],
            ["classes[0].match[0]: what matches dscp ef is that of class 1389:1; declare that one without it in"],
        ),
        ([cls(1, match=MATCH)], [cls(2, match=MATCH), cls(1)], []),
        ([cls(1, match=MATCH)], [cls(2, match=MATCH), cls(1, state="absent")], []),
        (
            [cls(1, match=[{"ip_proto": "tcp"}])],
            [cls(2, match=[{"vlan": 1}, {"src": "10.0.0.0/8"}])],
            ["classes[0].match[1]: a packet can fit src 10.0.0.0/8 and, as class 1389:1 has it, ip_proto tcp, and"],
        ),
        (
            [cls(1, match=[{"fwmark": "0x1/0xf"}])],
            [cls(2, match=[{"fwmark": "0x30/0xf0"}])],
            [
                "classes[0].match[0]: a packet can fit fwmark 0x30/0xf0 and, as class 1389:1 has it, fwmark 0x1/0xf,",
                "classes[0].match[0] 'fwmark 0x30/0xf0': the kernel keeps one mask for each number of bits, and there"
                " is fwmark 0x1/0xf;",
            ],
        ),
        ([cls(1, match=[{"fwmark": "0x1/0xf"}])], [cls(2, match=[{"fwmark": "0x2/0xf"}, {"fwmark": "1"}])], []),
        (
            (),
            [cls(1, match=[{"fwmark": "0x1/0xf"}, {"fwmark": "0x20/0xf0"}])],
            ["classes[0].match[1] 'fwmark 0x20/0xf0': the kernel keeps one mask"],
        ),
        # The default class
        ([{"vlan": 1, "ls": "1mbit"}], [{"default": True, "state": "absent"}], ["these still need it: class 1389:1;"]),
        ([{"vlan": 1, "ls": "1mbit"}], [cls(0x1388, state="absent")], ["classes[0].default True: the root qdisc goes"]),
        (
            [{"vlan": 1, "ls": "1mbit"}],
            [cls(0x1388, state="absent"), {"vlan": 1, "default": True, "ls": "1mbit"}],
            [],
        ),
        ([{"vlan": 1, "ls": "1mbit"}], [{"vlan": 1, "state": "absent"}, {"default": True, "state": "absent"}], []),
        ([{"vlan": 1, "ls": "1mbit", "default": True}], [{"vlan": 1, "state": "absent"}], []),
    ],
)
def test_what_cannot_be_in_a_tree_is_refused(now: Any, classes: Any, problems: list[str]) -> None:
    _wanted, found = run(tree(*now) if now else Tree(), *classes)
    assert len(found) == len(problems), found
    for problem, fragment in zip(found, problems):
        assert fragment in problem


def test_pruning() -> None:
    now = tree(*FAMILY)
    assert run(now, cls(4, ignore=True), cls(9), prune=True)[1] == [
        "classes[0].ignore True: class 1389:4 cannot stay without its parent, class 1389:2;"
        " declare or ignore the parent too."
    ]
    ignored, found = run(now, *(cls(number, ignore=True) for number in (1, 2, 4)), prune=True)
    assert (found, set(ignored.classes)) == ([], {1, 2, 4, 0x1388})
    for classes in ([cls(1, state="absent")], [cls(9, ignore=True)]):
        assert run(now, *classes, prune=True)[1][0].startswith("prune True: no class would be left; declare a class")
    assert run(now, classes=[], prune=True)[1][0].startswith("prune True: no class would be left")


@pytest.mark.parametrize(
    ("classes", "problems"),
    [
        ([cls(1, rt="400mbit"), cls(2, rt="600mbit")], []),
        (
            [cls(1, rt="400mbit"), cls(2, rt="600.008mbit")],
            ["classes[0].rt '400mbit': all guarantees together come to 1000.008mbit, and eth0 has 1gbit; lower"],
        ),
        (
            [cls(1, rt={"m1": "2gbit", "d": "10ms", "m2": "1mbit"})],
            ["all guarantees together come to 2gbit in the first 10ms of a backlog, and eth0 has 1gbit"],
        ),
        (
            [cls(1, ls="1mbit", ul="10mbit"), cls(2, 1, rt="5mbit"), cls(3, 1), cls(4, 3, rt="6mbit")],
            [".ul '10mbit': the guarantees below class 1389:1 come to 11mbit, and class 1389:1 has ul 10mbit"],
        ),
        (
            [
                cls(1, ls="1mbit", ul={"m1": "9mbit", "d": "1s", "m2": "99mbit"}),
                cls(2, 1, rt="5mbit"),
                cls(3, 1, rt="5mbit"),
            ],
            [".ul 'm1 9mbit d 1s m2 99mbit': the guarantees below class 1389:1 come to 10mbit in the first 1s"],
        ),
        ([cls(1, ls="1mbit", ul="10mbit"), cls(2, 1, rt="5mbit"), cls(3, rt="6mbit")], []),
    ],
)
def test_guarantees_that_do_not_fit_together_are_refused(classes: Any, problems: list[str]) -> None:
    link = Link(speed=GBIT)
    whole, found = run(Tree(), *classes, link=link)
    assert len(found) == len(problems), found
    for problem, fragment in zip(found, problems):
        assert fragment in problem
    assert run(Tree(), *classes, link=link, allow_overcommit=True) == (whole, [])
    # Whoever changes something else is not held up, and whoever changes one of them is.
    assert run(whole, {"vlan": 9, "ls": "1mbit"}, link=link)[1] == []
    assert len(run(whole, classes[-1], link=link)[1]) == len(problems)


def test_a_guarantee_is_held_against_a_limit_that_was_there_before() -> None:
    now = tree(cls(1, ls="1mbit", ul="10mbit"), cls(2, 1, rt="6mbit"))
    assert run(now, cls(3, 1, rt="5mbit"))[1][0].startswith("classes[0].rt '5mbit': the guarantees below class 1389:1")


@given(st.lists(curves, max_size=5), curves)
def test_an_overrun_is_where_the_sum_is_above_the_limit_first(some: list[Curve], limit: Curve) -> None:
    def above(time: int) -> bool:
        return sum(curve.served(time) for curve in some) > limit.served(time)

    bends = sorted({limit.d, *(curve.d for curve in some)})
    found = overrun(some, limit)
    first = next((time for time in bends if above(time)), None)
    if first is not None:
        assert found
        assert found[1] == first
        assert 0 <= found[0] - Fraction(sum(curve.served(first) for curve in some), first) < 1
    elif above(10**6):
        assert found == (sum(curve.m2 for curve in some), 0)
    else:
        assert found is None


def test_filters_of_others_hold_the_root_and_keep_children_away() -> None:
    foreign = Foreign(filters=(ForeignFilter("fw filter 0x1 at preference 7", 7, 1),))
    now = replace(tree(cls(1)), foreign=foreign)
    kept = (
        "classes[0].parent '1389:1': that class has the fw filter 0x1 at preference 7, whose packets no class that has"
        " others below it gets; have them point to another class first."
    )
    assert run(now, cls(2, 1))[1] == [kept]
    assert run(now, cls(2, 1), cls(1))[1] == [kept]
    # A filter can be there before its class.
    assert run(replace(tree(cls(3)), foreign=foreign), cls(2, 1), cls(1))[1] == [kept]
    assert run(now, cls(2), cls(1))[1] == []
    # What somebody did before is not held against a run.
    assert run(replace(tree(cls(1), cls(3, 1)), foreign=foreign), cls(2, 1), cls(1))[1] == []
    going = [cls(1, state="absent"), {"default": True, "state": "absent"}]
    assert "these still need it: fw filter 0x1 at preference 7;" in run(now, *going)[1][0]


def test_other_roots() -> None:
    for root, remedy in (
        ("htb 1:", "set replace_root: true to replace it with all that is below it (libvirt keeps"),
        ("hfsc 1:", "set handle: '1:' to manage that one, or set replace_root: true"),
        ("mq 8001:", "set replace_root: true"),
    ):
        now = Tree(foreign=Foreign(root=root))
        (problem,) = run(now, cls(1))[1]
        assert problem.startswith(f"device 'eth0': its root qdisc is {root}, not hfsc 1389:; ")
        assert remedy in problem
        assert run(now, cls(1), replace_root=True)[1] == []
        for going in ({"vlan": 1}, {"default": True}, {}, {"classes": [cls(1)]}):
            found = run(now, state="absent", **going)[1]
            assert bool(found) == root.startswith("hfsc")
            assert all("below hfsc 1:, so nothing would be taken away; set handle: '1:'" in each for each in found)


def test_devices_that_cannot_work() -> None:
    for link, words in (
        (Link("vlan", "bond0"), "a VLAN device, which has but one VLAN; name the NIC or bond below it, that is bond0."),
        (Link("vlan"), "name the NIC or bond below it."),
        (Link("bridge"), "it is a bridge"),
        (Link("loopback"), "it is the loopback device"),
        (Link("tun"), "use virt_iface_bandwidth"),
    ):
        assert words in run(Tree(), cls(1), link=link)[1][0]
        assert run(Tree(), cls(1, state="absent"), link=link)[1] == []
    assert run(Tree(), cls(1), link=Link("bond"))[1] == []
    for kind in ("bond", "team"):
        assert run(Tree(), cls(1), link=Link(port_of=kind))[1] == [
            f"device 'eth0': it is a port of a {kind}, which has the traffic before it; name the {kind}."
        ]
    assert run(Tree(), cls(1), link=Link(port_of="bridge"))[1] == []


def test_a_default_class_with_others_below_it_is_none() -> None:
    now = replace(tree(cls(1), cls(2, 1)), qdisc={0x1389: 1})
    going = [{"default": True, "state": "absent"}, cls(2, state="absent")]
    assert run(now, *going, cls(1))[1] == [
        "classes[0].default True: the root qdisc goes with the default class, and these still need it: class 1389:1;"
        " remove those first, or declare the default class with what it should get."
    ]


def of_vdsm(now: Tree, *vlans: int) -> Tree:
    """Return the tree with vdsm's filters for VLANs instead of ours."""
    strays = {Stray(f"basic filter 0x1 at preference {each}", "basic", each, 3, 1, each): True for each in vlans}
    filters = {rule: each for rule, each in now.filters.items() if rule.match.vlan not in vlans}
    return replace(now, filters=filters, strays=strays)


def interrupted(now: Tree, minor: int) -> Tree:
    """Return the tree with the traffic of a class in a temporary one."""
    temporary = minor | TEMPORARY
    return replace(
        now,
        classes={**now.classes, temporary: now.classes[minor]},
        leaves={**now.leaves, temporary: Leaf("fq_codel", temporary ^ OTHER)},
        filters={
            rule: replace(each, minor=temporary if each.minor == minor else each.minor)
            for rule, each in now.filters.items()
        },
    )


@pytest.mark.parametrize("left", [of_vdsm, interrupted])
def test_what_vdsm_or_an_interrupted_run_gave_to_a_class_is_its_own(left: Any) -> None:
    now = left(tree({"vlan": 16, "ls": "1mbit"}, {"vlan": 17, "ls": "1mbit"}), 16)
    taking = {"vlan": 16, "classid": ":300", "ls": "1mbit"}
    problem = (
        "classes[0].vlan: what matches VLAN 16 is that of class 1389:10; declare that one without it in classes, or"
        " take it away first."
    )
    assert run(now, taking)[1] == [problem]
    assert run(now, taking, cls(0x10, ignore=True), prune=True)[1] == [problem]
    assert run(now, taking, cls(0x10))[1] == []
    assert run(now, taking, cls(0x10, state="absent"))[1] == []
    assert run(now, taking, prune=True)[1] == []
    assert run(now, {"vlan": 16, "ls": "2mbit"})[1] == []
    assert "its traffic is class 1389:10's" in run(now, {**taking, "state": "absent"})[1][0]
    assert run(now, {"vlan": 16, "state": "absent"})[1] == []


def test_a_class_of_which_only_the_temporary_one_is_left_can_go() -> None:
    now = interrupted(tree({"vlan": 16, "ls": "1mbit"}), 16)
    now = replace(now, classes={minor: node for minor, node in now.classes.items() if minor != 16})
    assert run(now, {"vlan": 16, "state": "absent"}) == (tree({"default": True, "ls": "1mbit"}), [])


def test_long_lists_are_cut() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcd"), 3) == "a, b, c, 1 more"


def test_what_others_made_of_a_tree_is_not_held_against_a_run() -> None:
    loose = {1: HfscClass(rt=Curve(9)), 2: HfscClass(rt=Curve(9), parent=1), 0x1388: HfscClass(ls=Curve(9))}
    now = Tree(qdisc={0x1389: 0x1388}, classes=loose)
    assert run(now, {"vlan": 9, "ls": "1mbit"}, cls(2, 1, rt="72bit"), link=Link(speed=100))[1] == []


def test_with_prune_a_match_of_the_default_class_that_was_declared_is_free() -> None:
    now = tree({"default": True, "ls": "1mbit", "match": [{"vlan": 20}]}, cls(6))
    claim = cls(5, match=[{"vlan": 20}])
    assert run(now, claim, prune=True)[1] == []
    assert len(run(now, claim)[1]) == 1
