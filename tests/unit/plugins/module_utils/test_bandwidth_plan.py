# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    DIRECTIONS,
    NO_BANDWIDTH,
    UNLIMITED,
    Bandwidth,
    Limit,
    Wanted,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Write, claim_all, select
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change, diff, plan, results, unmet
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_warnings import warnings
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Network, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

limits = st.just(UNLIMITED) | st.builds(Limit, st.integers(1, 5), st.just(0) | st.integers(5, 7), st.integers(0, 2))
bandwidths = st.builds(Bandwidth, limits, limits)
wishes = st.builds(Wanted, st.dictionaries(st.sampled_from(DIRECTIONS), limits, min_size=1)) | st.just(
    Wanted(dict.fromkeys(DIRECTIONS, UNLIMITED), absent=True)
)


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    """Domains that run or not, are persistent or not, with NICs that are in both scopes or in one."""
    scopes = draw(st.sampled_from([("live",), ("config",), ("live", "config")]))
    nics = {
        scope: tuple(
            Nic(mac, "bridge", shown=own, own=own)
            for mac, own in draw(st.dictionaries(st.sampled_from(["m1", "m2", "m3"]), bandwidths)).items()
        )
        for scope in scopes
    }
    return Domain("d", "u", nics)


def no_network(name: str) -> Network | None:
    return None


def planned(domain: Domain, wanted: Wanted) -> list[Change]:
    problems = Problems()
    changes = plan(claim_all(domain, select(domain, "all", problems), wanted), no_network, problems)
    assert not problems.found
    return changes


def applied(domain: Domain, changes: Sequence[Change]) -> Domain:
    def after(scope: str, nic: Nic) -> Nic:
        for change in changes:
            if change.nic.mac == nic.mac and scope in change.writes:
                own = change.writes[scope].after
                return replace(nic, shown=own, own=own)
        return nic

    return domain._replace(nics={scope: tuple(after(scope, n) for n in nics) for scope, nics in domain.nics.items()})


@given(domains(), wishes)
def test_applying_the_plan_gives_what_is_wanted_and_nothing_else(domain: Domain, wanted: Wanted) -> None:
    after = applied(domain, planned(domain, wanted))
    for scope, nics in domain.nics.items():
        for before, now in zip(nics, after.nics[scope]):
            for direction in DIRECTIONS:
                assert now.own[direction] == wanted.limits.get(direction, before.own[direction])


@given(domains(), wishes)
def test_the_plan_of_the_result_is_empty(domain: Domain, wanted: Wanted) -> None:
    changes = planned(domain, wanted)
    after = applied(domain, changes)
    assert planned(after, wanted) == []
    assert all(not unmet(change, after) for change in changes)


@given(domains(), wishes)
def test_a_plan_writes_only_what_differs(domain: Domain, wanted: Wanted) -> None:
    for change in planned(domain, wanted):
        assert change.writes
        for write in change.writes.values():
            assert write.directions
            assert all(write.before[d] != write.after[d] for d in write.directions)
            assert set(write.directions) <= set(wanted.limits)


@given(domains(), wishes)
def test_results_and_diff_say_the_same_as_the_plan(domain: Domain, wanted: Wanted) -> None:
    changes = planned(domain, wanted)
    entries = results(changes)
    told = [(entry["mac"], scope) for entry in entries for scope in entry["scopes"]]
    assert sorted(told) == sorted((change.nic.mac, scope) for change in changes for scope in change.writes)
    texts = diff(changes)
    assert (texts["before"] == texts["after"]) == (not changes)
    assert texts["before"].count("\n") == texts["after"].count("\n")


def nic(number: int, kind: str = "bridge", **more: Any) -> Nic:
    return Nic(f"52:54:00:00:00:0{number}", kind, **more)


DOMAIN = Domain(
    "web",
    "u",
    {
        "live": (nic(1, target="vnet0", alias="net0"), nic(2, target="vnet1", alias="net1"), nic(3, target="vnet0")),
        "config": (nic(1), nic(2, alias="ua-up"), nic(4)),
    },
)


