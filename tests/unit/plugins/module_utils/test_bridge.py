# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridges as data; what the kernel makes of the requests is in the kernel lab."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import BURSTS, RATES, UNLIMITED, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Bridge, bridge_of, difference, shaped
from ansible_collections.virtnet.qos.plugins.module_utils._htb import (
    HtbClass,
    Police,
    class_of,
    class_options,
    longest_burst,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import KIND, OPTIONS, Message, nested
from ansible_collections.virtnet.qos.tests.unit.recordings import recorded

WIDE = 1 << 40


def read(name: str) -> Bridge:
    parts = recorded(f"limited_{name}")
    (device,) = {each.device for each in parts["qdisc"]}
    return bridge_of(device, parts["qdisc"], parts["class"], parts["filter"], parts["received"])


def test_what_libvirt_made_is_read() -> None:
    found = read("bridge")
    assert (found.root, found.ingress, found.filtered, found.shared, found.foreign) == (True, True, True, False, {})
    assert {minor: (each.parent, each.rate, each.ceil) for minor, each in found.classes.items()} == {
        1: (0, 1_000_000, 5_000_000),
        2: (1, 4_800_000, 5_000_000),
        3: (1, 200_000, 5_000_000),
    }
    assert list(found.floors) == [3]
    assert found.police == Police(128_000, 256 * 1024)


def test_a_bridge_with_the_firewalls_filters_only() -> None:
    found = read("checksums")
    assert (found.root, found.filtered, found.classes, found.police) == (True, True, {}, None)


def htb_class(floor: int, parent: int = 1) -> HtbClass:
    return HtbClass(parent, floor * 1000, 5_000_000, 1600, 1600, 25)


LIMITS = st.one_of(
    st.just(UNLIMITED),
    st.builds(
        lambda average, more, burst: Limit(average, more and min(average + more, RATES.largest), burst),
        st.integers(10_000, RATES.largest),
        st.integers(0, 10_000),
        st.integers(0, BURSTS.largest),
    ),
)
BRIDGES = st.builds(
    lambda floors, root, ingress, police: Bridge(
        7,
        root=root or bool(floors),
        classes={3 + n: htb_class(floor) for n, floor in enumerate(floors)}
        | ({1: htb_class(1000, 0), 2: htb_class(900)} if floors else {}),
        ingress=ingress or police,
        police=Police(1000, 1600) if police else None,
    ),
    st.lists(st.integers(1, 1000), max_size=5),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(BRIDGES, st.dictionaries(st.sampled_from(["inbound", "outbound"]), LIMITS), st.booleans())
def test_what_is_as_it_should_be_needs_nothing(bridge: Bridge, wanted: dict[str, Limit], holds: bool) -> None:
    target = shaped(bridge, wanted, holds)
    assert shaped(target, wanted, holds) == target
    assert difference(target, target) == []
    assert bool(difference(bridge, target)) == (target != bridge)


@given(BRIDGES, LIMITS, st.booleans())
def test_floors_are_kept_and_the_rest_is_what_is_left(bridge: Bridge, limit: Limit, holds: bool) -> None:
    target = shaped(bridge, {"inbound": limit}, holds)
    assert {minor: each.rate for minor, each in target.floors.items()} == {
        minor: each.rate for minor, each in bridge.floors.items()
    }
    assert (target.police, target.ingress) == (bridge.police, bridge.ingress)
    if bridge.floors and not limit.unlimited:
        promised = sum(each.rate for each in bridge.floors.values())
        assert target.classes[2].rate + promised == limit.cap * 1000
        assert {each.ceil for each in target.classes.values()} == {limit.cap * 1000}


def test_classes_are_taken_away_from_below_and_the_root_stays_for_filters() -> None:
    limited = shaped(Bridge(7, root=True, filtered=True), {"inbound": Limit(1000)}, False)
    clear = shaped(limited, {"inbound": UNLIMITED}, False)
    assert [each.about for each in difference(limited, clear)] == ["class htb 1:2", "class htb 1:1"]
    alone = replace(limited, filtered=False)
    assert [each.about for each in difference(alone, shaped(alone, {"inbound": UNLIMITED}, False))] == ["qdisc htb 1:"]


@pytest.mark.parametrize("rate", [1000, 125_000_000, WIDE])
@pytest.mark.parametrize("burst", [1600, 131_072, 5_242_880])
def test_a_class_is_read_as_it_was_written(rate: int, burst: int) -> None:
    burst = min(burst, longest_burst(rate))
    wanted = HtbClass(1, rate, 2 * rate, burst, 1600, 85)
    data = nested({KIND: b"htb\0", OPTIONS: class_options(wanted)})
    found = class_of(Message(7, 0x10002, 0x10001, 0, data))
    assert found
    assert (found.parent, found.rate, found.ceil, found.quantum) == (1, rate, 2 * rate, 85)
    assert abs(found.burst - burst) <= rate // 15_625_000 + 1
