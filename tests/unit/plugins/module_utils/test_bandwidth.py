# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    BURSTS,
    DIRECTIONS,
    NO_BANDWIDTH,
    RATES,
    UNLIMITED,
    Bandwidth,
    Limit,
    from_parameters,
    parse_limit,
    parse_wanted,
    to_parameters,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import (
    Nic,
    nic_with,
    read_network,
    read_nics,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

RATE_STEPS = st.integers(RATES.smallest, RATES.largest)
BURST_STEPS = st.integers(BURSTS.smallest, BURSTS.largest)


@st.composite
def limits(draw: st.DrawFn, floor: bool = False) -> Limit:
    """Every limit that the options can express."""
    guaranteed = draw(st.just(0) | RATE_STEPS) if floor else 0
    if draw(st.booleans()):
        return Limit(floor=guaranteed)
    average = draw(RATE_STEPS)
    peak = draw(st.just(0) | st.integers(average, RATES.largest))
    return Limit(average, peak, draw(st.just(0) | BURST_STEPS), min(guaranteed, peak or average))


bandwidths = st.builds(Bandwidth, limits(floor=True), limits())


def spelled(**options: str) -> dict[str, str | None]:
    """Options as Ansible hands them over: all of them, None where omitted."""
    return {**dict.fromkeys(("average", "peak", "burst", "floor")), **options}


def xml(bandwidth: Bandwidth) -> str:
    """The `<bandwidth>` that libvirt formats: attributes only where they are not 0."""
    directions = ""
    for name in DIRECTIONS:
        limit = bandwidth[name]
        values = {"average": limit.average, "peak": limit.peak, "burst": limit.burst, "floor": limit.floor}
        attributes = "".join(f" {key}='{value}'" for key, value in values.items() if value)
        directions += f"<{name}{attributes}/>" if attributes else ""
    return f"<bandwidth>{directions}</bandwidth>"


@given(limits(floor=True))
def test_what_is_printed_can_be_pasted_back(limit: Limit) -> None:
    problems = Problems()
    assert parse_limit(spelled(**limit.text()), problems, "inbound") == limit
    assert not problems.found


@given(bandwidths)
def test_xml_round_trip(bandwidth: Bandwidth) -> None:
    nic = f"<interface type='bridge'><mac address='52:54:00:00:00:01'/>{xml(bandwidth)}</interface>"
    (read,) = read_nics(f"<domain><devices>{nic}</devices></domain>")
    assert read.own == read.shown == bandwidth


@given(bandwidths)
def test_parameters_round_trip(bandwidth: Bandwidth) -> None:
    parameters = to_parameters(bandwidth, list(DIRECTIONS))
    assert from_parameters(parameters) == bandwidth
    assert "outbound.floor" not in parameters


@given(bandwidths, bandwidths, st.sampled_from(["inbound", "outbound"]))
def test_only_the_directions_asked_for_are_sent(wanted: Bandwidth, had: Bandwidth, direction: str) -> None:
    other = "outbound" if direction == "inbound" else "inbound"
    # libvirt replaces a direction that is sent as a whole.
    after = from_parameters({**to_parameters(had, [other]), **to_parameters(wanted, [direction])})
    assert after[direction] == wanted[direction]
    assert after[other] == had[other]


def test_the_upper_half_of_the_unsigned_range_comes_back_negative_from_libvirt_python() -> None:
    assert from_parameters({"inbound.average": -1}).inbound == Limit(average=2**32 - 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<bandwidth/>",
        "<bandwidth>\n</bandwidth>",
        "<bandwidth><inbound average='0'/></bandwidth>",
        "<bandwidth><inbound average='0' peak='5' burst='7'/><outbound average='0'/></bandwidth>",
    ],
)
def test_the_spellings_of_none_are_one(text: str) -> None:
    (nic,) = read_nics(f"<domain><devices><interface type='user'>{text}</interface></devices></domain>")
    assert nic.own == NO_BANDWIDTH
    assert nic.own.unlimited


def test_a_nic_is_read_with_everything_that_names_it() -> None:
    (nic,) = read_nics(
        """<domain><devices><interface type='bridge'>
        <mac address='52:54:00:AB:00:01'/><source network='ovs' portgroup='web' bridge='br0'/>
        <virtualport type='openvswitch'/><target dev='vnet3'/><alias name='net0'/>
        <bandwidth><inbound average="125" peak="250" burst="64" floor="12"/></bandwidth>
        </interface></devices></domain>"""
    )
    assert (nic.mac, nic.type, nic.target, nic.alias) == ("52:54:00:ab:00:01", "bridge", "vnet3", "net0")
    assert (nic.network, nic.portgroup, nic.openvswitch) == ("ovs", "web", True)
    assert nic.own.inbound == Limit(125, 250, 64, 12)
    assert str(nic) == "52:54:00:ab:00:01 (vnet3, net0, bridge)"


