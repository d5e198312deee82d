# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    TAGGED,
    TEMPORARY,
    Curve,
    Filter,
    Foreign,
    HfscClass,
    Leaf,
    Stray,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule, rules_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step, plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import action_list, diff, step_text

MAJOR = 0x1389
MBIT = 125_000
ONE = HfscClass(ls=Curve(MBIT))
VDSM = Stray("basic filter 0x1 at preference 16", "basic", 16, 3, 1, 16)
CATCH_ALL = Stray("u32 filter 0x80000800 at preference 5000", "u32", 5000, 3, 0x80000800)


def filters(minor: int, *matches: Match) -> dict[Rule, Filter]:
    rules = [rule for match in matches for rule in rules_of(match)]
    return {rule: Filter(minor, handle) for handle, rule in enumerate(rules, 100)}


TREE = Tree(
    qdisc={MAJOR: 0x1388},
    classes={0x1388: ONE, 16: replace(ONE, ul=Curve(2 * MBIT))},
    leaves={0x1388: Leaf("fq_codel", 0x1388), 16: Leaf("fq_codel", 16, (("limit", 9),))},
    lifts={TAGGED: True},
    filters=filters(16, Match(vlan=16), Match(dscp=46)),
)
ROOT = "qdisc 1389: hfsc, default class 1389:1388\n"
DEFAULT = "class 1389:1388, the default class\n  ls 1mbit\n  leaf fq_codel 1388:\n"
SIXTEEN = "class 1389:10\n  ls 1mbit\n  ul 2mbit\n  leaf fq_codel 10: limit 9\n  VLAN 16\n  dscp ef\n"
LIFTER = "filter for tags inside frames\n"


def sides(now: Tree, wanted: Tree) -> tuple[str, str]:
    both = diff(now, wanted, plan(now, wanted).actions, MAJOR)
    return both["before"], both["after"]


def without(tree: Tree, part: str, *keys: Any) -> Tree:
    return replace(tree, **{part: {key: value for key, value in getattr(tree, part).items() if key not in keys}})


def test_nothing_to_do_is_nothing_to_read() -> None:
    assert sides(TREE, TREE) == ("", "")
    assert action_list(plan(TREE, TREE).actions, MAJOR) == []


def test_a_whole_tree_comes_and_goes() -> None:
    assert sides(Tree(), TREE) == ("", ROOT + DEFAULT + SIXTEEN + LIFTER)
    assert sides(TREE, Tree()) == (ROOT + DEFAULT + SIXTEEN + LIFTER, "")
    assert action_list(plan(TREE, Tree()).actions, MAJOR) == [
        {"op": "delete", "object": "qdisc", "id": "1389:", "before": "hfsc, default class 1389:1388"}
    ]


def test_a_replaced_root_is_named() -> None:
    now = Tree(foreign=Foreign(root="htb 1:"))
    assert sides(now, TREE)[0] == "qdisc htb 1:, and all below it\n"
    assert action_list(plan(now, TREE).actions, MAJOR)[0] == {
        "op": "delete",
        "object": "qdisc",
        "id": "1:",
        "before": "htb 1:",
    }


def test_a_match_is_one_entry_and_one_line_however_many_filters_it_takes() -> None:
    assert len(rules_of(Match(dscp=46))) == 4
    now = replace(TREE, filters=filters(16, Match(vlan=16)))
    assert action_list(plan(now, TREE).actions, MAJOR) == [
        {"op": "add", "object": "filter", "id": "dscp ef", "after": "class 1389:10"}
    ]
    assert sides(now, TREE) == (SIXTEEN.replace("  dscp ef\n", ""), SIXTEEN)


def test_a_match_that_lacks_some_filters_is_told_from_a_whole_one() -> None:
    now = without(TREE, "filters", rules_of(Match(dscp=46))[1])
    before, after = sides(now, TREE)
    assert "  dscp ef, of some frames only\n" in before
    assert after == SIXTEEN


def test_a_match_that_moves_is_shown_with_both_classes() -> None:
    wanted = replace(TREE, filters={**TREE.filters, **filters(0x1388, Match(vlan=16))})
    assert sides(TREE, wanted) == (
        DEFAULT + SIXTEEN,
        DEFAULT + "  VLAN 16\n" + SIXTEEN.replace("  VLAN 16\n", ""),
    )
    assert action_list(plan(TREE, wanted).actions, MAJOR) == [
        {
            "op": "change",
            "object": "filter",
            "id": "VLAN 16",
            "before": "class 1389:10",
            "after": "class 1389:1388",
        }
    ]


def test_a_filter_to_a_class_that_is_not_there() -> None:
    now = replace(TREE, filters={**TREE.filters, **filters(7, Match(vlan=7))})
    assert sides(now, TREE) == ("filter VLAN 7 to class 1389:7, which is not there\n", "")


