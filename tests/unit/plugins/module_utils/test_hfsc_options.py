# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Curve, HfscClass
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import LeafWish
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import parse
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import Declaration, Wish
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

MAJOR = 0x1389
MBIT = 125_000
FIVE = HfscClass(ls=Curve(5 * MBIT))


def parsed(**options: Any) -> tuple[Declaration | None, list[str]]:
    problems = Problems()
    return parse({"handle": "1389:", "state": "present", **options}, problems), problems.found


def refused(**options: Any) -> list[str]:
    declaration, found = parsed(**options)
    assert declaration is None
    return found


def listed(*elements: dict[str, Any], **options: Any) -> list[str]:
    """Return what is refused of a list whose elements all have an ls."""
    return refused(classes=[{"ls": "5mbit", **element} for element in elements], **options)


@pytest.mark.parametrize(
    ("options", "wish"),
    [
        ({"vlan": 100}, Wish("", 100, FIVE, matches=(Match(vlan=100),))),
        ({"vlan": 0, "classid": ":10"}, Wish("", 0x10, FIVE, matches=(Match(vlan=0),))),
        ({"vlan": 7, "classid": "1389:A"}, Wish("", 10, FIVE, matches=(Match(vlan=7),))),
        ({"vlan": 7, "default": True}, Wish("", 7, FIVE, matches=(Match(vlan=7),), default=True)),
        ({"default": True}, Wish("", 0x1388, FIVE, default=True)),
        ({"default": True, "classid": ":1388"}, Wish("", 0x1388, FIVE, default=True)),
        ({"default": True, "classid": ":3fff"}, Wish("", 0x3FFF, FIVE, default=True)),
        ({"classid": ":1388", "state": "absent"}, Wish("", 0x1388, FIVE, absent=True)),
        ({"classid": ":1", "parent": "1389:2"}, Wish("", 1, HfscClass(ls=FIVE.ls, parent=2))),
        ({"classid": ":1", "parent": "1389:"}, Wish("", 1, FIVE)),
        ({"classid": ":1", "ls": None, "sc": "5mbit"}, Wish("", 1, HfscClass(rt=FIVE.ls, ls=FIVE.ls))),
        ({"classid": ":1", "ls": None, "share": 5}, Wish("", 1, FIVE)),
        ({"classid": ":1", "leaf": "none"}, Wish("", 1, FIVE, None, True)),
        ({"classid": ":1", "leaf": "sfq"}, Wish("", 1, FIVE, LeafWish("sfq"), True)),
        (
            {"vlan": 3, "match": [{"vlan": 3}, {"src": "10.0.0.1"}, {"src": "10.0.0.1/32"}]},
            Wish("", 3, FIVE, matches=(Match(vlan=3), Match(src=ipaddress.ip_network("10.0.0.1")))),
        ),
        ({"vlan": 100, "ls": None, "state": "absent"}, Wish("", 100, matches=(Match(vlan=100),), absent=True)),
    ],
)
def test_a_class_is_understood(options: dict[str, Any], wish: Wish) -> None:
    assert parsed(**{"ls": "5mbit", **options}) == (Declaration(MAJOR, (wish,)), [])


def test_a_list_is_understood() -> None:
    elements = [
        {"default": True, "ls": "5mbit", "state": None},
        {"vlan": 100, "state": "absent"},
        {"vlan": 200, "ignore": True},
        {"classid": ":1388", "state": "absent"},
    ]
    wishes = (
        Wish("classes[0].", 0x1388, FIVE, default=True),
        Wish("classes[1].", 100, matches=(Match(vlan=100),), absent=True),
        Wish("classes[2].", 200, ignore=True),
    )
    assert parsed(classes=elements[:3], prune=True) == (Declaration(MAJOR, wishes, prune=True), [])
    going, _problems = parsed(classes=elements, state="absent")
    assert going is None  # the last is the first again
    going, _problems = parsed(classes=[{"vlan": 1}, {"vlan": 2, "ls": "5mbit", "state": "present"}], state="absent")
    assert going
    assert [wish.absent for wish in going.wishes] == [True, False]


