# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's own main(), against libvirt's test driver; the kernel's part is made up."""

from __future__ import annotations

import errno
import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _bandwidth_info_run
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import Bandwidth, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_enforced import Kernel
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_info import (
    interface_info,
    network_info,
    seen,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_networks import Networks
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Network, NetworkByScope, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits, Shape
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError
from ansible_collections.virtnet.qos.plugins.modules import virt_bandwidth_info
from ansible_collections.virtnet.qos.tests.unit.driver import Run, host, runner, state

libvirt = pytest.importorskip("libvirt")

NOTHING = {"inbound": {"average": "unlimited"}, "outbound": {"average": "unlimited"}}

NETWORK = """<network><name>capped</name><forward mode='route'/><bridge name='virbr7'/>
  <ip address='192.0.2.1' prefix='24'/><bandwidth><inbound average='1000' peak='5000'/></bandwidth>
  <portgroup name='gold' default='yes'><bandwidth><outbound average='6'/></bandwidth></portgroup></network>"""


def domain_xml(name: str, number: int, bandwidth: str = "") -> str:
    """Two NICs: on a bridge (52:54:00:00:NUMBER:01), with this bandwidth, and on a virtual network (:02)."""
    mac = f"<mac address='52:54:00:00:{number:02}"
    nics = (
        f"<interface type='bridge'>{mac}:01'/><source bridge='br0'/>"
        f"<target dev='tap{number}'/><bandwidth>{bandwidth}</bandwidth></interface>"
        f"<interface type='network'>{mac}:02'/><source network='capped'/>"
        "<bandwidth><inbound floor='200'/></bandwidth></interface>"
    )
    head = f"<domain type='test'><name>{name}</name><title>of {name}</title><memory>65536</memory>"
    return f"{head}<os><type>hvm</type></os><devices>{nics}</devices></domain>"


@pytest.fixture
def connection() -> Iterator[Any]:
    """Running web, cold which is shut off, and test that the driver brings along."""
    web = domain_xml("web", 1, "<inbound average='1000' peak='2000'/><outbound average='77'/>")
    with host(NETWORK, running=[web], off=[domain_xml("cold", 3)]) as connection:
        yield connection


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, Limits]:
    """What the kernel says of devices."""
    said = {"tap1": Limits(Shape(1_000_000, 2_000_000, 1600), Shape(77_000, 77_000, 78_848)), "virbr7": Limits()}

    def limits(names: Collection[str], bridges: Collection[str]) -> dict[str, Limits]:
        return {name: each for name, each in said.items() if name in {*names, *bridges}}

    monkeypatch.setattr(_bandwidth_info_run, "limits", limits)
    return said