@pytest.mark.parametrize(
    ("interface", "numbers"),
    [
        ("52:54:00:00:00:01", [1]),
        (" 52:54:00:00:00:01 ", [1]),
        ("vnet1", [2]),
        ("net1", [2]),
        ("ua-up", [2]),
        ("52:54:00:00:00:04", [4]),
        ("all", [1, 2, 3, 4]),
        ("ALL", [1, 2, 3, 4]),
    ],
)
def test_a_nic_is_selected_by_whatever_names_it(interface: str, numbers: list[int]) -> None:
    problems = Problems()
    assert select(DOMAIN, interface, problems) == [nic(number).mac for number in numbers]
    assert not problems.found


def test_a_mac_is_found_in_any_case() -> None:
    domain = Domain("d", "u", {"config": (Nic("52:54:00:ab:cd:ef", "bridge"),)})
    assert select(domain, "52:54:00:AB:cd:EF", Problems()) == ["52:54:00:ab:cd:ef"]


@pytest.mark.parametrize(
    ("domain", "interface", "sentences"),
    [
        (DOMAIN, "vnet9", ["interface 'vnet9': domain 'web' has no such NIC; it has 52:54:00:00:00:01 (vnet0, net0,"]),
        (DOMAIN, "52:54:00:00:00:09", ["interface '52:54:00:00:00:09': domain 'web' has no such NIC"]),
        (DOMAIN, "41135085296", ["has no such NIC; it has 52", 'digits only; write "52:54:00:12:34:56", in quotes.']),
        (DOMAIN, "52-54-00-00-00-01", ['libvirt writes MACs with colons; write "52:54:00:00:00:01".']),
        (DOMAIN, "525400000001", ['libvirt writes MACs with colons; write "52:54:00:00:00:01".']),
        (Domain("d", "u", {"live": ()}), "vnet0", ["domain 'd' has no such NIC; it has none at all"]),
        (
            DOMAIN,
            "vnet0",
            [
                "interface 'vnet0': it names more than one NIC of domain 'web': ",
                ": 52:54:00:00:00:01 (vnet0, net0, bridge), 52:54:00:00:00:03 (vnet0, bridge); ",
                "name the one you mean by its MAC",
            ],
        ),
        (
            Domain("d", "u", {"config": (nic(1, target="a"), nic(1, target="b"), nic(2))}),
            "all",
            [
                "the persistent definition of domain 'd' has NICs with the same MAC: 52:54:00:00:00:01 (a, bridge), ",
                "(b",
            ],
        ),
        (
            Domain("d", "u", {"live": (nic(1, target="a"), nic(1, target="b"))}),
            "b",
            ["running guest of domain 'd' has"],
        ),
    ],
)
def test_a_selector_that_does_not_name_nics_is_refused(domain: Domain, interface: str, sentences: list[str]) -> None:
    problems = Problems()
    assert select(domain, interface, problems) == []
    assert len(problems.found) == 1
    for sentence in sentences:
        assert sentence in problems.found[0]


@pytest.mark.parametrize("name", ["41135085296", "deadbeef0123", "7"])
def test_a_device_can_be_called_like_a_mac_without_colons(name: str) -> None:
    domain = Domain("d", "u", {"live": (nic(1, target=name),)})
    assert select(domain, name, Problems()) == [nic(1).mac]


def test_a_mac_that_is_there_twice_does_not_matter_to_others() -> None:
    domain = Domain("d", "u", {"config": (nic(1, target="a"), nic(1, target="b"), nic(2))})
    assert select(domain, nic(2).mac, Problems()) == [nic(2).mac]


CAPPED = Network("prod", "nat", Bandwidth(inbound=Limit(1000, peak=5000)))
GROUP = Bandwidth(Limit(5), Limit(6))
GROUPED = Network("prod", "nat", portgroups={"web": GROUP})
ABSENT = Wanted(dict.fromkeys(DIRECTIONS, UNLIMITED), absent=True)
CLEARED = Wanted({"outbound": UNLIMITED})
OUTWARD = Bandwidth(outbound=Limit(6))
INBOUND = Wanted({"inbound": Limit(100)})
FLOOR = Wanted({"inbound": Limit(floor=200)})


