# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a network is to be started anew. That it is, and what becomes of guests, Molecule shows on a real host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import NO_BANDWIDTH, Bandwidth, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES
from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Bridge, shaped
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain
from ansible_collections.virtnet.qos.plugins.module_utils._network_plan import (
    NetworkChange,
    NetworkNow,
    diff,
    pending_restart,
    plan,
)
from ansible_collections.virtnet.qos.plugins.module_utils._network_restart import with_restart
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import parse_networks
from ansible_collections.virtnet.qos.plugins.module_utils._network_xml import unlike
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.tests.unit.plugins.module_utils.test_network_plan import (
    WEB,
    XML,
    guest,
    now,
    options,
)

SAME = {"inbound": {"average": "8mbit", "peak": "40mbit", "burst": "5MiB"}}  # as XML says
OTHER = {"inbound": {"average": "16mbit"}}


def planned(there: NetworkNow, *domains: Domain, **given: Any) -> tuple[NetworkChange, list[str]]:
    problems = Problems()
    (wish,) = parse_networks(options(**{"name": "prod", "restart": True, **given}), problems)
    assert not problems.found
    change = plan(wish, there, domains, SCOPES, problems)
    return with_restart(change, wish, domains, problems), problems.found


def test_only_where_libvirt_believes_something_else() -> None:
    change, problems = planned(now(), **SAME)
    assert (change.restarts, problems) == (False, [])
    change, problems = planned(now(), **OTHER)
    assert (change.restarts, change.restart, problems) == (True, [], [])
    assert diff([change])["after"].splitlines()[-2:] == ["prod as libvirt knows it:", "  inbound: {average: 16mbit}"]
    # What was changed earlier, while it ran, counts as well.
    assert planned(now(live=XML.replace("'1000'", "'999'"), config=XML), **SAME)[0].restarts
    assert not planned(now(config=XML), **OTHER)[0].restarts  # it does not run
    change, (problem,) = planned(now(live=XML), **OTHER)
    assert not change.restarts
    assert problem.startswith("restart True: network 'prod' is transient, and is gone when it is stopped; drop it")
    assert planned(now(live=XML.replace("'1000'", "'999'"), config=XML))[0].restarts  # nothing else is asked for


def test_what_is_plugged_in_is_cut_off_only_where_that_is_said() -> None:
    there = replace(now(), ports=["vnet0", "veth7"])
    _change, problems = planned(there, guest(), **OTHER)
    assert problems == [
        "restart True: network 'prod' is in use by vnet0 of domain 'web1', veth7, which a restart cuts off; drop it, "
        "since the limits are in force without a restart, or set force_restart=true as well."
    ]
    change, problems = planned(there, guest(), force_restart=True, **OTHER)
    assert (len(change.restart or ()), problems) == (1, [])
    host_bridge = XML.replace("mode='route'", "mode='bridge'")
    assert not planned(replace(now(live=host_bridge, config=host_bridge), ports=["eth0"]), **OTHER)[1]


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        ({"bridge": None}, "restart True: the bridge of network 'prod' is not on this host"),
        (
            {"sorting": "VLANs"},
            "force_restart True: network 'prod' has VLANs, which would not be there for what is plugged in again",
        ),
    ],
)
def test_what_could_not_be_plugged_in_again(there: dict[str, Any], sentence: str) -> None:
    _change, (problem,) = planned(replace(now(), **there), guest(), force_restart=True, **OTHER)
    assert problem.startswith(sentence)


def test_floors_that_would_not_fit_after_it() -> None:
    promised = guest(shown=Bandwidth(Limit(floor=1000)))
    there = now(live=XML, config=XML.replace("'1000' peak='5000' burst='5120'", "'500'"))
    _change, (problem,) = planned(there, promised, force_restart=True)
    assert problem.startswith("restart '4mbit': guests on network 'prod' are guaranteed more than that")
    # Nothing gets lower, but all is plugged in again; a guest that is off is not.
    less = there.xml["config"]
    slow = replace(now(live=XML, config=less), bridge=shaped(Bridge(7), {"inbound": Limit(500)}, True))
    (problem,) = planned(slow, promised, force_restart=True, inbound={"average": "4mbit"})[1]
    assert problem.startswith("restart '4mbit'")
    off = Domain("off", "off", {"config": promised.nics["config"]})
    assert planned(slow, off, force_restart=True, inbound={"average": "4mbit"})[1] == []
    (problem,) = planned(now(), promised, force_restart=True, inbound={"average": "4mbit"})[1]
    assert problem.startswith("inbound '4mbit'")


