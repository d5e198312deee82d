# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""policies, affect and require_match by the module's own main(), against libvirt's test driver."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _libvirt_host
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host
from ansible_collections.virtnet.qos.plugins.modules import virt_iface_bandwidth
from ansible_collections.virtnet.qos.tests.unit.driver import CAPPED, Run, four_ways, host, refused, runner, state

libvirt = pytest.importorskip("libvirt")

NOVA = """<title>Shop</title><metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
  <nova:flavor name='m1.small'/></nova:instance></metadata>"""


def domain_xml(name: str, number: int, about: str = "", network: str = "default") -> str:
    """Two NICs: on a bridge (52:54:00:00:NUMBER:01) and on a virtual network (:02)."""
    mac = f"<mac address='52:54:00:00:{number:02}"
    nics = (
        f"<interface type='bridge'>{mac}:01'/><source bridge='br0'/></interface>"
        f"<interface type='network'>{mac}:02'/><source network='{network}'/></interface>"
    )
    head = f"<domain type='test'><name>{name}</name>{about}<memory>65536</memory><os><type>hvm</type></os>"
    return f"{head}<devices>{nics}</devices></domain>"


@pytest.fixture
def connection() -> Iterator[Any]:
    """Running web and db, cold which is shut off, brief which is transient, and test that the driver brings along."""
    running = [domain_xml("web", 1, NOVA), domain_xml("db", 2, network="capped")]
    with host(CAPPED, running=running, off=[domain_xml("cold", 3)], transient=[domain_xml("brief", 4)]) as connection:
        yield connection


