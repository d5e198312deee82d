# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    DIRECTIONS,
    NO_BANDWIDTH,
    UNLIMITED,
    Bandwidth,
    Limit,
    Wanted,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Write, claim_all
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_warnings import (
    network_warnings,
    smallest_burst,
    warn_of_saved,
    warnings,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Network, Nic, read_network

MAC = "52:54:00:00:00:01"
GOLD = Bandwidth(Limit(5), Limit(6))
GROUPED = Network("prod", "nat", portgroups={"gold": GOLD}, default_portgroup="gold")


def warned(wanted: Wanted, nic: Nic, network: Network | None = None) -> list[str]:
    networks = {network.name: network} if network else {}
    return warnings(claim_all(Domain("d", "u", {"live": (nic,), "config": (nic,)}), [MAC], wanted), networks.get)


@pytest.mark.parametrize(
    ("average", "policed", "burst"),
    [
        (1250, False, 13),  # 10 Mbit/s: tc-htb(8) and tc-tbf(8) say 12 and 10 kilobytes
        (125000, False, 1221),
        (1, False, 2),
        (1, True, 64),
        (125000, True, 1221),
    ],
)
def test_the_smallest_burst_is_what_comes_in_a_tick(average: int, policed: bool, burst: int) -> None:
    assert smallest_burst(average, policed) == burst


def test_a_burst_that_is_too_small_for_its_rate() -> None:
    wanted = Wanted({"inbound": Limit(125000, burst=1220), "outbound": Limit(125000, burst=1221)}, path="policies[1].")
    assert warned(wanted, Nic(MAC, "bridge")) == [
        "policies[1].inbound.burst 1220KiB is below 1221KiB, and 1gbit may not be reached: it should hold what comes "
        "in a tick (rate / HZ, see tc-htb(8), HZ = 100) and a packet of 2KiB. This is so for 52:54:00:00:00:01."
    ]


@pytest.mark.parametrize(
    ("network", "directions"),
    [
        (Network("prod", "nat"), "outbound"),
        (Network("prod", "bridge", bridge="br0"), "outbound"),
        (Network("prod", "bridge"), "inbound"),
        (Network("prod", "private"), "inbound"),
        (Network("prod", "bridge", bridge="ovsbr", openvswitch=True), "inbound outbound"),
    ],
)
def test_a_guest_that_is_off_is_warned_of_as_what_it_will_be(network: Network, directions: str) -> None:
    wanted = Wanted(dict.fromkeys(DIRECTIONS, Limit(10, peak=20, burst=64)))
    off = Domain("d", "u", {"config": (Nic(MAC, "network", network="prod"),)})
    told = warnings(claim_all(off, [MAC], wanted), {"prod": network}.get)
    assert [text.split(".")[0] for text in told] == directions.split()


def test_a_portgroup_can_be_on_open_vswitch_by_itself() -> None:
    """libvirt merges the virtualports of NIC, network and portgroup (networkAllocatePort)."""
    prod = read_network(
        "<network><name>prod</name><forward mode='bridge'/><bridge name='ovsbr'/><portgroup name='plain'/>"
        "<portgroup name='ovs' default='yes'><virtualport type='openvswitch'/></portgroup></network>"
    )
    wanted = Wanted({"outbound": Limit(10, peak=20)})
    for portgroup, device in (
        (None, "on ports of Open vSwitch"),
        ("ovs", "on ports of Open vSwitch"),
        ("plain", "tap"),
    ):
        off = Domain("d", "u", {"config": (Nic(MAC, "network", network="prod", portgroup=portgroup),)})
        (warning,) = warnings(claim_all(off, [MAC], wanted), {"prod": prod}.get)
        assert device in warning


def test_a_policer_drops_what_is_larger_than_its_burst() -> None:
    wanted = Wanted({"inbound": Limit(10, burst=63), "outbound": Limit(10, burst=63)})
    (tap,) = warned(wanted, Nic(MAC, "bridge"))
    assert tap.startswith("outbound.burst 63KiB is below 64KiB, and 80kbit may not be reached")
    assert "a segment of 64KiB, since a policer drops what is larger" in tap
    (macvtap,) = warned(wanted, Nic(MAC, "direct"))
    assert macvtap.startswith("inbound.burst 63KiB")
    (switched,) = warned(wanted, Nic(MAC, "bridge", openvswitch=True))
    assert switched.startswith("inbound.average 80kbit: without a peak it is only guaranteed on ports of Open vSwitch")
    assert not warned(Wanted({"inbound": Limit(10, peak=10)}), Nic(MAC, "bridge", openvswitch=True))


@pytest.mark.parametrize(("kind", "direction"), [("bridge", "inbound"), ("direct", "outbound")])
def test_a_peak_without_a_burst_is_of_no_use_to_a_queue(kind: str, direction: str) -> None:
    wanted = Wanted({direction: Limit(10, peak=20)}, path="policies[2].")
    assert warned(wanted, Nic(MAC, kind)) == [
        f"policies[2].{direction}.peak 160kbit lasts as long as {direction}.burst, and without one tc takes 1600 "
        "bytes, one packet: the average is what holds for 52:54:00:00:00:01."
    ]
    assert not warned(Wanted({direction: Limit(10, peak=20, burst=2)}), Nic(MAC, kind))
    assert not warned(Wanted({direction: Limit(10, peak=10)}), Nic(MAC, kind))


def test_a_network_is_queued_inbound() -> None:
    (told,) = network_warnings({"network 'prod'": Wanted({"inbound": Limit(10, peak=20)})})
    assert told.startswith("inbound.peak 160kbit lasts as long as inbound.burst")
    assert told.endswith("for network 'prod'.")


@pytest.mark.parametrize(("kind", "direction"), [("bridge", "outbound"), ("direct", "inbound")])
def test_a_policer_has_a_burst_of_its_own_that_can_be_less_than_a_packet(kind: str, direction: str) -> None:
    assert warned(Wanted({direction: Limit(1)}), Nic(MAC, kind)) == [
        f"{direction}.average 8kbit: without a burst libvirt gives the policer one of 1KiB, and what is larger, as a "
        "packet of 2KiB, never gets through; give a burst of 64KiB. This is so for 52:54:00:00:00:01."
    ]
    for enough in (Limit(2), Limit(1, burst=64), UNLIMITED):
        assert not warned(Wanted({direction: enough}), Nic(MAC, kind))
    (other,) = {"inbound", "outbound"} - {direction}
    assert not warned(Wanted({other: Limit(1)}), Nic(MAC, kind))
    assert not warned(Wanted({direction: Limit(1, peak=1)}), Nic(MAC, kind, openvswitch=True))


def test_the_largest_burst_is_never_too_small() -> None:
    assert not warned(Wanted({"inbound": Limit(2**32 - 1, burst=4194303)}), Nic(MAC, "bridge"))


def test_a_limit_that_differs_from_the_portgroups() -> None:
    wanted = Wanted({"inbound": Limit(7), "outbound": Limit(6)}, path="policies[0].")
    assert warned(wanted, Nic(MAC, "network", network="prod"), GROUPED) == [
        "policies[0].inbound {average: 56kbit} takes the place of {average: 40kbit} of portgroup 'gold' of network "
        "'prod' for 52:54:00:00:00:01."
    ]


@pytest.mark.parametrize(
    ("wanted", "nic", "network"),
    [
        (Wanted({"inbound": Limit(5)}), Nic(MAC, "network", network="prod", own=GOLD), GROUPED),
        (Wanted(dict.fromkeys(DIRECTIONS, UNLIMITED), absent=True), Nic(MAC, "network", network="prod"), GROUPED),
        (Wanted({"inbound": Limit(7)}), Nic(MAC, "network", network="prod", portgroup="none"), GROUPED),
        (Wanted({"inbound": Limit(7)}), Nic(MAC, "network", network="prod"), None),
        (Wanted({"inbound": Limit(7)}), Nic(MAC, "bridge"), GROUPED),
    ],
)
def test_nothing_to_say_of_a_portgroup(wanted: Wanted, nic: Nic, network: Network | None) -> None:
    assert not warned(wanted, nic, network)


def test_a_warning_is_one_for_all_nics_and_lists_a_few() -> None:
    wanted = Wanted({"outbound": Limit(10, peak=20)})
    claims = []
    for number in range(1000):
        nic = Nic(f"mac{number:04}", "bridge")
        claims += claim_all(Domain(f"d{number}", "u", {"live": (nic,), "config": (nic,)}), [nic.mac], wanted)
    (warning,) = warnings(claims, {}.get)
    assert warning.endswith("mac0018, mac0019 and 980 more.")


def test_a_profile_of_many_policies_is_warned_of_once() -> None:
    claims = []
    for number in range(1000):
        wanted = Wanted({"outbound": Limit(10, peak=20)}, path=f"policies[{number}].", policy=number)
        claims += claim_all(Domain("d", "u", {"live": (Nic(MAC, "bridge"),)}), [MAC], wanted)
    assert warnings(claims, {}.get) == [
        "policies[0].outbound.peak 160kbit (and in 999 more policies): libvirt ignores the outbound peak on tap "
        "devices, the average is what holds for 52:54:00:00:00:01."
    ]


def test_a_saved_guest_will_have_what_it_had() -> None:
    nic = Nic(MAC, "bridge")
    change = Change("slept", "u", nic, {"config": Write(NO_BANDWIDTH, Bandwidth(inbound=Limit(5)))})
    (warning,) = warn_of_saved([change], {"u", "another"})
    assert warning.startswith("These domains will be resumed with the limits that they were saved with")
    assert warning.endswith("run again when they run: slept.")
    assert not warn_of_saved([change], {"another"})