@pytest.mark.parametrize(
    ("text", "forward"), [("", "none"), ("<forward/>", "nat"), ("<forward mode='hostdev'/>", "hostdev")]
)
def test_the_forward_mode_of_a_network(text: str, forward: str) -> None:
    assert read_network(f"<network><name>n</name>{text}</network>").forward == forward


@pytest.mark.parametrize(
    ("text", "kind", "openvswitch"),
    [
        ("<forward mode='nat'/><bridge name='virbr0'/>", "network", False),
        ("<forward mode='bridge'/><bridge name='br0'/>", "network", False),
        ("<forward mode='bridge'><interface dev='eth0'/></forward>", "direct", False),
        ("<forward mode='vepa'><interface dev='eth0'/></forward>", "direct", False),
        ("<forward mode='hostdev'><pf dev='eth0'/></forward>", "hostdev", False),
        ("<forward mode='bridge'/><bridge name='ovs'/><virtualport type='openvswitch'/>", "network", True),
    ],
)
def test_what_a_nic_of_a_network_turns_out_to_be(text: str, kind: str, openvswitch: bool) -> None:
    network = read_network(f"<network><name>n</name>{text}</network>")
    nic = network.plugged(Nic("52:54:00:00:00:01", "network", network="n"))
    assert (nic.type, nic.openvswitch) == (kind, openvswitch)
    running = Nic("52:54:00:00:00:01", "bridge", network="n")
    assert network.plugged(running) is running


def test_what_a_network_gives_to_a_nic() -> None:
    network = read_network(
        """<network><name>n</name><bandwidth><inbound average='1000'/></bandwidth>
        <portgroup name='web'><bandwidth><inbound average='5'/></bandwidth></portgroup>
        <portgroup name='rest' default='yes'><bandwidth><outbound average='6'/></bandwidth></portgroup></network>"""
    )

    def given_to(portgroup: str) -> Bandwidth:
        source = f"<source network='n'{portgroup}/>"
        (nic,) = read_nics(f"<domain><devices><interface type='network'>{source}</interface></devices></domain>")
        return network.given_to(nic)

    assert network.bandwidth.inbound == Limit(1000)
    assert given_to(" portgroup='web'") == Bandwidth(inbound=Limit(5))
    assert given_to("") == Bandwidth(outbound=Limit(6))
    # libvirt takes a portgroup that does not exist as none, and does not fall back to the default one.
    assert given_to(" portgroup='nope'") == NO_BANDWIDTH


def test_a_nic_is_taken_out_of_its_domain_without_its_bandwidth() -> None:
    nics = "".join(
        f"<interface type='bridge'><mac address='52:54:00:00:00:0{n}'/><source bridge='br{n}'/>"
        "<bandwidth><inbound average='5'/></bandwidth><model type='virtio'/></interface>\n"
        for n in (1, 2)
    )
    xml = nic_with(NO_BANDWIDTH, f"<domain><devices>{nics}</devices></domain>", "52:54:00:00:00:02")
    assert xml.strip() == (
        '<interface type="bridge"><mac address="52:54:00:00:00:02"/><source bridge="br2"/>'
        '<model type="virtio"/></interface>'
    )
    assert nic_with(NO_BANDWIDTH, "<domain><devices/></domain>", "52:54:00:00:00:02") == ""


def test_an_entity_in_a_domain_is_not_resolved() -> None:
    domain = "<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><domain><title>&e;</title></domain>"
    assert read_nics(domain) == ()


@given(limits(floor=True), limits(), st.sets(st.sampled_from(DIRECTIONS), min_size=1), bandwidths)
def test_an_omitted_direction_stays_and_a_named_one_is_replaced(
    inbound: Limit, outbound: Limit, named: set[str], before: Bandwidth
) -> None:
    wanted = Bandwidth(inbound, outbound)
    options: dict[str, Any] = {direction: spelled(**wanted[direction].text()) for direction in named}
    problems = Problems()
    after = parse_wanted({"state": "present", **options}, problems).of(before)
    assert not problems.found
    for direction in DIRECTIONS:
        assert after[direction] == (wanted if direction in named else before)[direction]