def problems_of(scope: str, nic: Nic, wanted: Wanted, network: Network | None = None) -> list[str]:
    problems = Problems()
    networks = {network.name: network} if network else {}
    plan(claim_all(Domain("d", "u", {scope: (nic,)}), [nic.mac], wanted), networks.get, problems)
    return problems.found


@pytest.mark.parametrize("scope", ["live", "config"])
@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("user", "attach the NIC to a network or a bridge"),
        ("vhostuser", "limit the port in the virtual switch"),
        ("hostdev", "limit the virtual function on the host"),
        ("vdpa", "limit the device on the host"),
        ("mcast", "use a NIC of type network, bridge, direct, ethernet"),
    ],
)
def test_a_type_that_libvirt_does_not_limit(scope: str, kind: str, remedy: str) -> None:
    (problem,) = problems_of(scope, nic(1, kind), INBOUND)
    assert problem.startswith("interface '52:54:00:00:00:01': 52:54:00:00:00:01 (")
    assert f"is of type {kind}, which libvirt does not limit" in problem
    assert remedy in problem
    # The XML of such a NIC shows a limit it was started with, though nothing enforces it.
    has = Bandwidth(inbound=Limit(100))
    assert problems_of(scope, nic(1, kind, shown=has, own=has), INBOUND)
    # What is not limited and shall not be is as it should be.
    assert not problems_of(scope, nic(1, kind), Wanted(dict.fromkeys(DIRECTIONS, UNLIMITED), absent=True))
    assert not problems_of(scope, nic(1, kind), Wanted({"inbound": UNLIMITED}))


@pytest.mark.parametrize("kind", ["user", "vhostuser"])
@pytest.mark.parametrize(("clears", "said"), [(ABSENT, "state absent"), (CLEARED, "outbound.average unlimited")])
def test_what_nobody_enforces_nor_takes_away_is_left_with_a_warning(kind: str, clears: Wanted, said: str) -> None:
    """qemuDomainSetInterfaceParameters refuses to clear it, as it refuses to set it."""
    stale = nic(1, kind, own=Bandwidth(Limit(5)))
    domain = Domain("d", "u", {"live": (stale,), "config": (stale,)})
    assert planned(domain, clears) == []
    assert warnings(claim_all(domain, [stale.mac], clears), no_network) == [
        f"{said}: libvirt neither enforces the limit in the definition of a NIC of type "
        f"{kind} nor takes it away; take it out with virsh edit if it disturbs. This is so for 52:54:00:00:00:01."
    ]


def test_a_network_that_hands_out_virtual_functions() -> None:
    (problem,) = problems_of("config", nic(1, "network", network="sriov"), INBOUND, Network("sriov", "hostdev"))
    assert "is of type hostdev, which libvirt does not limit" in problem


def test_a_definition_on_such_a_network_can_be_cleared() -> None:
    stale = nic(1, "network", network="vfs", own=Bandwidth(Limit(5)))
    absent = Wanted(dict.fromkeys(DIRECTIONS, UNLIMITED), absent=True)
    assert problems_of("config", stale, absent, Network("vfs", "hostdev")) == []


@pytest.mark.parametrize("forward", ["none", "nat", "route", "open"])
def test_a_floor_that_can_be_guaranteed(forward: str) -> None:
    assert not problems_of("live", nic(1, "network", network="prod"), FLOOR, replace(CAPPED, forward=forward))


