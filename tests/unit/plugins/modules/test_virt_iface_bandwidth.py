# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module by its own main(), against libvirt's test driver: what it returns is what a play would get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host
from ansible_collections.virtnet.qos.plugins.modules import virt_iface_bandwidth
from ansible_collections.virtnet.qos.tests.unit.driver import CAPPED, Run, four_ways, host, refused, runner, state

libvirt = pytest.importorskip("libvirt")

WEB = """<domain type='test'><name>web</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>
    <bandwidth><outbound average='9'/></bandwidth></interface>
  <interface type='network'><mac address='52:54:00:00:00:02'/><source network='capped'/></interface>
  <interface type='user'><mac address='52:54:00:00:00:03'/></interface>
  <interface type='direct'><mac address='52:54:00:00:00:04'/><source dev='eth0' mode='bridge'/>
    <alias name='ua-direct'/></interface>
  <interface type='network'><mac address='52:54:00:00:00:05'/><source network='capped' portgroup='gold'/></interface>
</devices></domain>"""
TWINS = """<domain type='test'><name>twins</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='bridge'><mac address='52:54:00:00:00:0a'/><source bridge='br0'/><target dev='left'/></interface>
  <interface type='bridge'><mac address='52:54:00:00:00:0a'/><source bridge='br1'/><target dev='right'/></interface>
</devices></domain>"""
OFF = """<domain type='test'><name>off</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='bridge'><mac address='52:54:00:00:00:0b'/><source bridge='br0'/></interface>
</devices></domain>"""


@pytest.fixture
def connection() -> Iterator[Any]:
    """Two running domains, one that is shut off, and a network; the state lives while this connection is open."""
    with host(CAPPED, running=[WEB, TWINS], off=[OFF]) as connection:
        yield connection


