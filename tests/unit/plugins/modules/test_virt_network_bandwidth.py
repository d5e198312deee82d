# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module by its own main(), against libvirt's test driver; tests/kernel has it with a bridge.

That driver keeps one XML of a network, and writes what is defined while it is active nowhere to be seen: so portgroups
are tried on a running network, and definitions on one that is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Nic
from ansible_collections.virtnet.qos.plugins.modules import virt_network_bandwidth
from ansible_collections.virtnet.qos.tests.unit.driver import CAPPED, URI, Run, host, runner

libvirt = pytest.importorskip("libvirt")

OFF = """<network><name>off</name><uuid>81ff0d90-c91e-6742-64da-4a736edb9a9b</uuid><forward mode='nat'/>
  <domain name='x'/><ip address='192.0.3.1' prefix='24'/>
  <portgroup name='p' default='yes'><vlan><tag id='7'/></vlan></portgroup></network>"""

GUEST = """<domain type='test'><name>{}</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='network'><mac address='52:54:00:00:09:0{}'/><source network='capped' portgroup='gold'/></interface>
  </devices></domain>"""


@pytest.fixture
def connection() -> Iterator[Any]:
    with host(CAPPED, running=[]) as connection:
        off = connection.networkDefineXML(OFF)
        yield connection
        off.undefine()