@pytest.fixture
def run(connection: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(virt_iface_bandwidth, capfd, monkeypatch)


def touched(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (entry["domain"], entry["mac"][-5:], "+".join(entry["scopes"]), entry["policy"])
        for entry in result["interfaces"]
    ]


def inbound(**limit: str) -> dict[str, Any]:
    return {"inbound": limit}


SMALL = inbound(average="80kbit")
LARGE = inbound(average="8mbit")


def test_the_first_policy_that_fits_decides_over_a_whole_host(run: Run, connection: Any) -> None:
    policies = [
        {"match": {"domain": "web", "bridge": "br0"}, **LARGE},
        {"match": {"domain": ["w*", "cold"]}, **SMALL},
        {"match": {"network": "capped"}, "outbound": {"average": "80kbit"}},
    ]
    untouched = connection.lookupByName("brief").XMLDesc(0)
    result = four_ways(run, connection, policies=policies)
    assert touched(result) == [
        ("cold", "03:01", "config", 1),
        ("cold", "03:02", "config", 1),
        ("db", "02:02", "live+config", 2),
        ("web", "01:01", "live+config", 0),
        ("web", "01:02", "live+config", 1),
    ]
    assert result["warned"] == result["notes"] == []
    assert connection.lookupByName("brief").XMLDesc(0) == untouched
    entry = result["interfaces"][3]
    assert entry["after"] == {"inbound": {"average": "8mbit"}}


def test_every_nic_of_the_host(run: Run, connection: Any) -> None:
    result = four_ways(run, connection, policies=[{"match": {"domain": "*"}, **SMALL}])
    names = {entry["domain"]: entry["scopes"] for entry in result["interfaces"]}
    assert names == {
        "brief": ["live"],
        "cold": ["config"],
        "db": ["live", "config"],
        "test": ["live", "config"],
        "web": ["live", "config"],
    }


@pytest.mark.parametrize(
    "match",
    [
        {"title": "Sh*"},
        {"metadata": "nova:flavor@name=m1.*"},
        {"mac": ["52:54:00:00:01:*"]},
        {"domain": "web", "title": "Shop", "metadata": ["x:y=*", "*:flavor*=m1.small"]},
    ],
)
def test_a_guest_by_what_it_is(run: Run, connection: Any, match: dict[str, Any]) -> None:
    result = four_ways(run, connection, policies=[{"match": match, **SMALL}])
    assert touched(result) == [("web", "01:01", "live+config", 0), ("web", "01:02", "live+config", 0)]


def test_a_nic_by_the_bridge_of_its_network_also_when_it_is_off(run: Run, connection: Any) -> None:
    policies = [{"match": {"bridge": "virbr7"}, **SMALL}]
    assert touched(run(check=True, policies=policies)) == [("db", "02:02", "live+config", 0)]
    connection.lookupByName("db").destroy()
    assert touched(run(check=True, policies=policies)) == [("db", "02:02", "config", 0)]


def test_absent_and_unlimited(run: Run, connection: Any) -> None:
    run(policies=[{"match": {"domain": "web"}, **SMALL, "outbound": {"average": "80kbit"}}])
    policies = [
        {"match": {"mac": "52:54:00:00:01:01"}, "state": "absent"},
        {"match": {"domain": "web"}, **inbound(average="unlimited")},
    ]
    result = four_ways(run, connection, policies=policies)
    first, second = result["interfaces"]
    assert sorted(first["after"]) == ["inbound", "outbound"]
    assert second["after"] == {"inbound": {"average": "unlimited"}}


def test_a_thousand_policies_are_read_as_one(run: Run, connection: Any) -> None:
    policies = [{"match": {"domain": f"guest{number}"}, **SMALL} for number in range(1000)]
    result = run(policies=[*policies, {"match": {"domain": "cold"}, **SMALL}])
    assert touched(result) == [("cold", "03:01", "config", 1000), ("cold", "03:02", "config", 1000)]
    (warning,) = result["warned"]
    assert "and 980 more (no NIC on this host fits)" in warning


def test_no_policies_do_nothing(run: Run, connection: Any) -> None:
    assert four_ways(run, connection, policies=[]) == {
        "changed": False,
        "interfaces": [],
        "notes": [],
        "diff": {"before": "", "after": ""},
        "warned": [],
    }


def test_a_policy_without_a_nic_is_warned_of(run: Run, connection: Any) -> None:
    policies = [
        {"match": {"domain": "cold"}, **SMALL},
        {"match": {"domain": "c*"}, **SMALL},
        {"match": {"domain": "x"}},
    ]
    result = run(policies=[*policies[:2], {**policies[2], **SMALL}])
    assert result["changed"] is True
    assert result["warned"] == [
        "Policies that claim no NIC: policies[2] (no NIC on this host fits), "
        "policies[1] (what it fits is claimed by policies[0])."
    ]


def test_a_policy_without_a_nic_is_refused_where_that_is_asked_for(run: Run, connection: Any) -> None:
    before = state(connection)
    policies = [{"match": {"domain": "cold"}, **SMALL}, {"match": {"domain": "x"}, **SMALL}]
    result = run(policies=policies, require_match=True)
    assert result["failed"] is True
    assert result["msg"].startswith("policies[1].match: no NIC on this host fits it; correct it, drop the policy")
    assert state(connection) == before
    assert run(policies=policies[:1], require_match=True)["changed"] is True


@pytest.mark.parametrize(
    ("affect", "expected"),
    [
        (["live"], [("brief", "04:01", "live", 0), ("web", "01:01", "live", 0)]),
        (["config"], [("cold", "03:01", "config", 0), ("web", "01:01", "config", 0)]),
    ],
)
def test_affect_restricts_policies(run: Run, connection: Any, affect: list[str], expected: list[Any]) -> None:
    other = [0, libvirt.VIR_DOMAIN_XML_INACTIVE][affect == ["live"]]
    before = connection.lookupByName("web").XMLDesc(other)
    policies = [{"match": {"domain": ["brief", "cold", "web"], "bridge": "br0"}, **SMALL}]
    assert touched(four_ways(run, connection, policies=policies, affect=affect)) == expected
    assert connection.lookupByName("web").XMLDesc(other) == before


@pytest.mark.parametrize("affect", [["live"], ["config"]])
def test_affect_restricts_one_domain(run: Run, connection: Any, affect: list[str]) -> None:
    result = four_ways(run, connection, domain="web", interface="testnet0", affect=affect, **SMALL)
    assert [entry["scopes"] for entry in result["interfaces"]] == [affect]


def test_a_nic_that_is_only_in_the_other_scope(run: Run, connection: Any) -> None:
    """A NIC that is plugged in for as long as the guest runs, and one that it gets with its next start."""
    running = connection.lookupByName("web")
    connection.defineXML(
        running.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).replace("52:54:00:00:01:01", "52:54:00:00:01:03")
    )
    for number, there, other in (("01", "live", "config"), ("03", "config", "live")):
        mac = f"52:54:00:00:01:{number}"
        result = run(domain="web", interface=mac, affect=[other], **SMALL)
        assert result["failed"] is True
        place = {"live": "running guest", "config": "persistent definition"}[other]
        assert result["msg"].startswith(f"affect ['{other}']: NIC {mac} of domain 'web' is not in its {place}; drop")
        assert run(domain="web", interface=mac, **SMALL)["interfaces"][0]["scopes"] == [there]
    four_ways(run, connection, policies=[{"match": {"domain": "web"}, **LARGE}])