@pytest.mark.parametrize("scope", ["live", "config"])
@pytest.mark.parametrize(
    ("kind", "network", "sentence"),
    [
        (nic(1, "bridge"), None, "is of type bridge, and a floor needs type network"),
        (nic(1, "network", network="prod"), None, "is on network 'prod', which does not exist"),
        (
            nic(1, "bridge", network="prod"),
            replace(CAPPED, forward="bridge"),
            "with forward mode bridge, and a floor needs none, nat, route, open; drop the floor",
        ),
        (
            nic(1, "network", network="prod"),
            GROUPED,
            "is on network 'prod', which has no inbound average, and a floor needs one; set one on",
        ),
        (
            nic(1, "network", network="prod"),
            replace(CAPPED, bandwidth=Bandwidth(inbound=Limit(199))),
            "which has only 1.592mbit inbound to share out; lower the floor",
        ),
    ],
)
def test_a_floor_that_cannot(scope: str, kind: Nic, network: Network | None, sentence: str) -> None:
    (problem,) = problems_of(scope, kind, FLOOR, network)
    assert problem.startswith("inbound.floor '1.6mbit': 52:54:00:00:00:01 (")
    assert sentence in problem


@pytest.mark.parametrize("scope", ["live", "config"])
class TestPortgroup:
    @staticmethod
    def nic(scope: str, own: Bandwidth = NO_BANDWIDTH) -> Nic:
        shown = own if scope == "config" or not own.unlimited else GROUP
        return nic(1, "network", network="prod", portgroup="web", shown=shown, own=own)

    def test_a_limit_in_one_direction_would_take_the_other_away(self, scope: str) -> None:
        (problem,) = problems_of(scope, self.nic(scope), INBOUND, GROUPED)
        assert problem.startswith("outbound: 52:54:00:00:00:01 (network) in the ")
        assert "is given outbound {average: 48kbit} by its portgroup, which a limit of its own takes away" in problem
        assert "name outbound too, with that value to keep it or with average=unlimited" in problem

    def test_both_directions_named_are_taken(self, scope: str) -> None:
        assert not problems_of(scope, self.nic(scope), Wanted({"inbound": Limit(9), "outbound": Limit(6)}), GROUPED)
        assert not problems_of(scope, self.nic(scope), Wanted({"inbound": Limit(9), "outbound": UNLIMITED}), GROUPED)

    def test_a_nic_that_has_its_own_has_nothing_to_lose(self, scope: str) -> None:
        own = Bandwidth(outbound=Limit(9))
        assert not problems_of(scope, self.nic(scope, own), INBOUND, GROUPED)

    @pytest.mark.parametrize("had", [Bandwidth(inbound=Limit(9)), Bandwidth(Limit(9), Limit(6))])
    def test_giving_up_its_own_would_bring_it_back_in_a_direction_that_is_not_named(
        self, scope: str, had: Bandwidth
    ) -> None:
        wanted = Wanted({"inbound": UNLIMITED})
        told = problems_of(scope, self.nic(scope, had), wanted, replace(GROUPED, portgroups={"web": OUTWARD}))
        if had.outbound.unlimited:
            (problem,) = told
            assert problem.startswith("outbound: 52:54:00:00:00:01 (network) in the ")
            assert "by its portgroup as soon as it has nothing of its own, though outbound is not named" in problem
        else:
            assert told == []

    def test_unlimited_cannot_override_it(self, scope: str) -> None:
        (problem,) = problems_of(scope, self.nic(scope), Wanted({"inbound": UNLIMITED}), GROUPED)
        assert problem.startswith("inbound.average 'unlimited': 52:54:00:00:00:01 (network) in the ")
        assert "by its portgroup, from which a NIC cannot be exempted; change the portgroup" in problem

    def test_absent_gives_the_nic_back_to_it(self, scope: str) -> None:
        absent = Wanted(dict.fromkeys(DIRECTIONS, UNLIMITED), absent=True)
        assert not problems_of(scope, self.nic(scope), absent, GROUPED)
        domain = Domain("d", "u", {scope: (self.nic(scope, Bandwidth(inbound=Limit(9))),)})
        problems = Problems()
        (change,) = plan(claim_all(domain, [nic(1).mac], absent), {"prod": GROUPED}.get, problems)
        assert not problems.found
        # Only a running guest has to be plugged in anew for that.
        assert change.renew == (scope == "live")
        (change,) = plan(claim_all(domain, [nic(1).mac], absent), {"prod": CAPPED}.get, problems)
        assert not change.renew