@pytest.fixture
def run(connection: Any, kernel: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    look = runner(virt_bandwidth_info, capfd, monkeypatch)

    def run(**options: Any) -> dict[str, Any]:
        result = look(**options)
        assert not result.get("changed")
        return result

    return run


def macs(result: dict[str, Any]) -> list[str]:
    return [each["mac"][-5:] for each in result["interfaces"]]


def test_a_network_that_cannot_be_read_is_left_out(run: Run, connection: Any) -> None:
    network = connection.networkDefineXML("<network><name>bad</name><portgroup name='r&amp;d'/></network>")
    try:
        plugged = domain_xml("plugged", 5).replace("network='capped'", "network='bad'").replace(" floor=", " average=")
        connection.defineXML(plugged)
        result = run()
    finally:
        network.undefine()
    assert [each["name"] for each in result["networks"]] == ["capped", "default"]
    assert "plugged" in [each["domain"] for each in result["interfaces"]]
    (warning,) = result["warned"]
    assert warning.startswith("This is left out: network 'bad': libvirt's XML of it cannot be read")


def test_a_whole_host(run: Run, connection: Any) -> None:
    before = state(connection)
    result = run()
    assert run(check=True)["interfaces"] == result["interfaces"]
    assert state(connection) == before
    assert macs(result) == ["03:01", "03:02", "ee:ff", "01:01", "01:02"]
    limited = {"inbound": {"average": "8mbit", "peak": "16mbit"}, "outbound": {"average": "616kbit"}}
    scope = {"own": limited, "portgroup": None, "effective": limited}
    assert result["interfaces"][3] == {
        "domain": "web",
        "mac": "52:54:00:00:01:01",
        "target": "tap1",
        "alias": None,
        "type": "bridge",
        "network": None,
        "portgroup": None,
        "bridge": "br0",
        "running": True,
        "live": scope,
        "config": scope,
        "drift": [],
        "enforced": {
            "inbound": {"average": "8mbit", "peak": "16mbit", "burst": "1600B", "agrees": True},
            "outbound": {"average": "616kbit", "burst": "77KiB", "agrees": True},
        },
    }
    off = result["interfaces"][1]
    assert (off["running"], off["live"], off["enforced"], off["drift"]) == (False, None, None, [])
    assert (off["portgroup"], off["bridge"]) == ("gold", "virbr7")
    assert off["config"] == {
        "own": {"inbound": {"average": "unlimited", "floor": "1.6mbit"}, "outbound": {"average": "unlimited"}},
        "portgroup": {"inbound": {"average": "unlimited"}, "outbound": {"average": "48kbit"}},
        "effective": {"inbound": {"average": "unlimited", "floor": "1.6mbit"}, "outbound": {"average": "unlimited"}},
    }


def test_networks(run: Run) -> None:
    capped, default = run()["networks"]
    bandwidth = {"inbound": {"average": "8mbit", "peak": "40mbit"}, "outbound": {"average": "unlimited"}}
    gold = {"inbound": {"average": "unlimited"}, "outbound": {"average": "48kbit"}}
    assert capped == {
        "name": "capped",
        "active": True,
        "forward": "route",
        "bridge": "virbr7",
        "live": bandwidth,
        "config": bandwidth,
        "drift": [],
        "enforced": {
            "inbound": {"average": "unlimited", "agrees": False},
            "outbound": {"average": "unlimited", "agrees": True},
        },
        # That of web only, since cold is shut off
        "floors": {"used": "1.6mbit", "left": "38.4mbit"},
        "portgroups": [{"name": "gold", "default": True, "live": gold, "config": gold, "drift": []}],
    }
    assert default["floors"] == {"used": "0bit", "left": None}
    assert default["enforced"]["note"] == "there is no device virbr0 in this network namespace"


def test_what_the_kernel_does_not_do_is_seen(run: Run, kernel: dict[str, Limits]) -> None:
    kernel["tap1"] = replace(kernel["tap1"], received=None)
    enforced = run(match={"mac": "52:54:00:00:01:01"})["interfaces"][0]["enforced"]
    assert enforced["inbound"]["agrees"] is True
    assert enforced["outbound"] == {"average": "unlimited", "agrees": False}
    del kernel["tap1"]
    enforced = run(match={"mac": "52:54:00:00:01:01"})["interfaces"][0]["enforced"]
    assert enforced["outbound"] == {"average": None, "agrees": None}


@pytest.mark.parametrize("error", [TcError(errno.EINTR), OSError(errno.EPROTONOSUPPORT, "Protocol not supported")])
def test_a_kernel_that_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def limits(names: Collection[str], bridges: Collection[str]) -> dict[str, Limits]:
        raise error

    monkeypatch.setattr(_bandwidth_info_run, "limits", limits)
    result = run()
    assert result["interfaces"][3]["enforced"]["note"].startswith("the kernel could not be asked: [Errno ")
    assert result["networks"][0]["enforced"]["inbound"]["agrees"] is None


def test_libvirt_of_another_host(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "here", False)
    assert run()["interfaces"][3]["enforced"]["note"] == "libvirt runs on another host"


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        ("qemu:///system", True),
        ("qemu+unix:///system?socket=/run/libvirt/libvirt-sock", True),
        ("qemu+ssh://root@kvm1.example.com/system", False),
        ("qemu+tcp://[2001:db8::1]/system", False),
        ("qemu+ext:///system?command=nc", False),
    ],
)
def test_where_libvirt_is(connection: Any, uri: str, here: bool) -> None:
    class Connection:
        def getURI(self) -> str:  # noqa: N802, libvirt's name
            return uri

    host = Host("test:///default", read_only=True)
    assert host.here
    host._connection = Connection()
    assert host.here is here


def test_the_connection_is_read_only(connection: Any) -> None:
    host = Host("test:///default", read_only=True)
    domain = host._find("web")
    with pytest.raises(libvirt.libvirtError, match="read only access prevents virDomainSetInterfaceParameters"):
        host._set(domain, "52:54:00:00:01:01", "live", Bandwidth(Limit(1)), ["inbound"])


@pytest.mark.parametrize(
    ("match", "expected", "networks"),
    [
        ({"domain": "web"}, ["01:01", "01:02"], ["capped"]),
        ({"domain": ["w*", "cold"], "bridge": "br0"}, ["03:01", "01:01"], []),
        ({"portgroup": "gold"}, ["03:02", "01:02"], ["capped"]),
        ({"network": "d*"}, ["ee:ff"], ["default"]),
        ({"title": "of c*"}, ["03:01", "03:02"], ["capped"]),
        ({"mac": "AA:BB:*"}, ["ee:ff"], ["default"]),
        ({"domain": "nope"}, [], []),
    ],
)
def test_match(run: Run, match: dict[str, Any], expected: list[str], networks: list[str]) -> None:
    result = run(match=match)
    assert macs(result) == expected
    assert [each["name"] for each in result["networks"]] == networks


def test_floors_of_guests_that_are_not_matched_count(run: Run) -> None:
    (capped,) = run(match={"domain": "cold"})["networks"]
    assert capped["floors"] == {"used": "1.6mbit", "left": "38.4mbit"}


