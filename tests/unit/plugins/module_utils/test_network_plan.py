# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import NO_BANDWIDTH, Bandwidth, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES
from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Bridge, shaped
from ansible_collections.virtnet.qos.plugins.module_utils._htb import HtbClass
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Nic, read_network
from ansible_collections.virtnet.qos.plugins.module_utils._network_plan import (
    NetworkChange,
    NetworkNow,
    diff,
    interfaces,
    left_out,
    pending_restart,
    plan,
    results,
)
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import parse_networks
from ansible_collections.virtnet.qos.plugins.module_utils._network_xml import (
    portgroup_xml,
    portgroups_of,
    with_bandwidths,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits, Shape

XML = """<network connections='2'>
  <name>prod</name>
  <uuid>81ff0d90-c91e-6742-64da-4a736edb9a9b</uuid>
  <forward mode='route'/>
  <bridge name='virbr7' stp='on' delay='0'/>
  <bandwidth>
    <inbound average='1000' peak='5000' burst='5120'/>
  </bandwidth>
  <portgroup name='web' default='yes' trustGuestRxFilters='yes'>
    <vlan><tag id='42'/></vlan>
    <bandwidth><inbound average='100'/><outbound average='50'/></bandwidth>
  </portgroup>
  <portgroup name='db'><virtualport type='802.1Qbg'><parameters managerid='1'/></virtualport></portgroup>
  <ip address='192.0.2.1' netmask='255.255.255.0'/>
</network>"""
UNLIMITED = XML.replace("<inbound average='1000' peak='5000' burst='5120'/>", "")
WEB = Bandwidth(Limit(100), Limit(50))
MAC = "52:54:00:00:00:01"


def options(**given: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("average", "peak", "burst"))

    def whole(element: dict[str, Any]) -> dict[str, Any]:
        limits = {name: {**nothing, **element[name]} if name in element else None for name in ("inbound", "outbound")}
        return {"state": "present", **element, **limits}

    def network(element: dict[str, Any]) -> dict[str, Any]:
        groups = element.get("portgroups")
        return {
            "prune": False,
            **dict.fromkeys(("update_running", "restart", "force_restart"), False),
            **whole(element),
            "portgroups": groups and [whole(group) for group in groups],
        }

    networks = given.pop("networks", None)
    return {**network({"name": None, **given}), "networks": networks and [network(each) for each in networks]}


def now(**scopes: str) -> NetworkNow:
    xml = scopes or {"live": XML, "config": XML}
    said = {scope: read_network(text) for scope, text in xml.items()}
    portgroups = {scope: portgroups_of(text) for scope, text in xml.items()}
    return NetworkNow("prod", xml, said, portgroups, Bridge(7) if "live" in xml else None)


def planned(
    there: NetworkNow | None = None,
    domains: tuple[Domain, ...] = (),
    scopes: tuple[str, ...] = ("live", "config"),
    **given: Any,
) -> tuple[NetworkChange, list[str]]:
    problems = Problems()
    (wish,) = parse_networks(options(**{"name": "prod", **given}), problems)
    assert not problems.found
    change = plan(wish, there or now(), domains, SCOPES, problems)
    return change, problems.found


def guest(**nic: Any) -> Domain:
    shown = nic.pop("shown", NO_BANDWIDTH)
    each = Nic(MAC, "network", "vnet0", network="prod", shown=shown, own=nic.pop("own", shown), **nic)
    return Domain("web1", "uuid", {"live": (each,), "config": (each,)}, running=True)


def test_all_else_in_a_definition_stays() -> None:
    changed = with_bandwidths(XML, {None: Bandwidth(Limit(7)), "db": WEB, "web": NO_BANDWIDTH})
    network = read_network(changed)
    assert network.bandwidth == Bandwidth(Limit(7))
    assert network.portgroups == {"web": NO_BANDWIDTH, "db": WEB}
    bare = [etree.fromstring(text) for text in (XML, changed)]
    for root in bare:
        etree.strip_elements(root, "bandwidth", with_tail=False)
    before, after = ("".join(etree.tostring(root, encoding="unicode").split()) for root in bare)
    assert before == after


def test_what_programs_noted_in_a_definition_is_written_back_as_they_wrote_it() -> None:
    noted = """<metadata><a:x xmlns:a="urn:a" y="1&#10;2"><![CDATA[<raw> & ]]><!-- c --><?p i?>&#13;</a:x></metadata>"""
    assert noted in with_bandwidths(XML.replace("<forward", f"{noted}<forward"), {"db": WEB})


def test_a_portgroup_is_sent_with_all_that_it_has() -> None:
    sent = etree.fromstring(portgroup_xml(XML, "web", Bandwidth(Limit(7))))
    assert dict(sent.attrib) == {"name": "web", "default": "yes", "trustGuestRxFilters": "yes"}
    assert sent.find("vlan/tag").get("id") == "42"
    assert [dict(each.attrib) for each in sent.find("bandwidth")] == [{"average": "7"}]


def test_each_scope_is_compared_by_itself() -> None:
    there = now(live=XML, config=XML.replace("average='100'", "average='200'"))
    change, problems = planned(there, portgroups=[{"name": "web", "inbound": {"average": "1600kbit"}}])
    assert (problems, dict(change.defined)) == ([], {})
    assert change.running["web"].after == Bandwidth(Limit(200), Limit(50))


def test_what_is_as_it_should_be_is_not_in_it() -> None:
    change, _problems = planned(now(config=XML), inbound={"average": "8mbit", "peak": "40mbit", "burst": "5MiB"})
    assert change.empty
    assert results([change]) == interfaces([change]) == []


def test_the_bridge_is_compared_with_the_kernel_and_not_with_libvirt() -> None:
    change, _problems = planned(inbound={"average": "8mbit", "peak": "40mbit", "burst": "5MiB"})
    assert not change.defined
    assert change.bridge
    assert results([change]) == [
        {
            "name": "prod",
            "portgroup": None,
            "scopes": ["live"],
            "before": {"inbound": {"average": "unlimited"}},
            "after": {"inbound": {"average": "8mbit", "peak": "40mbit", "burst": "5MiB"}},
        }
    ]
    assert diff([change])["after"] == "prod live:\n  inbound: {average: 8mbit, peak: 40mbit, burst: 5MiB}\n"


def test_what_libvirt_goes_on_to_believe() -> None:
    believed = {"inbound": Limit(1000, 5000, 5120)}
    there = replace(now(), bridge=shaped(Bridge(7), believed, True))
    change, _problems = planned(there, inbound={"average": "16mbit"})
    assert pending_restart(change)
    change, _problems = planned(there, outbound={"average": "unlimited"})
    assert not pending_restart(change)
    # Not so where the definition says the same, or there is none: the kernel does something else.
    other = replace(there, bridge=shaped(Bridge(7), {"inbound": Limit(2000)}, True))
    assert pending_restart(planned(other, outbound={"average": "unlimited"})[0])
    transient = replace(now(live=XML), bridge=other.bridge)
    assert pending_restart(planned(transient, outbound={"average": "unlimited"})[0])
    assert not pending_restart(planned(now(config=XML), inbound={"average": "16mbit"})[0])


def test_a_portgroup_that_is_in_one_scope_only() -> None:
    there = now(live=XML.replace("name='db'", "name='other'"), config=XML)
    for group, scope, missing in (("db", "defined", "while it runs"), ("other", "running", "as it is defined")):
        change, problems = planned(there, portgroups=[{"name": group, "inbound": {"average": "8mbit"}}])
        assert problems == []
        assert {name: list(getattr(change, name)) for name in ("defined", "running")} == {
            "defined": [],
            "running": [],
            scope: [group],
        }
        (wish,) = parse_networks(options(name="prod", portgroups=[{"name": group, "state": "present"}]), Problems())
        (told,) = left_out(wish, there, SCOPES)
        assert told.startswith(f"Network 'prod' has no portgroup '{group}' {missing}")
    (wish,) = parse_networks(options(name="prod", portgroups=[{"name": "db", "state": "absent"}]), Problems())
    assert left_out(wish, there, SCOPES) == []


def test_prune_clears_the_portgroups_that_are_not_listed() -> None:
    change, _problems = planned(portgroups=[{"name": "db", "inbound": {"average": "8kbit"}}], prune=True)
    assert {name: write.after for name, write in change.running.items()} == {
        "db": Bandwidth(Limit(1)),
        "web": NO_BANDWIDTH,
    }
    assert planned(portgroups=[], prune=True)[0].running["web"].after == NO_BANDWIDTH


def test_running_guests_get_what_their_portgroup_gives_by_now() -> None:
    web = [{"name": "web", "inbound": {"average": "1600kbit"}}]
    plugged = guest(shown=WEB, own=NO_BANDWIDTH)
    assert planned(domains=(plugged,), portgroups=web)[0].empty is False
    assert not planned(domains=(plugged,), portgroups=web)[0].renewals
    change, _problems = planned(domains=(plugged,), portgroups=web, update_running=True)
    assert interfaces([change]) == [
        {
            "domain": "web1",
            "mac": MAC,
            "target": "vnet0",
            "network": "prod",
            "portgroup": "web",
            "before": {"inbound": {"average": "800kbit"}},
            "after": {"inbound": {"average": "1.6mbit"}},
        }
    ]
    for other in (
        guest(shown=WEB),  # it has one of its own
        guest(portgroup="db"),
        guest(shown=Bandwidth(Limit(200), Limit(50)), own=NO_BANDWIDTH),
    ):
        assert not planned(domains=(other,), portgroups=web, update_running=True)[0].renewals


@pytest.mark.parametrize(
    ("xml", "given", "sentence"),
    [
        (XML, {"portgroups": [{"name": "wep", "inbound": {"average": "8mbit"}}]}, "no such portgroup; it has db, web"),
        (XML.replace("'db'", "'web'"), {"inbound": {"average": "8mbit"}}, "has portgroups of the same name, or more"),
        (
            XML.replace("mode='route'", "mode='private'"),
            {"inbound": {"average": "16mbit"}},
            "inbound: libvirt does not limit a network with forward mode private; limit the NICs of guests instead",
        ),
        (
            XML.replace("mode='route'/>", "mode='bridge'/><virtualport type='openvswitch'/>"),
            {"inbound": {"average": "16mbit"}},
            "inbound: libvirt does not limit a network on an Open vSwitch bridge; limit the NICs of guests instead",
        ),
        (
            XML.replace("mode='route'", "mode='hostdev'"),
            {"portgroups": [{"name": "db", "outbound": {"average": "8mbit"}}]},
            "portgroups[0].outbound: libvirt does not limit a portgroup of a network with forward mode hostdev",
        ),
    ],
)
def test_what_cannot_be(xml: str, given: dict[str, Any], sentence: str) -> None:
    _change, (problem,) = planned(now(config=xml), **given)
    assert sentence in problem


def test_what_is_somebody_elses_matters_only_where_it_is_in_the_way() -> None:
    there = replace(now(config=XML, live=UNLIMITED), bridge=Bridge(7, foreign={"inbound": "qdisc tbf 7:"}))
    change, problems = planned(there, state="absent")
    assert (change.bridge, problems) == (None, [])
    _change, problems = planned(there, inbound={"average": "8mbit"})
    assert problems == [
        "inbound: bridge virbr7 of network 'prod' has qdisc tbf 7:, which is not libvirt's; "
        "take that away first, or restrict the task to affect=config."
    ]


def test_a_scope_that_is_not_there() -> None:
    problems = Problems()
    (wish,) = parse_networks(options(name="prod", inbound={"average": "8mbit"}), problems)
    plan(wish, now(config=XML), (), ["live"], problems)
    plan(wish, now(live=XML), (), ["config"], problems)
    assert problems.found == [
        "affect ['live']: network 'prod' is not running; drop affect, or leave the network out.",
        "affect ['config']: network 'prod' has no persistent definition; drop affect, or leave the network out.",
    ]


def test_an_absent_portgroup_that_is_not_there_needs_nothing() -> None:
    change, problems = planned(portgroups=[{"name": "wep", "state": "absent"}])
    assert (change.empty, problems) == (True, [])


@pytest.mark.parametrize(("average", "fits"), [("4mbit", False), ("unlimited", False), ("8mbit", True)])
def test_what_guests_are_guaranteed_has_to_fit(average: str, fits: bool) -> None:
    promised = guest(shown=Bandwidth(Limit(floor=1000)))
    _change, problems = planned(domains=(promised,), inbound={"average": average})
    assert bool(problems) != fits
    if problems:
        assert f"inbound '{average}': guests on network 'prod' are guaranteed more than that: {MAC} of" in problems[0]


def test_the_floors_of_one_guest_that_is_off_have_to_fit_together() -> None:
    both = guest(shown=Bandwidth(Limit(floor=1000))).nics["config"] * 2
    nics = tuple(replace(nic, mac=f"52:54:00:00:00:0{number}") for number, nic in enumerate(both))
    for average, fits in (("12mbit", False), ("16mbit", True)):
        off = [Domain(name, name, {"config": nics}) for name in ("one", "two")]  # which may run in turn
        assert bool(planned(domains=tuple(off), inbound={"average": average})[1]) != fits


def test_floors_that_did_not_fit_before_are_in_nobodys_way() -> None:
    """That is told, and what gets no lower is done."""
    running = guest(shown=Bandwidth(Limit(floor=9000)))
    off = Domain("off", "off", {"config": running.nics["config"]})
    limited = replace(now(), bridge=shaped(Bridge(7), {"inbound": Limit(1000, 5000, 5120)}, True))
    same = {"average": "8mbit", "peak": "40mbit", "burst": "5MiB"}
    for given in (same, {"average": "48mbit"}):
        change, problems = planned(limited, (running,), inbound=given)
        assert problems == []
        assert change.warnings[0].startswith(f"inbound {given.get('peak', '48mbit')}: guests on network 'prod' are")
        assert change.warnings[0].endswith(f"guaranteed more than that: {MAC} of domain 'web1' 72mbit.")
    assert planned(limited, (running,), inbound={"average": "32mbit"})[1]
    # Only what runs counts where only the kernel's limit gets lower, and only what is defined where it does not run.
    faster = replace(limited, bridge=shaped(Bridge(7), {"inbound": Limit(6000)}, True))
    for there in (faster, now()):
        assert planned(there, (off,), inbound=same)[1] == []
        assert planned(there, (running,), inbound=same)[1]
    assert planned(now(config=XML), (off,), inbound={"average": "32mbit"})[1]
    assert planned(now(config=XML), (off,), inbound=same)[1] == []
    # A definition without a limit promises nothing, and one that is transient has none.
    assert planned(now(config=UNLIMITED), (off,), inbound={"average": "32mbit"})[1] == []
    transient = replace(now(live=XML), bridge=faster.bridge)
    assert planned(transient, (off,), inbound={"average": "32mbit"})[1] == []
    assert planned(transient, (running,), inbound={"average": "32mbit"})[1]


def test_the_repair_of_what_guests_without_a_floor_share_is_seen_in_the_diff() -> None:
    wanted = {"inbound": Limit(1000, 5000, 5120)}
    floor = HtbClass(1, 2_000_000, 5_000_000, 1600, 1600, 85)
    made = shaped(replace(Bridge(7, root=True), classes={3: floor}), wanted, True)
    spoilt = replace(made, classes={**made.classes, 2: replace(made.classes[2], rate=1_000_000)})
    limits = Limits(sent=Shape(1_000_000, 5_000_000, 5120 * 1024))
    there = replace(now(), bridge=spoilt, limits=limits)
    change, _problems = planned(there, inbound={"average": "8mbit", "peak": "40mbit", "burst": "5MiB"})
    both = diff([change])
    assert [both[side].splitlines()[1].partition(" ceil")[0] for side in ("before", "after")] == [
        "  inbound: {class 1:2: rate 8000000bit",
        "  inbound: {class 1:2: rate 24000000bit",
    ]


def test_beside_a_list_there_is_nothing_for_one() -> None:
    problems = Problems()
    given = options(networks=[{"name": "a", "state": "absent"}], prune=True, restart=True, state="absent")
    parse_networks(given, problems)
    assert [problem.split(": ")[0] for problem in problems.found] == ["state 'absent'", "prune True", "restart True"]


def test_what_is_wrong_with_the_list() -> None:
    problems = Problems()
    parse_networks(
        options(
            networks=[
                {"name": "a", "inbound": {"average": "100"}},
                {"name": "a", "portgroups": [{"name": "p"}, {"name": "p", "state": "absent"}]},
                {"name": "b"},
            ]
        ),
        problems,
    )
    assert [problem.split(":")[0] for problem in problems.found] == [
        "networks[0].inbound.average '100'",
        "networks[1].portgroups[1].name 'p'",
        "networks[1].portgroups[0].state 'present'",
        "networks[2].state 'present'",
        "networks[1].name 'a'",
    ]