HAS = Bandwidth(Limit(50), Limit(60))


@pytest.mark.parametrize(
    ("kind", "wanted", "stays", "renew"),
    [
        ("bridge", Wanted({"outbound": UNLIMITED}), True, True),
        ("bridge", ABSENT, True, True),
        ("bridge", Wanted({"inbound": UNLIMITED}), True, False),
        ("bridge", Wanted({"outbound": Limit(70)}), True, False),
        ("direct", Wanted({"inbound": UNLIMITED}), True, True),
        ("direct", Wanted({"outbound": UNLIMITED}), True, False),
        ("bridge", Wanted({"outbound": UNLIMITED}), False, False),
        ("bridge", ABSENT, False, False),
    ],
)
def test_a_policer_that_would_stay_is_taken_off(kind: str, wanted: Wanted, stays: bool, renew: bool) -> None:
    nics = (nic(1, kind, shown=HAS, own=HAS),)
    problems = Problems()
    domain = Domain("d", "u", {"live": nics, "config": nics}, policer_stays=stays)
    (change,) = plan(claim_all(domain, [nic(1).mac], wanted), no_network, problems)
    assert not problems.found
    assert change.renew is renew
    (shut_off,) = plan(claim_all(domain._replace(nics={"config": nics}), [nic(1).mac], wanted), no_network, problems)
    assert not shut_off.renew


def test_open_vswitch_has_no_policer() -> None:
    nics = (nic(1, openvswitch=True, shown=HAS, own=HAS),)
    domain = Domain("d", "u", {"live": nics}, policer_stays=True)
    (change,) = plan(claim_all(domain, [nic(1).mac], ABSENT), no_network, Problems())
    assert not change.renew


def test_a_policer_that_the_portgroup_puts_on_again() -> None:
    grouped = nic(1, "network", network="prod", portgroup="web", shown=GROUP)
    wanted = Wanted({"inbound": Limit(9), "outbound": UNLIMITED})
    problems = Problems()
    domain = Domain("d", "u", {"live": (grouped,)}, policer_stays=True)
    plan(claim_all(domain, [grouped.mac], wanted), {"prod": GROUPED}.get, problems)
    (problem,) = problems.found
    assert problem.startswith("outbound.average 'unlimited': 52:54:00:00:00:01 (network) in the running guest")
    assert "is policed outbound by its portgroup, which this libvirt does not take away" in problem


def test_a_macvtap_of_a_pool_cannot_be_plugged_anew() -> None:
    pooled = nic(1, "direct", network="pool", shown=HAS, own=HAS)
    pool = Network("pool", "bridge")
    problems = Problems()
    domain = Domain("d", "u", {"live": (pooled,)}, policer_stays=True)
    plan(claim_all(domain, [pooled.mac], ABSENT), {"pool": pool}.get, problems)
    (problem,) = problems.found
    assert "is a macvtap of network 'pool', whose limit libvirt does not take off while it runs" in problem
    # Before libvirt 12.4 it can be cleared by its parameters.
    assert not problems_of("live", pooled, ABSENT, pool)


def test_what_is_wrong_in_both_scopes_is_said_once() -> None:
    domain = Domain("d", "u", {"live": (nic(1, "user", target="vnet0"),), "config": (nic(1, "user"),)})
    problems = Problems()
    plan(claim_all(domain, [nic(1).mac], INBOUND), no_network, problems)
    (problem,) = problems.found
    named = "52:54:00:00:00:01 (vnet0, user) in the running guest and the persistent definition of domain 'd'"
    assert f"{named} is of type user" in problem