def test_only_what_is_meant_is_read_where_nothing_can_have_a_floor(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    domains = Host.domains

    def listening(self: Host, scopes: Any, concern: Any = None, metadata: bool = False) -> list[Domain]:
        asked.append(concern)
        return domains(self, scopes, concern, metadata)

    monkeypatch.setattr(Host, "domains", listening)
    run(match={"domain": "web"})
    networks = Networks.all
    monkeypatch.setattr(Networks, "all", lambda self: [each for each in networks(self) if each.name != "capped"])
    assert macs(run(match={"domain": "web"})) == ["01:01", "01:02"]
    first, second = asked
    assert first is None
    assert (second("web"), second("cold")) == (True, False)


def test_drift(run: Run, connection: Any) -> None:
    domain = connection.lookupByName("web")
    domain.setInterfaceParameters("52:54:00:00:01:01", {"inbound.average": 5}, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    first, second = run(match={"domain": "web"})["interfaces"]
    assert (first["drift"], second["drift"]) == (["inbound"], [])
    assert first["config"]["effective"]["inbound"] == {"average": "40kbit"}
    assert first["enforced"]["inbound"]["agrees"] is True


def test_an_inactive_network_and_one_that_is_not_there(run: Run, connection: Any) -> None:
    connection.networkLookupByName("capped").destroy()
    (capped,) = run(match={"network": "capped"})["networks"]
    assert (capped["active"], capped["live"], capped["enforced"]) == (False, None, None)
    connection.networkLookupByName("capped").undefine()
    try:
        result = run(match={"domain": "cold"})
        assert [each["portgroup"] for each in result["interfaces"]] == [None, None]
        assert result["networks"] == []
    finally:
        connection.networkDefineXML(NETWORK).create()


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"match": {}}, ["match: a match that names nothing", 'write domain: "*" if']),
        (
            {"match": {"domain": ""}, "uri": ""},
            ["match.domain ['']: an empty glob fits nothing", "uri '': it is empty"],
        ),
        ({"uri": "qemu:///session"}, ["uri 'qemu:///session'"]),
        ({"match": {"nic": "x"}}, ["Unsupported parameters"]),
    ],
)
def test_what_cannot_be_is_refused(run: Run, options: dict[str, Any], fragments: list[str]) -> None:
    result = run(**options)
    assert result["failed"]
    for fragment in fragments:
        assert fragment in result["msg"]


def test_libvirts_refusal_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(self: Networks) -> None:
        raise HostError("Listing the networks failed: no")

    monkeypatch.setattr(Networks, "all", refusing)
    assert run()["msg"] == "Listing the networks failed: no"


# What the test driver does not do

GOLD = Bandwidth(outbound=Limit(6))
LIVE = Network("capped", "route", Bandwidth(Limit(100)), {"gold": GOLD}, "gold", "virbr7")


def test_a_portgroup_that_changed_after_the_guest_was_plugged_in() -> None:
    old = Bandwidth(outbound=Limit(5))
    live = Nic("52:54:00:00:00:01", "network", "vnet0", network="capped", bridge="virbr7", shown=old)
    domain = Domain("web", "1", {"live": (live,), "config": (replace(live, target=None, shown=Bandwidth()),)})
    (each,) = seen([domain], None, {"capped": LIVE}.get)
    info = interface_info(each, {"capped": LIVE}.get, Kernel())
    assert info["live"]["own"] == info["config"]["own"] == NOTHING
    assert info["live"]["portgroup"]["outbound"] == info["config"]["effective"]["outbound"] == {"average": "48kbit"}
    assert info["live"]["effective"]["outbound"] == {"average": "40kbit"}
    assert info["drift"] == ["outbound"]


def test_nics_with_the_same_mac_are_told_apart() -> None:
    one, two = (Nic("52:54:00:00:00:01", "bridge", shown=each, own=each) for each in (GOLD, Bandwidth()))
    found = seen([Domain("web", "1", {"live": (one, two), "config": (one, two, one)})], None, lambda name: None)
    assert [each.nics for each in found] == [
        {"live": one, "config": one},
        {"live": two, "config": two},
        {"config": one},
    ]


def test_a_network_that_was_redefined_and_changed_on_its_bridge() -> None:
    config = replace(LIVE, bandwidth=Bandwidth(Limit(200)), portgroups={"new": GOLD}, default_portgroup=None)
    network = NetworkByScope("capped", {"live": LIVE, "config": config})
    done = Kernel({"virbr7": Limits(Shape(200_000, 200_000, 1600))})
    nic = Nic("52:54:00:00:00:01", "network", network="capped", shown=Bandwidth(Limit(floor=150)))
    info = network_info(network, [Domain("web", "1", {"live": (nic,)})], done)
    assert info["drift"] == ["inbound"]
    assert info["enforced"]["inbound"] == {"average": "1.6mbit", "burst": "1600B", "agrees": True}
    # libvirt reckons with what the running network says.
    assert info["floors"] == {"used": "1.2mbit", "left": "0bit"}
    gold, new = info["portgroups"]
    assert (gold["name"], gold["default"], gold["config"], new["live"], new["drift"]) == ("gold", True, None, None, [])


def test_a_nic_takes_about_as_much_of_the_result_as_the_documentation_says(run: Run) -> None:
    sizes = [len(json.dumps(each)) for each in run(match={"domain": "web"})["interfaces"]]
    assert all(700 < size < 1100 for size in sizes), sizes