def test_vdsms_filters_go() -> None:
    now = replace(TREE, filters={}, lifts={}, strays={VDSM: True, CATCH_ALL: True})
    before, after = sides(now, TREE)
    assert before == (
        SIXTEEN.replace("  VLAN 16\n  dscp ef\n", "")
        + "filter basic filter 0x1 at preference 16, which goes\n"
        + "filter u32 filter 0x80000800 at preference 5000, which goes\n"
    )
    assert after == SIXTEEN + LIFTER
    assert [each for each in action_list(plan(now, TREE).actions, MAJOR) if each["op"] == "delete"] == [
        {"op": "delete", "object": "filter", "id": VDSM.text, "before": "class 1389:10"},
        {"op": "delete", "object": "filter", "id": CATCH_ALL.text, "before": "no class"},
    ]


def test_a_lifter_that_somebody_changed() -> None:
    now = replace(TREE, lifts={TAGGED: False})
    assert sides(now, TREE) == ("filter for tags inside frames, changed by somebody\n", LIFTER)
    assert action_list(plan(now, TREE).actions, MAJOR) == [
        {
            "op": "change",
            "object": "filter",
            "id": "tags inside frames",
            "before": "changed by somebody",
            "after": "lifted",
        }
    ]


def test_a_class_that_changes_in_place_is_shown_alone() -> None:
    wanted = replace(TREE, classes={**TREE.classes, 16: replace(ONE, ul=Curve(3 * MBIT))})
    assert sides(TREE, wanted) == (SIXTEEN, SIXTEEN.replace("ul 2mbit", "ul 3mbit"))


def test_what_an_interrupted_run_left_is_named() -> None:
    now = replace(TREE, classes={**TREE.classes, 16 | TEMPORARY: ONE})
    assert sides(now, TREE)[0] == "class 1389:8010, left by a run that was interrupted\n  ls 1mbit\n"


PARENT = replace(TREE, classes={**TREE.classes, 2: ONE, 3: replace(ONE, parent=2)})
BELOW = replace(
    without(TREE, "leaves", 16),
    classes={**TREE.classes, 16: ONE, 17: replace(ONE, parent=16)},
    filters={},
)


@pytest.mark.parametrize(
    ("now", "wanted", "lines"),
    [
        (TREE, replace(TREE, classes={**TREE.classes, 16: ONE}), ["10 takes no curve away in place"]),
        (
            PARENT,
            replace(PARENT, classes={**PARENT.classes, 16: HfscClass(rt=Curve(8), parent=2)}),
            ["10 moves no class to another parent and the kernel takes no curve away in place"],
        ),
        (TREE, without(TREE, "leaves", 16), ["10 cannot change its leaf in place"]),
        (
            TREE,
            replace(TREE, leaves={**TREE.leaves, 16: Leaf("fq_codel", 16, (("flows", 1), ("limit", 9)))}),
            ["10 cannot change its leaf in place"],
        ),
        (replace(TREE, filters={}), BELOW, ["10 takes no curve away in place and it gets children"]),
        (
            BELOW,
            replace(BELOW, classes={**BELOW.classes, 16: HfscClass(rt=Curve(8))}),
            ["10 takes no curve away in place", "11 its parent is"],
        ),
    ],
)
def test_the_diff_says_why_a_class_is_made_anew(now: Tree, wanted: Tree, lines: list[str]) -> None:
    _before, after = sides(now, wanted)
    found = [line for line in after.splitlines() if line.startswith("#")]
    head = "# class 1389:"
    assert [line.replace("the kernel ", "", 1).replace(" is made anew:", "") for line in found] == [
        f"{head}{line}" for line in lines
    ]


def test_a_class_without_children_again() -> None:
    wanted = replace(without(BELOW, "classes", 17), leaves=TREE.leaves)
    assert "# class 1389:10 is made anew: it loses its children\n" in sides(BELOW, wanted)[1]


def test_steps_are_parts_of_sentences() -> None:
    (rule, *_others) = rules_of(Match(dscp=46))
    steps = {
        Step("qdisc", MAJOR, None, 0x1388): "add qdisc 1389: (hfsc, default class 1389:1388)",
        Step("classes", 16, None, replace(ONE, parent=2)): "add class 1389:10 (ls 1mbit, below 1389:2)",
        Step("leaves", 16, Leaf("sfq", 16), None): "delete leaf 1389:10",
        Step("filters", rule, Filter(1, 1), Filter(2, 1)): "change filter dscp ef (untagged IPv4) (class 1389:2)",
        Step("strays", VDSM, True, None): "delete filter basic filter 0x1 at preference 16",
        Step("lifts", TAGGED, None, True): "add filter tags inside frames (lifted)",
        Step("root", 1, "htb 1:", None): "delete qdisc 1:",
    }
    for step, text in steps.items():
        assert step_text(step, MAJOR) == text