def test_a_peak_is_ignored_in_the_direction_that_is_policed() -> None:
    both = Wanted({"inbound": Limit(50, 100, 64), "outbound": Limit(100, 200, 64)}, path="policies[3].")
    networks = {"pool": Network("pool", "private")}  # its NICs are defined as of type network
    live = (nic(1, "network"), nic(2, "direct", network="pool"), nic(3, "bridge", openvswitch=True))
    domain = Domain("d", "u", {"live": live, "config": tuple(replace(nic, type="network") for nic in live[:2])})
    tap, macvtap = warnings(claim_all(domain, [nic.mac for nic in live[:2]], both), networks.get)
    assert tap.startswith("policies[3].outbound.peak 1.6mbit: libvirt ignores the outbound peak on tap devices")
    assert tap.endswith("holds for 52:54:00:00:00:01.")
    assert macvtap.startswith("policies[3].inbound.peak 800kbit: libvirt ignores the inbound peak on macvtap devices")
    assert macvtap.endswith("holds for 52:54:00:00:00:02.")
    assert warnings(claim_all(domain, [live[0].mac], Wanted({"inbound": Limit(50, 100, 64)})), no_network) == []
    switched = warnings(claim_all(domain, [live[2].mac], both), no_network)
    assert [text.split(":")[0] for text in switched] == [
        "policies[3].inbound.peak 800kbit",
        "policies[3].outbound.peak 1.6mbit",
    ]


def test_scopes_that_change_alike_are_one_entry() -> None:
    before = Bandwidth(outbound=Limit(9))
    alike = {
        "live": Write(before, Bandwidth(Limit(5), Limit(9))),
        # It differs in a direction that is not touched.
        "config": Write(NO_BANDWIDTH, Bandwidth(inbound=Limit(5))),
    }
    (entry,) = results([Change("d", "u", nic(1), alike)])
    assert entry["scopes"] == ["live", "config"]
    assert entry["before"] == {"inbound": {"average": "unlimited"}}
    assert entry["after"] == {"inbound": {"average": "40kbit"}}

    unlike = {**alike, "config": Write(Bandwidth(inbound=Limit(1)), Bandwidth(inbound=Limit(5)))}
    assert [entry["scopes"] for entry in results([Change("d", "u", nic(1), unlike)])] == [["live"], ["config"]]


def test_the_diff_is_for_people_and_its_limits_can_be_pasted_back() -> None:
    write = Write(NO_BANDWIDTH, Bandwidth(Limit(12500, 25000, 1024, 125), Limit(12500)))
    change = Change("web", "u", nic(1, target="vnet0", alias="net0"), {"live": write, "config": write})
    assert diff([change]) == {
        "before": "web 52:54:00:00:00:01 (vnet0, net0) live+config:\n"
        "  inbound: {average: unlimited}\n"
        "  outbound: {average: unlimited}\n",
        "after": "web 52:54:00:00:00:01 (vnet0, net0) live+config:\n"
        "  inbound: {average: 100mbit, peak: 200mbit, floor: 1mbit, burst: 1MiB}\n"
        "  outbound: {average: 100mbit}\n",
    }
    assert diff([]) == {"before": "", "after": ""}


def test_what_a_thousand_nics_return_is_not_cut_by_awx() -> None:
    write = Write(NO_BANDWIDTH, Bandwidth(Limit(125000, 250000, 4096), Limit(125000)), policy=999)
    changes = [
        Change(
            f"tenant-{n:04}", "u", nic(1, "network", target=f"vnet{n}", alias="net0"), {"live": write, "config": write}
        )
        for n in range(1000)
    ]
    result = {"interfaces": results(changes), "diff": diff(changes)}
    assert len(json.dumps(result)) < 600_000
    for text in result["diff"].values():
        assert text.count(" live+config:\n") == 200
        assert text.endswith("\nand 800 more, which the result has under interfaces\n")
    assert "more, which" not in diff(changes[:200])["after"]


def test_what_does_not_read_back_is_told() -> None:
    write = Write(NO_BANDWIDTH, Bandwidth(inbound=Limit(5)))
    change = Change("d", "u", nic(1), {"live": write, "config": write})
    found = unmet(change, Domain("d", "u", {"live": (nic(1),)}))
    assert "accepted the change of the running guest, but inbound reads back differently" in found[0]
    assert "accepted the change of the persistent definition, but the NIC is gone" in found[1]
