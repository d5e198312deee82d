# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import NO_BANDWIDTH, Bandwidth, Limit, Wanted
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import claim_all
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_floors import check_floors, rising
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Network, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

PROD = Network("prod", "nat", Bandwidth(inbound=Limit(1000)))


def wanted(floor: int) -> Wanted:
    return Wanted({"inbound": Limit(floor=floor)}, path="policies[2].", policy=2)


def guest(name: str, floor: int = 0, *, running: bool = True, transient: bool = False, network: str = "prod") -> Domain:
    has = Bandwidth(inbound=Limit(floor=floor)) if floor else NO_BANDWIDTH
    nic = Nic(f"mac of {name}", "network", network=network, shown=has, own=has)
    scopes = [scope for scope, there in (("live", running), ("config", not transient)) if there]
    return Domain(name, f"uuid of {name}", dict.fromkeys(scopes, (nic,)), running=running)


def told(domains: list[Domain], floors: dict[str, int], network: Network = PROD) -> list[str]:
    claims = []
    for domain in domains:
        if domain.name in floors:
            claims += claim_all(domain, [f"mac of {domain.name}"], wanted(floors[domain.name]))
    problems = Problems()
    check_floors(domains, claims, {"prod": network}.get, problems)
    assert not problems.found or rising(claims)
    return problems.found


def test_floors_that_do_not_fit_together_are_refused_with_the_numbers() -> None:
    live, config = told([guest("a"), guest("b", 300), guest("c", 9, network="test")], {"a": 701})
    assert live == (
        "policies[2].inbound.floor '5.608mbit': the floors of the NICs on network 'prod' would add up to 8.008mbit in "
        "the running guests, and it has 8mbit inbound to share out: mac of a of domain 'a' 5.608mbit, "
        "mac of b of domain 'b' 2.4mbit; lower some of them, or raise the network's inbound average."
    )
    assert "in the persistent definitions" in config


def test_floors_that_just_fit() -> None:
    assert not told([guest("a"), guest("b", 300)], {"a": 700})


def test_what_counts_is_the_planned_floor() -> None:
    assert not told([guest("a", 900), guest("b", 100)], {"a": 500, "b": 500})


def test_the_peak_is_what_there_is_where_the_network_has_one() -> None:
    peaked = replace(PROD, bandwidth=Bandwidth(inbound=Limit(1000, peak=2000)))
    assert not told([guest("a"), guest("b", 1000)], {"a": 1000}, peaked)
    assert told([guest("a"), guest("b", 1000)], {"a": 1001}, peaked)


def test_guests_that_are_off_count_only_where_a_floor_is_wanted_for_them() -> None:
    off = [guest("a", running=False), guest("b", 800, running=False)]
    assert not told(off, {"a": 300})
    (config,) = told(off, {"a": 300, "b": 800})
    assert "in the persistent definitions" in config


def test_a_transient_guest_counts_beside_definitions() -> None:
    (config,) = told([guest("a", running=False), guest("b", 800, transient=True)], {"a": 300})
    assert "mac of b of domain 'b' 6.4mbit" in config


@pytest.mark.parametrize("floor", [300, 200])
def test_what_was_too_much_before_and_is_not_raised_is_left(floor: int) -> None:
    assert not told([guest("a", 300), guest("b", 800)], {"a": floor})


def test_a_floor_that_does_not_fit_alone_is_not_told_twice() -> None:
    assert not told([guest("a"), guest("b", 800)], {"a": 1001})


def test_many_nics_are_not_all_listed() -> None:
    domains = [guest(f"g{number:03}", transient=True) for number in range(500)]
    live = told(domains, {domain.name: 10 for domain in domains})[0]
    assert "and 480 more" in live
    assert len(live) < 2000
