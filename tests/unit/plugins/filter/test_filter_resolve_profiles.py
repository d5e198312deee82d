# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What elements get from their profiles; the tests of the roles have the filter in Ansible."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.filter import resolve_profiles as plugin

resolve = plugin.FilterModule().filters()["resolve_profiles"]

FAST, SLOW = {"average": "8mbit", "peak": "16mbit"}, {"average": "1mbit"}
PROFILES = {"both": {"inbound": FAST, "outbound": FAST}, "in": {"inbound": FAST}, "none": {}}


@pytest.mark.parametrize(
    ("element", "resolved"),
    [
        ({"name": "x", "profile": "both"}, {"name": "x", "inbound": FAST, "outbound": FAST}),
        ({"profile": "both", "outbound": SLOW}, {"inbound": FAST, "outbound": SLOW}),
        ({"profile": "in", "outbound": SLOW}, {"inbound": FAST, "outbound": SLOW}),
        ({"profile": "both", "inbound": SLOW, "outbound": SLOW}, {"inbound": SLOW, "outbound": SLOW}),
        ({"profile": "in", "inbound": None}, {"inbound": FAST}),
        ({"profile": "in", "inbound": {}}, {"inbound": {}}),
        ({"profile": "none", "name": "x"}, {"name": "x"}),
        ({"profile": None, "inbound": SLOW}, {"inbound": SLOW}),
        ({"profile": ""}, {}),
        ({"profile": "in", "state": "present"}, {"inbound": FAST, "state": "present"}),
        ({"profile": "in", "state": "absent"}, {"state": "absent"}),
        ({"profile": "nowhere", "state": "absent", "outbound": SLOW}, {"state": "absent", "outbound": SLOW}),
        ({"match": {"domain": "*", "mac": None}}, {"match": {"domain": "*", "mac": None}}),
        ({"portgroups": None, "state": None, "prune": False}, {"prune": False}),
        (
            {"state": "absent", "portgroups": [{"name": "web", "profile": "in"}, {"name": "db", "inbound": SLOW}]},
            {"state": "absent", "portgroups": [{"name": "web", "inbound": FAST}, {"name": "db", "inbound": SLOW}]},
        ),
    ],
)
def test_what_an_element_gets(element: dict[str, Any], resolved: dict[str, Any]) -> None:
    given_in = copy.deepcopy(element)
    assert resolve([element], PROFILES, "x") == {"resolved": [resolved], "problems": []}
    assert element == given_in


@pytest.mark.parametrize("profiles", [None, {}])
def test_no_profiles(profiles: Any) -> None:
    assert resolve([{"inbound": SLOW}], profiles, "x") == {"resolved": [{"inbound": SLOW}], "problems": []}
    assert resolve([{"profile": "gold"}], profiles, "x")["problems"] == [
        "x[0].profile 'gold': qos_profiles has no profiles; correct the name, or add the profile."
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    profiles = {"odd": {"inbund": FAST, "outbond": FAST}, "text": "8mbit", "empty": None, 5: {"inbound": FAST}}
    elements = [
        {"profile": "gold", "portgroups": [{"profile": 5}, {"profile": ["odd"]}]},
        {"profile": "text"},
        "web",
        {"profile": "odd", "portgroups": {"name": "web"}},
    ]
    assert resolve(elements, profiles, "nets")["problems"] == [
        "nets[0].profile 'gold': qos_profiles has odd, text, empty, 5; correct the name, or add the profile.",
        "nets[0].portgroups[1].profile ['odd']: qos_profiles has odd, text, empty, 5; "
        "correct the name, or add the profile.",
        "nets[2] 'web': this is not a mapping; write keys and values, such as profile: gold.",
        "nets[3].portgroups {'name': 'web'}: this is not a list; write a list, be it of one element.",
        "qos_profiles.text '8mbit': a profile has inbound, outbound or both; write what it limits, or drop it.",
        "qos_profiles.empty: a profile has inbound, outbound or both; write what it limits, or drop it.",
        "qos_profiles.odd.inbund: a profile has inbound and outbound, and nothing else; correct the name, or drop it.",
        "qos_profiles.odd.outbond: a profile has inbound and outbound, and nothing else; correct the name, or drop it.",
    ]


def test_profiles_and_elements_that_are_something_else() -> None:
    assert resolve("web", ["gold"], "nets")["problems"] == [
        "qos_profiles ['gold']: this is not a mapping; write names and what they limit.",
        "nets 'web': this is not a list; write a list, be it of one element.",
    ]


def test_floors_are_for_nics() -> None:
    profiles = {
        "firm": {"inbound": {"average": "8mbit", "floor": "1mbit"}},
        "soft": {"inbound": {**SLOW, "floor": None}},
    }
    elements = [
        {"profile": "firm", "portgroups": [{"profile": "soft"}, {"profile": "firm"}]},
        {"profile": "firm", "inbound": SLOW},
        {"profile": "firm", "state": "absent"},
    ]
    assert resolve(elements, profiles, "nets")["problems"] == []
    assert resolve(elements, profiles, "nets", floors=False)["problems"] == [
        f"{path}.profile 'firm': qos_profiles.firm has inbound.floor, and a floor is guaranteed to NICs, "
        "not to networks; write inbound beside the profile, or name a profile without a floor."
        for path in ("nets[0]", "nets[0].portgroups[1]")
    ]


KEYS = st.sampled_from(["profile", "inbound", "outbound", "state", "portgroups", "floor", "absent", "gold", ""])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | KEYS,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)


@given(ANYTHING, ANYTHING, st.booleans())
def test_whatever_people_write_is_answered(elements: Any, profiles: Any, floors: bool) -> None:
    answer = resolve(elements, profiles, "x", floors)
    assert all("profile" not in element for element in answer["resolved"])
    assert all(sentence.endswith(".") for sentence in answer["problems"])


def test_the_example_shows_what_comes_out() -> None:
    task = yaml.safe_load(plugin.EXAMPLES)[0]["vars"]
    (shown,) = yaml.safe_load("".join(line.partition("#")[2] for line in plugin.EXAMPLES.splitlines() if "#" in line))
    assert resolve(task["wanted"], task["profiles"], "wanted", floors=False) == {"resolved": [shown], "problems": []}