@pytest.fixture
def run(connection: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(virt_iface_bandwidth, capfd, monkeypatch, domain="web")


@pytest.mark.parametrize("name", ["日本\u3000サーバ", "web\u00a0x", "👩\u200d💻", "a\u2028b"])
def test_a_name_that_python_would_not_print(run: Run, connection: Any, name: str) -> None:
    connection.defineXML(OFF.replace("off", name))
    result = four_ways(run, connection, domain=name, interface="all", **GOOD)
    assert [entry["domain"] for entry in result["interfaces"]] == [name]


def parameters(connection: Any, domain: str, mac: str, flag: int) -> dict[str, int]:
    shown = connection.lookupByName(domain).interfaceParameters(mac, flag)
    return {name: value for name, value in shown.items() if value}


FIRST = "52:54:00:00:00:01"
LIVE, CONFIG = 1, 2


def test_both_directions_of_a_running_guest(run: Run, connection: Any) -> None:
    inbound = {"average": "100mbit", "peak": "25MB/s", "burst": "1MiB"}
    result = four_ways(run, connection, interface=FIRST, inbound=inbound, outbound={"average": "50mbit"})
    assert result == {
        "changed": True,
        "interfaces": [
            {
                "domain": "web",
                "mac": FIRST,
                "target": "testnet0",
                "alias": None,
                "type": "bridge",
                "scopes": ["live", "config"],
                "own": {"before": ["live", "config"], "after": ["live", "config"]},
                "before": {"inbound": {"average": "unlimited"}, "outbound": {"average": "72kbit"}},
                "after": {
                    "inbound": {"average": "100mbit", "peak": "200mbit", "burst": "1MiB"},
                    "outbound": {"average": "50mbit"},
                },
            }
        ],
        "diff": {
            "before": f"web {FIRST} (testnet0) live+config:\n"
            "  inbound: {average: unlimited}\n"
            "  outbound: {average: 72kbit}\n",
            "after": f"web {FIRST} (testnet0) live+config:\n"
            "  inbound: {average: 100mbit, peak: 200mbit, burst: 1MiB}\n"
            "  outbound: {average: 50mbit}\n",
        },
        "warned": [],
    }
    wanted = {"inbound.average": 12500, "inbound.peak": 25000, "inbound.burst": 1024, "outbound.average": 6250}
    assert parameters(connection, "web", FIRST, LIVE) == wanted
    assert parameters(connection, "web", FIRST, CONFIG) == wanted


def test_what_it_printed_can_be_pasted_back(run: Run, connection: Any) -> None:
    first = run(interface=FIRST, inbound={"average": "1gbit", "burst": "1.5MiB"})
    after = first["interfaces"][0]["after"]
    assert run(interface=FIRST, **after)["changed"] is False


def test_an_omitted_direction_is_left_and_a_named_one_replaced_as_a_whole(run: Run, connection: Any) -> None:
    run(interface=FIRST, inbound={"average": "100mbit", "peak": "200mbit", "burst": "1MiB"})
    result = four_ways(run, connection, interface=FIRST, inbound={"average": "100mbit"})
    assert list(result["interfaces"][0]["after"]) == ["inbound"]
    assert parameters(connection, "web", FIRST, LIVE) == {"inbound.average": 12500, "outbound.average": 9}


def test_unlimited_clears_one_direction_and_absent_both(run: Run, connection: Any) -> None:
    run(interface=FIRST, inbound={"average": "100mbit"})
    four_ways(run, connection, interface=FIRST, outbound={"average": "unlimited"})
    assert parameters(connection, "web", FIRST, CONFIG) == {"inbound.average": 12500}
    result = four_ways(run, connection, interface=FIRST, state="absent")
    assert result["interfaces"][0]["before"] == {"inbound": {"average": "100mbit"}}
    assert result["interfaces"][0]["own"] == {"before": ["live", "config"], "after": []}
    assert parameters(connection, "web", FIRST, LIVE) == parameters(connection, "web", FIRST, CONFIG) == {}


@pytest.mark.parametrize("scope", ["live", "config"])
def test_only_the_scope_that_differs_is_written(run: Run, connection: Any, scope: str) -> None:
    flag, other = (LIVE, CONFIG) if scope == "live" else (CONFIG, LIVE)
    run(interface=FIRST, inbound={"average": "100mbit"})
    connection.lookupByName("web").setInterfaceParameters(FIRST, {"inbound.average": 5}, flag)
    kept = parameters(connection, "web", FIRST, other)
    result = four_ways(run, connection, interface=FIRST, inbound={"average": "100mbit"})
    (entry,) = result["interfaces"]
    assert entry["scopes"] == [scope]
    assert entry["before"] == {"inbound": {"average": "40kbit"}}
    assert parameters(connection, "web", FIRST, other) == kept


def test_a_domain_that_is_shut_off(run: Run, connection: Any) -> None:
    result = four_ways(run, connection, domain="off", interface="all", inbound={"average": "1mbit"})
    (entry,) = result["interfaces"]
    assert entry["scopes"] == ["config"]


def test_a_transient_domain(run: Run, connection: Any) -> None:
    domain = connection.createXML(OFF.replace("off", "brief").replace("0b", "0c"))
    try:
        result = four_ways(run, connection, domain="brief", interface="all", inbound={"average": "1mbit"})
    finally:
        domain.destroy()
    assert [entry["scopes"] for entry in result["interfaces"]] == [["live"]]


@pytest.mark.parametrize("interface", ["52:54:00:00:00:04", "testnet3", "ua-direct"])
def test_a_nic_by_whatever_names_it(run: Run, connection: Any, interface: str) -> None:
    outbound = {"average": "1mbit", "peak": "2mbit", "burst": "64KiB"}
    result = four_ways(run, connection, interface=interface, outbound=outbound)
    assert [entry["mac"] for entry in result["interfaces"]] == ["52:54:00:00:00:04"]
    assert result["warned"] == []


def test_a_domain_by_uuid(run: Run, connection: Any) -> None:
    uuid = connection.lookupByName("off").UUIDString()
    result = run(domain=uuid, interface="all", inbound={"average": "1mbit"})
    assert result["interfaces"][0]["domain"] == "off"


def test_a_floor_where_it_can_be_guaranteed(run: Run, connection: Any) -> None:
    mac = "52:54:00:00:00:02"
    result = four_ways(run, connection, interface=mac, inbound={"floor": "80kbit"})
    assert result["interfaces"][0]["after"] == {"inbound": {"average": "unlimited", "floor": "80kbit"}}
    assert parameters(connection, "web", mac, CONFIG) == {"inbound.floor": 10}


def test_a_nic_is_given_back_to_its_portgroup(run: Run, connection: Any) -> None:
    """The test driver cannot plug a NIC anew before libvirt 10.6: a real error of the second of two writes."""
    mac = "52:54:00:00:00:05"
    run(interface=mac, inbound={"average": "1mbit"}, outbound={"average": "1mbit"})
    before = state(connection)
    assert run(check=True, interface=mac, state="absent")["changed"] is True
    result = run(interface=mac, state="absent")
    if libvirt.getVersion() >= 10_006_000:
        assert result["interfaces"][0]["scopes"] == ["live", "config"]
    else:
        assert result["failed"] is True
        assert result["changed"] is False
        assert "not supported by the connection driver: virDomainUpdateDeviceFlags (libvirt error 3)" in result["msg"]
        assert "The persistent definition was set back to what it was. Nothing of this NIC" in result["msg"]
        assert state(connection) == before


def test_an_outbound_peak_on_a_tap_is_warned_about(run: Run, connection: Any) -> None:
    result = run(interface=FIRST, outbound={"average": "1mbit", "peak": "2mbit"})
    assert result["warned"] == [
        "outbound.peak 2mbit: libvirt ignores the outbound peak on tap devices, "
        "the average is what holds for 52:54:00:00:00:01."
    ]


def test_the_diff_is_returned_only_where_it_is_asked_for(run: Run) -> None:
    assert "diff" not in run(interface=FIRST, state="absent", _ansible_diff=False)


GOOD = {"inbound": {"average": "1mbit"}}
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"inbound": {"average": "100"}}, ["inbound.average '100': a number without a unit is ambiguous; write the unit"]),
    ({"inbound": {"average": 100}}, ["inbound.average '100': a number without a unit"]),
    (
        {"inbound": {"average": "100Mbps"}},
        ["inbound.average '100Mbps'", "100mbit for megabits", "100MB/s for megabytes"],
    ),
    (
        {"inbound": {"average": "1furlong"}},
        ["inbound.average '1furlong': 'furlong' is not a unit of a rate; use one of"],
    ),
    ({"inbound": {"average": "-5mbit"}}, ["inbound.average '-5mbit': a rate cannot be negative"]),
    ({"inbound": {"average": "0mbit"}}, ["inbound.average '0mbit': a rate cannot be zero; write 'unlimited' to clear"]),
    ({"inbound": {"average": 0}}, ["inbound.average '0': a rate cannot be zero; write 'unlimited' to clear"]),
    ({"inbound": {"average": "100tbit"}}, ["inbound.average '100tbit'", "the largest is 34359738.36mbit"]),
    ({"inbound": {"average": "1mbit", "burst": "5GiB"}}, ["inbound.burst '5GiB'", "the largest is 4194303KiB"]),
    ({"inbound": {"average": "12kbit"}}, ["inbound.average '12kbit'", "the nearest two are 8kbit or 16kbit"]),
    ({"inbound": {"average": "1mbit", "burst": "1kB"}}, ["inbound.burst '1kB'", "the smallest is 1KiB"]),
    ({"inbound": {"average": "2mbit", "peak": "1mbit"}}, ["inbound.peak '1mbit': it is below the average of 2mbit"]),
    ({"outbound": {"peak": "1mbit"}}, ["outbound.peak '1mbit': it needs an average; give outbound.average a rate"]),
    ({"outbound": {"burst": "1MiB"}}, ["outbound.burst '1MiB': it needs an average"]),
    ({"inbound": {}}, ["inbound.average: a direction that is named needs an average"]),
    ({"inbound": {"average": "unlimited", "peak": "1mbit"}}, ["inbound.peak '1mbit': it cannot stand beside"]),
    ({"outbound": {"average": "1mbit", "floor": "8kbit"}}, ["floor", "outbound"]),
    ({}, ["state 'present': state=present needs inbound, outbound or both"]),
    ({"state": "absent", **GOOD}, ["inbound: not allowed with state=absent"]),
    ({"uri": "qemu+ssh://[::1/system", **GOOD}, ["uri 'qemu+ssh://[::1/system': not a URI", "such as qemu:///system"]),
    ({"uri": " ", **GOOD}, ["uri ' ': it is empty", "such as qemu:///system"]),
    ({"domain": "a\0b", **GOOD}, ["domain 'a\\x00b': no name has such a character"]),
    ({"uri": "qemu:///session", **GOOD}, ["uri 'qemu:///session'", "not in a session; use qemu:///system"]),
    (
        {"uri": "qemu:///session", "inbound": {"average": "1"}, "outbound": {"peak": "2Mbps"}},
        ["uri 'qemu:///session'", "inbound.average '1'", "outbound.peak '2Mbps'", "outbound.peak '2Mbps': it needs"],
    ),
    (
        {"uri": "qemu+unix:///system?socket=/nowhere", **GOOD},
        [
            "Failed to connect socket to '/nowhere': No such file or directory (libvirt error 38)",
            "libvirt is not running here",
        ],
    ),
    (
        {"domain": "nope", **GOOD},
        ["domain 'nope': test:///default has no domain with this name", "off, test, twins, web"],
    ),
    (
        {"interface": "vnet7", **GOOD},
        [
            "interface 'vnet7': domain 'web' has no such NIC; it has 52:54:00:00:00:01 (testnet0, bridge), ",
            "(testnet3, ua-direct, direct)",
        ],
    ),
    (
        {"domain": "twins", "interface": "right", **GOOD},
        ["of domain 'twins' has NICs with the same MAC: 52:54:00:00:00:0a (left, bridge), 52:54:00:00:00:0a (right,"],
    ),
    (
        {"interface": "52:54:00:00:00:03", **GOOD},
        ["is of type user, which libvirt does not limit; attach the NIC to a network or a bridge"],
    ),
    (
        {"interface": "all", "outbound": {"average": "1mbit"}},
        ["52:54:00:00:00:03 (testnet2, user) in the running guest and the persistent definition of domain 'web'"],
    ),
    (
        {"inbound": {"floor": "8kbit"}},
        ["inbound.floor '8kbit'", "is of type bridge, and a floor needs type network; drop"],
    ),
    (
        {"interface": "52:54:00:00:00:02", "inbound": {"floor": "9mbit"}},
        ["inbound.floor '9mbit'", "is on network 'capped', which has only 8mbit inbound to share out; lower the floor"],
    ),
    (
        {"interface": "52:54:00:00:00:05", **GOOD},
        [
            "outbound: 52:54:00:00:00:05",
            "is given outbound {average: 48kbit} by its portgroup",
            "name outbound too, with",
        ],
    ),
    (
        {"interface": "52:54:00:00:00:05", "outbound": {"average": "unlimited"}},
        ["outbound.average 'unlimited': 52:54:00:00:00:05", "by its portgroup, from which a NIC cannot be exempted"],
    ),
]