@pytest.fixture
def run(connection: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(virt_network_bandwidth, capfd, monkeypatch)


def state(connection: Any) -> dict[str, str]:
    return {each.name(): each.XMLDesc(0) for each in connection.listAllNetworks()}


def four_ways(run: Run, connection: Any, **options: Any) -> dict[str, Any]:
    before = state(connection)
    checked = run(check=True, **options)
    assert state(connection) == before
    applied = run(**options)
    assert applied == checked
    after = state(connection)
    for again in (run(**options), run(check=True, **options)):
        assert (again["changed"], again["networks"], again["diff"]) == (False, [], {"before": "", "after": ""})
    assert state(connection) == after
    return applied


def test_a_definition(run: Run, connection: Any) -> None:
    group = {"name": "p", "outbound": {"average": "8mbit", "burst": "64KiB"}}
    result = four_ways(run, connection, name="off", inbound={"average": "80mbit"}, portgroups=[group])
    assert [(each["portgroup"], each["scopes"]) for each in result["networks"]] == [
        (None, ["config"]),
        ("p", ["config"]),
    ]
    assert result["diff"] == {
        "before": "off config:\n  inbound: {average: unlimited}\n"
        "off portgroup p config:\n  outbound: {average: unlimited}\n",
        "after": "off config:\n  inbound: {average: 80mbit}\n"
        "off portgroup p config:\n  outbound: {average: 8mbit, burst: 64KiB}\n",
    }
    xml = connection.networkLookupByName("off").XMLDesc(0)
    bare = re.sub(r"\s*<bandwidth>.*?</bandwidth>", "", xml, flags=re.DOTALL)
    four_ways(run, connection, name="off", state="absent", prune=True)
    assert connection.networkLookupByName("off").XMLDesc(0) == bare
    assert "<tag id='7'/>" in bare


def test_by_uuid_and_by_list(run: Run, connection: Any) -> None:
    uuid = "81ff0d90-c91e-6742-64da-4a736edb9a9b"
    result = four_ways(run, connection, networks=[{"name": uuid, "outbound": {"average": "8mbit"}}])
    assert result["networks"][0]["name"] == "off"


def test_a_portgroup_of_a_running_network(run: Run, connection: Any) -> None:
    gold = [{"name": "gold", "inbound": {"average": "8mbit"}}]
    result = four_ways(run, connection, name="capped", portgroups=gold, affect=["live"])
    (entry,) = result["networks"]
    assert (entry["portgroup"], entry["scopes"], entry["after"]) == (
        "gold",
        ["live"],
        {"inbound": {"average": "8mbit"}},
    )
    assert "<outbound average='6'/>" in connection.networkLookupByName("capped").XMLDesc(0)


def test_a_nic_that_libvirt_does_not_plug_anew_is_told_and_the_rest_stands(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(_self: Host, domain: Domain, nic: Nic) -> None:
        if domain.name == "two":
            guests[1].destroy()
        raise HostError(f"Plugging NIC {nic} of domain '{domain.name}' anew failed: no.", gone=domain.name == "two")

    monkeypatch.setattr(Host, "renew", refusing)
    guests = [connection.createXML(GUEST.format(name, number)) for number, name in enumerate(("one", "two"))]
    try:
        gold = [{"name": "gold", "outbound": {"average": "8mbit"}}]
        result = run(name="capped", portgroups=gold, update_running=True, affect=["live"])
    finally:
        guests[0].destroy()
    assert result["msg"] == "Plugging NIC 52:54:00:00:09:00 (testnet0, network) of domain 'one' anew failed: no."
    (note,) = result["notes"]
    assert "of domain 'two' anew failed" in note
    assert (result["changed"], len(result["networks"]), result["interfaces"]) == (True, 1, [])


def test_a_network_whose_xml_libvirt_does_not_escape(run: Run, connection: Any) -> None:
    network = connection.networkDefineXML("<network><name>bad</name><portgroup name='r&amp;d'/></network>")
    try:
        message = run(name="bad", state="absent")["msg"]
        other = run(name="off", outbound={"average": "8mbit"})
        with pytest.raises(HostError, match="give that portgroup another name"):  # virt_iface_bandwidth asks so
            Host(URI).networks.find("bad")
    finally:
        network.undefine()
    assert message.startswith("network 'bad': libvirt's XML of it cannot be read (EntityRef: expecting ';'")
    assert message.endswith("give that portgroup another name (virsh net-edit).")
    assert other["changed"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "nope", "state": "absent"}, "has no network with this name or UUID; it has capped, default, off."),
        ({"name": "off"}, "state 'present': state=present needs inbound, outbound or both"),
        ({"name": "off", "inbound": {"average": "80"}}, "inbound.average '80': a number without a unit is ambiguous"),
        (
            {"name": "capped", "inbound": {"average": "80mbit"}},
            "running network 'capped' is limited by the kernel of its host, and it has no device virbr7; "
            "run the task on that host, or restrict it to affect=config",
        ),
        ({"name": "off", "inbound": {"floor": "8mbit"}}, "Unsupported parameters"),
        ({"name": "off", "state": "absent", "affect": []}, "affect []: an empty list leaves nothing to do"),
        ({"name": "off", "state": "absent", "uri": "qemu:///session"}, "only in its system daemon, not in a session"),
        ({"networks": [], "name": "off"}, "parameters are mutually exclusive"),
        (
            {
                "networks": [
                    {"name": "off", "state": "absent"},
                    {"name": "81ff0d90-c91e-6742-64da-4a736edb9a9b", "outbound": {"average": "8mbit"}},
                ]
            },
            "networks[1].name '81ff0d90-c91e-6742-64da-4a736edb9a9b': this is the same network as another in the list",
        ),
        (
            {"name": "off", "state": "absent", "restart": True, "affect": ["config"]},
            "restart True: a restart makes the running network what is defined, and affect leaves one of the two alone",
        ),
    ],
)
def test_bad_input_is_a_sentence_and_changes_nothing(
    run: Run, connection: Any, options: dict[str, Any], sentence: str
) -> None:
    before = state(connection)
    result = run(**options)
    assert result["failed"] is True
    assert sentence in result["msg"]
    assert state(connection) == before


def test_what_is_taken_and_hardly_meant_is_warned_of(run: Run) -> None:
    result = run(
        name="off", inbound={"average": "800mbit", "burst": "4KiB"}, outbound={"average": "8mbit", "peak": "9mbit"}
    )
    first, second = result["warned"]
    assert first.startswith("outbound.peak 9mbit: libvirt ignores the outbound peak on tap devices")
    assert second.startswith("inbound.burst 4KiB is below 977KiB")
    assert second.endswith("for network 'off'.")


def test_the_task_of_the_page_on_networks(run: Run, connection: Any) -> None:
    page = Path(__file__).resolve().parents[4] / "docs/networks.md"
    shown = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ((options,),) = (task.values() for task in yaml.safe_load(shown[0]))
    prod = connection.networkDefineXML(OFF.replace("off", "prod").replace("'p'", "'web'").replace("81ff", "91ff"))
    try:
        assert four_ways(run, connection, **options)["warned"] == []
    finally:
        prod.undefine()
