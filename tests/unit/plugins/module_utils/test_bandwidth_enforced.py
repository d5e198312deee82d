# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import NO_BANDWIDTH, Bandwidth, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_enforced import Kernel, of_network, of_nic
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Nic
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Enforced, Limits, Other, Shape

MAC = "52:54:00:00:00:04"
TAP = Nic(MAC, "bridge", "vnet0", bridge="br0")
MACVTAP = Nic(MAC, "direct", "vnet0")
FAST, SLOW = Shape(1_000_000, 2_000_000, 131_072), Shape(77_000, 77_000, 78_848)
PROMISED = Bandwidth(Limit(1000, 2000, 128), Limit(77))


def kernel(sent: Enforced = None, received: Enforced = None) -> Kernel:
    return Kernel({"vnet0": Limits(sent, received)})


def agree(found: dict[str, Any]) -> tuple[Any, Any]:
    return found["inbound"]["agrees"], found["outbound"]["agrees"]


def test_a_tap_is_the_other_way_round() -> None:
    assert of_nic(TAP, PROMISED, kernel(FAST, SLOW)) == {
        "inbound": {"average": "8mbit", "peak": "16mbit", "burst": "128KiB", "agrees": True},
        "outbound": {"average": "616kbit", "burst": "77KiB", "agrees": True},
    }
    assert agree(of_nic(TAP, PROMISED, kernel(SLOW, FAST))) == (False, False)


def test_a_macvtap_is_not() -> None:
    turned = Bandwidth(PROMISED.outbound, PROMISED.inbound)
    assert agree(of_nic(MACVTAP, turned, kernel(FAST, SLOW))) == (True, True)
    assert agree(of_nic(MACVTAP, PROMISED, kernel(FAST, SLOW))) == (False, False)


@pytest.mark.parametrize(
    ("promised", "sent", "agrees"),
    [
        (Limit(), None, True),
        (Limit(), FAST, False),
        (Limit(1000), None, False),
        (Limit(1000), Other("qdisc tbf 8001:"), None),
        (Limit(1000), Shape(1_000_000, 1_000_000, 1600), True),  # the burst that tc chose
        (Limit(1000), Shape(1_000_000, 2_000_000, 1600), False),
        (Limit(1000, 2000), Shape(1_000_000, 1_000_000, 1600), False),
        (Limit(1000, 1000), Shape(1_000_000, 1_000_000, 1600), True),
        (Limit(1000), Shape(1_000_001, 1_000_001, 1600), False),
        (Limit(1000), Shape(1_024_000, 1_024_000, 1600), False),
        (Limit(4_294_968), Shape(4_294_968_000, 4_294_968_000, 5894), True),
        (Limit(4_294_968), Shape(2**32 - 1, 2**32 - 1, 5894), False),
        (Limit(125_000, 0, 1024), Shape(125_000_000, 125_000_000, 1_048_448), True),  # tc 6.1: whole microseconds
        (Limit(125_000, 0, 1024), Shape(125_000_000, 125_000_000, 1_048_300), False),
        (Limit(1000, 0, 128), Shape(1_000_000, 1_000_000, 131_074), True),
        (Limit(1000, 0, 128), Shape(1_000_000, 1_000_000, 128_000), False),
        # 4 MiB at 1 kB/s take longer than the kernel can count.
        (Limit(1, 0, 4096), Shape(1000, 1000, 274_878), False),
    ],
)
def test_a_queue_agrees(promised: Limit, sent: Enforced, agrees: bool | None) -> None:
    found = of_nic(TAP, Bandwidth(promised), kernel(sent))
    assert agree(found) == (agrees, True)


@pytest.mark.parametrize(
    ("promised", "received", "agrees"),
    [
        (Limit(), None, True),
        (Limit(), SLOW, False),  # what libvirt 12.4 leaves behind
        (Limit(77), None, False),
        (Limit(77, 200), SLOW, True),  # libvirt ignores the peak
        (Limit(77, 0, 77), SLOW, True),
        (Limit(77, 0, 78), SLOW, False),
        (Limit(78), SLOW, False),
    ],
)
def test_a_policer_agrees(promised: Limit, received: Enforced, agrees: bool) -> None:
    assert agree(of_nic(TAP, Bandwidth(outbound=promised), kernel(None, received))) == (True, agrees)


@pytest.mark.parametrize(
    ("nic", "found", "agrees", "note"),
    [
        (TAP, Kernel(), (None, None), "there is no device vnet0 in this network namespace"),
        (Nic(MAC, "bridge"), Kernel(), (None, None), "it has no device"),
        (TAP, Kernel(unknown="libvirt runs on another host"), (None, None), "libvirt runs on another host"),
        (
            Nic(MAC, "bridge", "vnet0", openvswitch=True),
            kernel(FAST, SLOW),
            (None, None),
            "Open vSwitch limits its ports itself",
        ),
        (
            Nic(MAC, "user", "vnet0"),
            kernel(FAST, SLOW),
            (False, False),
            "libvirt does not limit NICs of type user",
        ),
        (TAP, kernel(Other("qdisc tbf 8001:"), SLOW), (None, True), "qdisc tbf 8001: is not libvirt's"),
    ],
)
def test_what_cannot_be_known(nic: Nic, found: Kernel, agrees: tuple[Any, Any], note: str) -> None:
    said = of_nic(nic, PROMISED, found)
    assert (agree(said), said["note"]) == (agrees, note)
    assert said["inbound"]["average"] is None


def test_nothing_is_promised_to_what_is_not_limited() -> None:
    said = of_nic(Nic(MAC, "vhostuser"), Bandwidth(Limit(1000)), Kernel())
    assert agree(said) == (False, None)


@pytest.mark.parametrize(
    ("promised", "bridge", "agrees", "floor"),
    [
        (200, Limits(FAST, None, {MAC: 200_000}), True, "1.6mbit"),
        (200, Limits(FAST, None, {MAC: 100_000}), False, "800kbit"),
        (200, Limits(FAST), False, None),
        (0, Limits(FAST, None, {MAC: 200_000}), False, "1.6mbit"),
        (0, Limits(FAST, None, {"52:54:00:00:00:05": 200_000}), True, None),
        (200, None, None, None),
        (0, None, True, None),
    ],
)
def test_a_floor_is_on_the_bridge(promised: int, bridge: Limits | None, agrees: bool | None, floor: str | None) -> None:
    nic = Nic(MAC, "network", "vnet0", network="prod", bridge="virbr0")
    found = Kernel({"vnet0": Limits(), **({"virbr0": bridge} if bridge else {})})
    said = of_nic(nic, Bandwidth(Limit(floor=promised)), found)
    assert agree(said) == (agrees, True)
    assert said["inbound"].get("floor") == floor
    # A cap that does not agree is not made good by a bridge that is not known.
    assert agree(of_nic(nic, Bandwidth(Limit(5, floor=promised)), found))[0] is False


def test_a_network() -> None:
    there = Kernel({"virbr0": Limits(FAST, SLOW)})
    assert agree(of_network("virbr0", PROMISED, there)) == (True, True)
    assert agree(of_network("virbr0", NO_BANDWIDTH, there)) == (False, False)
    assert of_network("virbr1", PROMISED, there)["note"] == "there is no device virbr1 in this network namespace"