def test_the_whole_device_and_an_empty_list() -> None:
    assert parsed(state="absent", default=False, handle="1:") == (Declaration(1, whole=True), [])
    assert parsed(state="absent", classes=[]) == (Declaration(MAJOR), [])
    assert refused(state="absent", ls="5mbit") == [
        "vlan: nothing says which class this is; give vlan, classid or default: true."
    ]
    assert refused(handle="0")[0].startswith("handle '0': not the handle of a root qdisc")


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({}, "vlan: nothing says which class this is; give vlan, classid or default: true."),
        ({"vlan": 0}, "vlan 0: a VLAN's id is its class's minor number, and 0 is the root's; give classid too."),
        ({"vlan": 4095}, "vlan 4095: a VLAN id is from 0 to 4094, as IEEE 802.1Q keeps this one for itself;"),
        ({"vlan": True}, "vlan True: not a number"),
        ({"classid": "70"}, "which has a colon (YAML reads 1:10 without quotes as the number 70); write one such as"),
        ({"classid": "1389:xyz"}, "classid '1389:xyz': not the id of a class; write one such as '1389:10' or ':10'"),
        ({"classid": "1389:12345"}, "not the id of a class"),
        ({"classid": "1:10"}, "the class is below the root qdisc 1389:; write ':10', or set handle: '1:'."),
        ({"classid": "1389:"}, "the minor number of a class is from 1 to 3fff; 0 is the root's;"),
        ({"classid": ":8000"}, "the minor number of a class is from 1 to 3fff; those above 3fff are for temporary"),
        ({"classid": ":1388"}, "classid ':1388': 1388 is the minor number of the default class; write another one,"),
        ({"vlan": 1, "parent": "2"}, "parent '2': not the id of a class, which has a colon"),
        ({"vlan": 1, "sc": "1mbit"}, "sc '1mbit': sc is rt and ls in one, and there is ls too; leave one of them out."),
        ({"vlan": 1, "ls": None, "rt": "1bit", "sc": "1mbit"}, "sc is rt and ls in one, and there is rt too"),
        ({"vlan": 1, "ls": None, "share": 1, "sc": {"m2": "1mbit"}}, "sc: sc is rt and ls in one, and there is share"),
        ({"vlan": 1, "share": 1}, "share 1: share and ls are two ways to say the same; leave one of them out."),
        ({"vlan": 1, "leaf": "htb"}, "leaf 'htb': not a qdisc that can be inside a class"),
        ({"vlan": 1, "match": [{"vlan": 2}, {"src_port": "1"}]}, "match[1].src_port '1': only a packet of a protocol"),
        ({"vlan": 1, "prune": True}, "prune True: without classes, nothing says what is to be left; give classes."),
        ({"ls": None, "state": "absent", "prune": True}, "prune True: without classes"),
        (
            {"classes": [{"vlan": 1, "ls": "1mbit"}]},
            "ls '5mbit': with classes, what is declared of a class is written in its element; move it into the list.",
        ),
        ({"ls": None, "classes": [{"vlan": 1}]}, "classes[0].ls: a class needs a part of the link; give classes[0].ls"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], fragment: str) -> None:
    assert any(fragment in problem for problem in refused(**{"ls": "5mbit", **options}))


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = {"vlan": 4095, "ls": "1Mbps", "ul": "x", "leaf": "y", "parent": "z", "match": [{"dscp": "w"}]}
    found = refused(handle="0:", classes=[wrong, {}])
    assert [problem.split()[0] for problem in found] == [
        "handle",
        "classes[0].vlan",
        "classes[0].parent",
        "classes[0].ls",
        "classes[0].ul",
        "classes[0].match[0].dscp",
        "classes[0].leaf",
        "classes[1].vlan:",
        "classes[1].ls:",
    ]