@pytest.mark.parametrize("check", [False, True], ids=["apply", "check"])
@pytest.mark.parametrize(("options", "sentences"), BAD)
def test_bad_input_is_a_sentence_and_changes_nothing(
    run: Run, connection: Any, options: dict[str, Any], sentences: list[str], check: bool
) -> None:
    refused(run, connection, sentences, check=check, **{"interface": FIRST, **options})


@pytest.mark.parametrize(
    ("name", "library"), [("LIBVIRT_IMPORT_ERROR", "libvirt-python"), ("LXML_IMPORT_ERROR", "lxml")]
)
def test_a_missing_library_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    monkeypatch.setattr(virt_iface_bandwidth, name, f"ImportError: No module named {library}")
    result = run(interface=FIRST, **GOOD)
    assert result["failed"] is True
    assert f"Failed to import the required Python library ({library})" in result["msg"]


def test_a_run_that_fails_halfway_returns_what_stands(
    run: Run, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test driver never refuses a write: the error is the real one of a NIC that is not there."""
    write = Host._set

    def failing(self: Host, domain: Any, mac: str, *rest: Any) -> None:
        write(self, domain, "52:54:00:00:00:99" if mac.endswith(":0d") else mac, *rest)

    monkeypatch.setattr(Host, "_set", failing)
    pair = TWINS.replace("twins", "pair").replace("0a'/><source bridge='br1", "0d'/><source bridge='br1")
    domain = connection.createXML(pair)
    try:
        result = run(domain="pair", interface="all", **GOOD)
    finally:
        domain.destroy()
    assert result["failed"] is True
    assert result["changed"] is True
    assert [entry["mac"] for entry in result["interfaces"]] == ["52:54:00:00:00:0a"]
    assert "right" not in result["diff"]["after"]
    assert result["msg"].startswith(
        "Domain 'pair', NIC 52:54:00:00:00:0d (right, bridge): setting inbound of the running"
    )
    assert result["msg"].endswith("Nothing of this NIC has changed.")