def test_affect_reads_nothing_else(run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    describe = libvirt.virDomain.XMLDesc

    def describing(self: Any, flags: int = 0) -> str:
        asked.append((self.name(), flags))
        return describe(self, flags)

    monkeypatch.setattr(libvirt.virDomain, "XMLDesc", describing)
    run(policies=[{"match": {"domain": ["c*", "web", "brief"]}, **SMALL}], affect=["config"], check=True)
    # The policies cannot be for db and test, and brief has no definition.
    config = libvirt.VIR_DOMAIN_XML_INACTIVE
    assert sorted(asked) == [("cold", config), ("web", config)]


def test_no_call_too_many(run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What 1000 NICs cost is what libvirt is asked: each scope of each domain once, and once more where it changed."""
    counted: collections.Counter[str] = collections.Counter()

    def counting(where: Any, name: str) -> Callable[..., Any]:
        method = getattr(where, name)

        def called(*arguments: Any) -> Any:
            counted[name] += 1
            return method(*arguments)

        return called

    asked = ("XMLDesc", "interfaceParameters", "setInterfaceParameters", "isActive", "isPersistent", "jobStats")
    for where, name in (*((libvirt.virDomain, name) for name in asked), (_libvirt_host, "set_interface_parameters")):
        monkeypatch.setattr(where, name, counting(where, name))
    domains = {"domain": ["cold", "web"]}
    # Both NICs of cold, which is off, and of web, which runs: three scopes are read, and read back. libvirt is asked
    # for what the NIC of a network has of its own once the running guest shows a limit, be it the portgroup's.
    run(policies=[{"match": domains, **SMALL}])
    assert counted == {"XMLDesc": 6, "interfaceParameters": 1, "set_interface_parameters": 6, "jobStats": 2}
    counted.clear()
    run(policies=[{"match": domains, **SMALL}])
    assert counted == {"XMLDesc": 3, "interfaceParameters": 1}
    counted.clear()
    run(policies=[{"match": domains, **LARGE}], affect=["config"])
    assert counted == {"XMLDesc": 4, "set_interface_parameters": 4, "jobStats": 2}


GOOD = {"match": {"domain": "web"}, **SMALL}
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"policies": [{"match": {}, **SMALL}]}, ["policies[0].match: a match that names nothing", 'write domain: "*" if']),
    ({"policies": [{"match": {"domain": ""}, **SMALL}]}, ["policies[0].match.domain ['']: an empty glob fits nothing"]),
    ({"policies": [GOOD, {"match": {"domain": "a"}}]}, ["policies[1].state 'present': state=present needs inbound"]),
    (
        {"policies": [GOOD, {"match": {"domain": "a"}, "state": "absent", **SMALL}]},
        ["policies[1].inbound: not allowed with state=absent"],
    ),
    (
        {"policies": [{"match": {"domain": "web"}, **inbound(average="2mbit", peak="1mbit")}, {"match": {}, **SMALL}]},
        ["policies[0].inbound.peak '1mbit': it is below the average of 2mbit", "policies[1].match: a match that names"],
    ),
    ({"policies": [GOOD], "state": "absent"}, ["state 'absent': with policies, each has a state of its own"]),
    ({"policies": [GOOD], "affect": []}, ["affect []: an empty list leaves nothing to do"]),
    ({"policies": [GOOD], "domain": "web", "interface": "all"}, ["mutually exclusive: policies|domain"]),
    ({"policies": [GOOD], **SMALL}, ["mutually exclusive: policies|inbound"]),
    ({"domain": "web", **SMALL}, ["required together: domain, interface"]),
    ({**SMALL}, ["one of the following is required: domain, policies"]),
    ({"policies": [{**SMALL}]}, ["missing required arguments: match found in policies"]),
    (
        {"domain": "web", "interface": "all", "require_match": True, **SMALL},
        ["require_match True: it is about policies; drop it"],
    ),
    (
        {"domain": "cold", "interface": "all", "affect": ["live"], **SMALL},
        ["affect ['live']: domain 'cold' is not running, it has no running guest; drop affect, or start the domain"],
    ),
    (
        {"domain": "brief", "interface": "all", "affect": ["config"], **SMALL},
        ["affect ['config']: domain 'brief' is transient, it has no persistent definition; drop affect."],
    ),
    (
        {"policies": [{"match": {"network": "capped"}, **inbound(floor="8.008mbit")}]},
        ["policies[0].inbound.floor '8.008mbit': 52:54:00:00:02:02", "which has only 8mbit inbound to share out"],
    ),
    (
        {"policies": [{"match": {"domain": "db"}, **inbound(floor="8kbit")}]},
        ["policies[0].inbound.floor '8kbit': 52:54:00:00:02:01", "is of type bridge, and a floor needs type network"],
    ),
]


@pytest.mark.parametrize("check", [False, True], ids=["apply", "check"])
@pytest.mark.parametrize(("options", "sentences"), BAD)
def test_bad_input_is_a_sentence_and_changes_nothing(
    run: Run, connection: Any, options: dict[str, Any], sentences: list[str], check: bool
) -> None:
    refused(run, connection, sentences, check=check, **options)


def test_nics_that_libvirt_does_not_limit_are_named_a_few_with_the_ways_out(run: Run, connection: Any) -> None:
    xml = domain_xml("users", 5).replace("</devices>", "{}</devices>")
    users = "".join(f"<interface type='user'><mac address='52:54:00:00:06:{n:02}'/></interface>" for n in range(30))
    domain = connection.defineXML(xml.format(users))
    before = state(connection)
    result = run(policies=[{"match": {"domain": "*"}, **SMALL}])
    assert result["failed"] is True
    assert state(connection) == before
    assert result["msg"].startswith("policies[0].match: each of 30 NICs (52:54:00:00:06:00 (testnet2, user) in the")
    assert (
        "52:54:00:00:06:19 (testnet21, user) in the persistent definition of domain 'users' and 10 more)"
        in (result["msg"])
    )
    assert (
        " is of type user, which libvirt does not limit; attach the NIC to a network or a bridge, or" in result["msg"]
    )
    assert 'or keep such NICs out of the match (beside network: "*" or bridge: "*" it fits none' in result["msg"]
    # Both ways out lead there.
    assert run(check=True, policies=[{"match": {"domain": "*", "bridge": "*"}, **SMALL}])["changed"] is True
    exempt = {"match": {"mac": "52:54:00:00:06:*"}, "state": "absent"}
    assert run(check=True, policies=[exempt, {"match": {"domain": "*"}, **SMALL}])["changed"] is True
    domain.undefine()


def test_floors_of_all_guests_are_added_up(run: Run, connection: Any) -> None:
    rival = connection.createXML(domain_xml("rival", 5, network="capped"))
    four_ways(run, connection, policies=[{"match": {"domain": "rival", "network": "*"}, **inbound(floor="3mbit")}])
    before = state(connection)
    for options in (
        {"policies": [{"match": {"domain": "db", "network": "*"}, **inbound(floor="6mbit")}]},
        {"domain": "db", "interface": "52:54:00:00:02:02", **inbound(floor="6mbit")},
    ):
        result = run(**options)
        assert result["failed"] is True
        assert "would add up to 9mbit in the running guests, and it has 8mbit inbound to share out" in result["msg"]
        assert "52:54:00:00:02:02 of domain 'db' 6mbit, 52:54:00:00:05:02 of domain 'rival' 3mbit" in result["msg"]
        assert state(connection) == before
    both = [{"match": {"network": "capped"}, **inbound(floor="4mbit")}]
    four_ways(run, connection, policies=both)
    rival.destroy()


def test_a_small_burst_and_a_portgroup_are_warned_of(run: Run, connection: Any) -> None:
    xml = domain_xml("gold", 5, network="capped").replace("network='capped'/>", "network='capped' portgroup='gold'/>")
    domain = connection.defineXML(xml)
    limits = {"inbound": {"average": "100mbit", "burst": "4KiB"}, "outbound": {"average": "1mbit"}}
    result = run(policies=[{"match": {"portgroup": "gold"}, **limits}])
    burst, portgroup = result["warned"]
    assert burst.startswith("policies[0].inbound.burst 4KiB is below 123KiB, and 100mbit may not be reached")
    assert portgroup == (
        "policies[0].outbound {average: 1mbit} takes the place of {average: 48kbit} of portgroup 'gold' of network "
        "'capped' for 52:54:00:00:05:02."
    )
    domain.undefine()


def test_a_saved_domain_is_changed_and_warned_of(run: Run, connection: Any) -> None:
    connection.lookupByName("web").managedSave(0)
    result = run(policies=[{"match": {"domain": "web"}, **SMALL}])
    assert touched(result) == [("web", "01:01", "config", 0), ("web", "01:02", "config", 0)]
    (warning,) = result["warned"]
    assert warning.endswith("run again when they run: web.")
    assert run(domain="web", interface="all", **LARGE)["warned"] == [warning]
    assert run(policies=[{"match": {"domain": "web"}, **LARGE}])["warned"] == []


def test_a_paused_guest_is_one_that_runs(run: Run, connection: Any) -> None:
    connection.lookupByName("web").suspend()
    result = four_ways(run, connection, policies=[{"match": {"domain": "web"}, **SMALL}])
    assert [entry["scopes"] for entry in result["interfaces"]] == [["live", "config"]] * 2


def interrupted(monkeypatch: pytest.MonkeyPatch, doing: Callable[[], Any], before: str = "converge") -> None:
    """Have something happen on the host once, before the module gets to some method of its door."""
    method = getattr(Host, before)
    done: list[bool] = []

    def patched(self: Host, *rest: Any, **named: Any) -> Any:
        if not done:
            done.append(True)
            doing()
        return method(self, *rest, **named)

    monkeypatch.setattr(Host, before, patched)


ALL = [{"match": {"domain": ["brief", "cold", "db", "web"], "bridge": "br0"}, **SMALL}]


def test_guests_that_go_between_plan_and_apply_are_noted(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go() -> None:
        connection.lookupByName("brief").destroy()
        connection.lookupByName("web").destroy()
        connection.lookupByName("cold").undefine()

    interrupted(monkeypatch, go)
    result = run(policies=ALL)
    assert "failed" not in result
    # The definition of what was shut off has what is wanted.
    assert touched(result) == [("db", "02:01", "live+config", 0), ("web", "01:01", "config", 0)]
    nics = [("brief", "04", "running guest"), ("cold", "03", "persistent definition"), ("web", "01", "running guest")]
    assert result["notes"] == [
        f"Domain '{name}', NIC 52:54:00:00:{number}:01 (testnet0, bridge): the {scope} went away before it was written."
        for name, number, scope in nics
    ]
    assert run(policies=ALL)["changed"] is False


def test_a_guest_that_starts_between_plan_and_apply_is_noted(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, lambda: connection.lookupByName("cold").create())
    result = run(policies=ALL)
    assert result["notes"] == ["Domain 'cold' was started meanwhile, perhaps with what it had before; run again."]
    assert touched(run(policies=ALL)) == [("cold", "03:01", "live", 0)]


def test_a_guest_that_starts_meanwhile_is_noted_where_definitions_do_not_matter(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, lambda: connection.lookupByName("cold").create())
    result = run(policies=ALL, affect=["live"])
    assert result["notes"] == ["Domain 'cold' was started meanwhile, perhaps with what it had before; run again."]


def test_a_guest_that_appears_meanwhile_is_noted_where_a_policy_can_be_for_it(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, lambda: connection.createXML(domain_xml("late", 9)))
    assert run(policies=[{"match": {"domain": "web"}, **SMALL}])["notes"] == []
    connection.lookupByName("late").destroy()
    interrupted(monkeypatch, lambda: connection.createXML(domain_xml("late", 9)))
    (note,) = run(policies=[{"match": {"domain": "l*"}, **SMALL}])["notes"]
    assert note.startswith("Domain 'late' was started meanwhile")


def test_a_guest_that_starts_with_what_is_wanted_is_not_worth_a_note(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(policies=ALL)
    interrupted(monkeypatch, lambda: connection.lookupByName("cold").create())
    result = run(policies=ALL)
    assert (result["changed"], result["notes"]) == (False, [])


def test_a_guest_that_goes_before_it_is_read_back(run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def go() -> None:
        connection.lookupByName("brief").destroy()
        connection.lookupByName("web").destroy()

    interrupted(monkeypatch, go, "_read_back")
    result = run(policies=ALL)
    assert "failed" not in result
    assert len(result["interfaces"]) == 4


@pytest.mark.parametrize("affect", [["live", "config"], ["live"], ["config"]])
@pytest.mark.parametrize("before", ["_read_back", "converge"])
def test_guests_that_are_started_again_are_noted_once(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch, before: str, affect: list[str]
) -> None:
    """Each under its UUID: one that is shut off and started, one that is transient, and one that is defined anew."""

    def again() -> None:
        for name in ("brief", "db", "web"):
            domain = connection.lookupByName(name)
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if name != "brief" else 0)
            xml = re.sub(r"<bandwidth>.*?</bandwidth>", "", xml, flags=re.DOTALL)
            domain.destroy()
            if name == "db":
                domain.undefine()
                connection.defineXML(xml).create()
            elif name == "brief":
                connection.createXML(xml)
            else:
                domain.create()

    interrupted(monkeypatch, again, before)
    result = run(policies=[{"match": {"domain": ["brief", "db", "web"]}, **SMALL}], affect=affect)
    assert "failed" not in result
    noted = [text.split("'")[1] for text in result["notes"]]
    if affect == ["config"]:  # only what was defined anew after it was written matters then
        assert noted == (["db"] if before == "_read_back" else [])
    else:
        assert sorted(noted) == ["brief", "db", "web"]
    assert all(
        text.endswith("was started meanwhile, perhaps with what it had before; run again.") for text in result["notes"]
    )


def test_a_guest_whose_definition_alone_differed_is_noted_too(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs with what the definition had before it was written, which nobody would see."""
    run(policies=ALL, affect=["live"])

    def again() -> None:
        connection.lookupByName("web").destroy()
        connection.lookupByName("web").create()

    interrupted(monkeypatch, again)
    result = run(policies=ALL)
    assert ("web", "01:01", "config", 0) in touched(result)
    assert result["notes"] == ["Domain 'web' was started meanwhile, perhaps with what it had before; run again."]
    assert touched(run(policies=ALL)) == [("web", "01:01", "live", 0)]


@pytest.mark.parametrize("shut_off", [True, False])
def test_a_definition_that_somebody_else_writes_meanwhile(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch, shut_off: bool
) -> None:
    xml = connection.lookupByName("web").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)

    def change() -> None:
        if shut_off:
            connection.lookupByName("web").destroy()
        connection.defineXML(xml)

    interrupted(monkeypatch, change, "_read_back")
    result = run(policies=ALL)
    if shut_off:
        assert result["notes"] == ["Domain 'web' was shut off meanwhile, and defined as it was before; run again."]
    else:
        assert result["failed"] is True
        assert "but inbound reads back differently" in result["msg"]


def test_guests_that_go_and_come_while_they_are_read(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        connection.lookupByName("brief").destroy()
        connection.lookupByName("cold").undefine()
        connection.lookupByName("web").destroy()

    interrupted(monkeypatch, change, "_definitions")
    result = run(policies=ALL)
    assert "failed" not in result
    assert touched(result) == [("db", "02:01", "live+config", 0), ("web", "01:01", "config", 0)]
    assert result["notes"] == []


def test_a_guest_that_is_migrated_is_left(run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test driver has no jobs."""
    monkeypatch.setattr(Host, "_busy", lambda self, domain: "migrated away" if domain.name() == "web" else None)
    before = connection.lookupByName("web").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    result = run(policies=ALL)
    assert result["notes"] == [
        "Domain 'web', NIC 52:54:00:00:01:01 (testnet0, bridge): it is left as it is, since the guest is being "
        "migrated away; run again when that is over."
    ]
    assert [entry["domain"] for entry in result["interfaces"]] == ["brief", "cold", "db"]
    result = run(domain="web", interface="all", **SMALL)
    assert result["failed"] is True
    assert result["changed"] is False
    assert connection.lookupByName("web").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == before


def test_one_nic_that_fails_does_not_keep_the_others(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test driver never refuses a write: the error is the real one of a NIC that is not there."""
    write = Host._set

    def failing(self: Host, domain: Any, mac: str, *rest: Any) -> None:
        write(self, domain, "52:54:00:00:99:99" if domain.name() == "db" else mac, *rest)

    monkeypatch.setattr(Host, "_set", failing)
    result = run(policies=ALL)
    assert result["failed"] is True
    assert [entry["domain"] for entry in result["interfaces"]] == ["brief", "cold", "web"]
    assert result["msg"].startswith("Domain 'db', NIC 52:54:00:00:02:01 (testnet0, bridge): setting inbound of the")