@given(bandwidths)
def test_absent_clears_both(before: Bandwidth) -> None:
    assert parse_wanted({"state": "absent", "inbound": None}, Problems()).of(before) == NO_BANDWIDTH


@pytest.mark.parametrize("spelling", ["unlimited", "Unlimited", " unlimited "])
def test_unlimited_clears(spelling: str) -> None:
    problems = Problems()
    assert parse_limit(spelled(average=spelling), problems, "inbound") == UNLIMITED
    assert not problems.found


@pytest.mark.parametrize(
    ("options", "sentences"),
    [
        ({}, ["inbound.average: a direction that is named needs an average; give it a rate"]),
        ({"average": "100"}, ["inbound.average '100': a number without a unit"]),
        ({"average": "100Mbps"}, ["inbound.average '100Mbps': 'Mbps' is read in two ways; write 100mbit for megabits"]),
        ({"average": "100mbyte"}, ["inbound.average '100mbyte': 'mbyte' is not a unit of a rate"]),
        ({"average": "fast"}, ["inbound.average 'fast': not a rate"]),
        ({"average": ""}, ["inbound.average '': not a rate"]),
        ({"average": "-1mbit"}, ["inbound.average '-1mbit': a rate cannot be negative"]),
        ({"average": "0"}, ["inbound.average '0': a rate cannot be zero; write 'unlimited' to clear the direction."]),
        ({"average": "0.00 mbit"}, ["inbound.average '0.00 mbit': a rate cannot be zero; write 'unlimited'"]),
        ({"average": "1kbit"}, ["inbound.average '1kbit': libvirt keeps rates as a whole number of kB/s"]),
        ({"average": "12kbit"}, ["inbound.average '12kbit'", "the nearest two are 8kbit or 16kbit."]),
        ({"average": "34.4tbit"}, ["inbound.average '34.4tbit'", "the largest is 34359738.36mbit"]),
        ({"average": "100mbit", "burst": "1kB"}, ["inbound.burst '1kB': libvirt keeps bursts", "smallest is 1KiB"]),
        ({"average": "1mbit", "burst": "4GiB"}, ["inbound.burst '4GiB'", "the largest is 4194303KiB"]),
        ({"average": "100mbit", "burst": "0KiB"}, ["inbound.burst '0KiB': a size cannot be zero"]),
        ({"average": "100mbit", "peak": "0mbit"}, ["inbound.peak '0mbit': a rate cannot be zero"]),
        (
            {"average": "100mbit", "peak": "50mbit"},
            ["inbound.peak '50mbit': it is below the average of 100mbit; raise the peak"],
        ),
        ({"peak": "50mbit"}, ["inbound.peak '50mbit': it needs an average; give inbound.average a rate"]),
        ({"floor": "8kbit", "burst": "1KiB"}, ["inbound.burst '1KiB': it needs an average"]),
        (
            {"average": "unlimited", "peak": "50mbit", "burst": "1KiB"},
            ["inbound.peak '50mbit': it cannot stand beside average=unlimited", "inbound.burst '1KiB': it cannot"],
        ),
        (
            {"average": "8mbit", "floor": "16mbit"},
            ["inbound.floor '16mbit': it guarantees more than the 8mbit the NIC may use; lower the floor"],
        ),
    ],
)
def test_what_is_wrong_with_a_direction(options: dict[str, str], sentences: list[str]) -> None:
    problems = Problems()
    parse_limit(spelled(**options), problems, "inbound")
    assert problems.found
    for sentence in sentences:
        assert sentence in " ".join(problems.found)


def test_everything_that_is_wrong_is_said_at_once_and_once() -> None:
    problems = Problems()
    parse_limit(spelled(average="1", peak="2", burst="3", floor="4"), problems, "policies[3].inbound")
    assert [text.split(" ")[0] for text in problems.found] == [
        f"policies[3].inbound.{name}" for name in ("average", "peak", "burst", "floor")
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"state": "present"}, "state 'present': state=present needs inbound, outbound or both; name a direction"),
        ({"state": "absent", "inbound": spelled()}, "inbound: not allowed with state=absent; drop it"),
        ({"state": "absent", "outbound": spelled()}, "outbound: not allowed with state=absent; drop it"),
    ],
)
def test_what_is_wrong_with_the_options_together(options: dict[str, Any], sentence: str) -> None:
    problems = Problems()
    parse_wanted(options, problems)
    assert len(problems.found) == 1
    assert sentence in problems.found[0]