def test_a_class_is_declared_once() -> None:
    assert listed({"vlan": 100}, {"vlan": 1}, {"classid": ":64"}) == [
        "classes[2]: class 1389:64 is that of classes[0] too; declare a class once; a VLAN's minor number is its id."
    ]
    assert len(listed({"vlan": 1}, {"vlan": 1, "state": "absent"}, {"vlan": 1, "ls": None, "ignore": True})) == 2


def test_there_is_one_default_class() -> None:
    elements = [{"vlan": 1, "default": True}, {"vlan": 2, "default": True}]
    (problem,) = listed(*elements)
    assert problem == "classes[1].default True: classes[0] is the default class already; leave one of them out."
    declaration, _problems = parsed(
        classes=[{**each, "ls": "1mbit", "state": state} for each, state in zip(elements, ("absent", None))]
    )
    assert declaration


def test_a_packet_belongs_to_one_class() -> None:
    (problem,) = listed({"vlan": 1}, {"classid": ":2", "match": [{"vlan": 1}]})
    assert problem == "classes[1].match[0]: what matches VLAN 1 is classes[0]'s already; leave it out of one of them."
    (problem,) = listed({"classid": ":2", "match": [{"dscp": "ef"}, {"vlan": 1}]}, {"vlan": 1})
    assert problem.startswith("classes[1].vlan: what matches VLAN 1 is classes[0]'s already;")
    twice = {"vlan": 2, "match": [{"vlan": 2}, {"dscp": "ef"}, {"dscp": "46"}]}
    assert [each.split(":")[0] for each in listed({"classid": ":1", "match": twice["match"]}, twice)] == [
        "classes[1].vlan",
        "classes[1].match[1]",
    ]
    ports = [{"match": [{"ip_proto": "tcp", "dst_port": each}]} for each in ("80-81", "81-82")]
    (problem,) = listed({"classid": ":2", **ports[0]}, {"classid": ":1", **ports[1]})
    assert problem == (
        "classes[1].match[0]: a packet can fit ip_proto tcp, dst_port 81-82 and, as classes[0] has it, ip_proto tcp,"
        " dst_port 80-81, and both fix 23 bits; make one of them narrower, so that it wins."
    )
    marks = [{"match": [{"fwmark": each}]} for each in ("0x1/0xf", "0x10/0xf0")]
    assert "both are marks of as many bits" in listed({"vlan": 1, **marks[0]}, {"vlan": 2, **marks[1]})[0]
    wide = [{"src": f"10.0.0.{number}"} for number in range(20)]
    narrow = [{"dst": f"10.0.0.{number}"} for number in range(20)]
    assert len(listed({"vlan": 1, "match": wide}, {"vlan": 2, "match": narrow})) == 10


def test_what_is_ignored_has_nothing_else() -> None:
    found = listed({"vlan": 1, "ignore": True, "share": 5, "match": [{"vlan": 7}], "state": "absent"})
    assert found == [
        f"classes[0].{option}: a class that is ignored stays as it is; leave out {remedy}."
        for option, remedy in (
            ("ls '5mbit'", "classes[0].ls or classes[0].ignore"),
            ("share 5", "classes[0].share or classes[0].ignore"),
            ("match", "classes[0].match or classes[0].ignore"),
            ("state 'absent'", "classes[0].ignore"),
        )
    ]


def test_a_list_cannot_be_longer_than_there_are_ids() -> None:
    assert refused(classes=[{}] * 32768) == ["classes: 32768 classes, and there are ids for 16383; declare fewer."]


@pytest.mark.parametrize("named", [{"vlan": 0}, {"share": 0}, {"ls": 0}, {"leaf": 0}, {"leaf": False}], ids=str)
def test_nothing_that_is_named_is_taken_for_omitted(named: dict[str, Any]) -> None:
    """With state=absent and no class, the whole tree goes."""
    assert refused(**named, state="absent")
    (name,) = named
    assert any(found.startswith(f"{name} ") for found in refused(**named, classes=[{"vlan": 100, "share": 1}]))