def test_running_nics_have_what_their_portgroup_gives_after_it() -> None:
    there = now(live=XML, config=XML.replace("average='100'", "average='200'"))
    defined = Bandwidth(Limit(200), Limit(50))
    change, _problems = planned(there, guest(shown=WEB, own=NO_BANDWIDTH), force_restart=True, **OTHER)
    assert [renewal.after for renewal in change.renewals] == [defined]
    assert {name: write.after for name, write in change.running.items()} == {"web": defined}
    for other in (guest(shown=WEB), guest(shown=defined, own=NO_BANDWIDTH), guest(portgroup="nope")):
        assert planned(there, other, force_restart=True, **OTHER)[0].renewals == []


def test_nothing_is_pending_then() -> None:
    change, _problems = planned(now(), **OTHER)
    assert pending_restart(change)  # libvirt still believes it when the plan is made
    assert change.to_start_with == Bandwidth(Limit(2000))


NAT = """<network connections='2'><name>prod</name><uuid>81ff0d90-c91e-6742-64da-4a736edb9a9b</uuid>
  <forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>
  <bridge name='virbr7' stp='on' delay='0'/><mac address='52:54:00:aa:bb:cc'/>
  <bandwidth><inbound average='999'/></bandwidth>
  <dns><host ip='192.0.2.7'><hostname>seven</hostname></host></dns>
  <ip address='192.0.2.1' netmask='255.255.255.0'><dhcp><range start='192.0.2.9' end='192.0.2.99'/>
    <host mac='52:54:00:00:00:01' ip='192.0.2.11'/><host mac='52:54:00:00:00:02' ip='192.0.2.12'/></dhcp></ip>
  <portgroup name='web'><bandwidth><inbound average='100'/></bandwidth></portgroup></network>"""
# The same as it is defined: without what libvirt adds to what runs, and with other limits.
DEFINED = (
    NAT.replace(" connections='2'", "")
    .replace("<forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>", "<forward mode='nat'/>")
    .replace("'999'", "'1000'")
    .replace("<bandwidth><inbound average='100'/></bandwidth>", "")
    .replace("<uuid>", "<metadata><a xmlns='urn:a'/></metadata><uuid>")
)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("192.0.2.1'", "192.0.5.1'", "ip"),
        ("<host mac='52:54:00:00:00:02' ip='192.0.2.12'/>", "", "ip"),
        ("mode='nat'", "mode='route'", "forward"),
        ("<forward mode='nat'/>", "<forward mode='nat'><nat><port start='500' end='600'/></nat></forward>", "forward"),
        ("<forward mode='nat'/>", "<forward mode='nat'><nat ipv6='yes'/></forward>", "forward"),
        ("virbr7", "virbr8", "bridge"),
        ("52:54:00:aa:bb:cc", "52:54:00:aa:bb:cd", "mac"),
        (">seven<", ">eight<", "dns"),
        ("<network", "<network ipv6='yes'", "network"),
        ("name='web'", "name='web' default='yes'", "portgroup 'web'"),
        ("name='web'", "name='db'", "portgroup 'db', portgroup 'web'"),
        ("</network>", "<domain name='x'/><mtu size='9000'/></network>", "domain, mtu"),
    ],
)
def test_what_else_it_would_bring_into_force_is_refused(old: str, new: str, named: str) -> None:
    assert old in DEFINED
    there = now(live=NAT, config=DEFINED.replace(old, new))
    change, (problem,) = planned(there, force_restart=True)
    assert change.restarts
    assert problem == (
        f"restart True: it would bring more into force than limits in network 'prod', which is defined otherwise than "
        f"it runs ({named}); start it anew by hand when its guests may be cut off (virsh net-destroy, net-start), or "
        "define what runs (virsh net-edit)."
    )
    # Without a restart that is nobody's business.
    assert planned(there, restart=False, **OTHER)[1] == []


@pytest.mark.parametrize(
    ("live", "defined"),
    [
        (NAT, DEFINED),
        (NAT, NAT.replace("'999'", "'1000'")),
        (
            NAT.replace("<host mac='52:54:00:00:00:02' ip='192.0.2.12'/>", "").replace(
                "</dhcp>", "<host mac='52:54:00:00:00:02' ip='192.0.2.12'/></dhcp>"
            ),
            DEFINED,
        ),
        (
            XML.replace("mode='route'/>", "mode='route' dev='eth0'><interface dev='eth0' connections='1'/></forward>"),
            XML.replace("mode='route'/>", "dev='eth0' mode='route'><interface dev='eth0'/></forward>"),
        ),
        (
            XML.replace("mode='route'/>", "mode='hostdev' dev='v0'><pf dev='p'/><interface dev='v0'/></forward>"),
            XML.replace("mode='route'/>", "mode='hostdev'><pf dev='p'/></forward>"),
        ),
    ],
)
def test_what_libvirt_adds_to_what_runs_is_not_in_the_way(live: str, defined: str) -> None:
    assert unlike(live, defined) == []


def test_how_without_whether() -> None:
    problems = Problems()
    parse_networks(options(name="prod", force_restart=True, **OTHER), problems)
    assert problems.found == ["force_restart True: it says how to restart; set restart as well, or drop it."]
