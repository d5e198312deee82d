# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt_bandwidth_info says in brief: NICs that nobody declared, what else is noteworthy, and sums of all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _bandwidth_info_run
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits, Shape
from ansible_collections.virtnet.qos.plugins.modules import virt_bandwidth_info
from ansible_collections.virtnet.qos.tests.unit.driver import CAPPED, Run, host, runner

libvirt = pytest.importorskip("libvirt")

EVENT = 700_000  # bytes, of which AWX cuts what is more (MAX_EVENT_RES_DATA)
DOMAIN = (
    "<domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os>"
    "<devices>{nics}</devices></domain>"
)
NIC = (
    "<interface type='{type}'><mac address='52:54:00:00:{number:02x}:{nic:02x}'/><source {source}/>"
    "<target dev='tap{number}.{nic}'/><bandwidth>{bandwidth}</bandwidth></interface>"
)
SLOW, FAST = "<inbound average='1000'/>", "<inbound average='2000' peak='4000'/><outbound average='500'/>"
MATCHED = {"domain": ["brief*"]}
KILOBIT = Shape(1_000_000, 1_000_000, 1600)


def nic(number: int, index: int, bandwidth: str = "", kind: str = "bridge", source: str = "bridge='br0'") -> str:
    return NIC.format(number=number, nic=index, bandwidth=bandwidth, type=kind, source=source)


def domain(number: int, *nics: str) -> str:
    return DOMAIN.format(name=f"brief{number}", nics="".join(nics))


@pytest.fixture
def connection() -> Iterator[Any]:
    running = [
        domain(1, nic(1, 0, SLOW), nic(1, 1)),
        domain(2, nic(2, 0, FAST, "network", "network='capped'")),
        domain(3, nic(3, 0, SLOW)),
    ]
    with host(CAPPED, running=running, off=[domain(4, nic(4, 0, FAST))]) as connection:
        yield connection


@pytest.fixture
def run(connection: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    said = {"tap1.0": Limits(KILOBIT), "tap1.1": Limits(), "tap3.0": Limits()}
    monkeypatch.setattr(_bandwidth_info_run, "limits", lambda _names, _bridges: said)
    return runner(virt_bandwidth_info, capfd, monkeypatch, match=MATCHED, brief=True)


def test_what_nobody_declared(run: Run) -> None:
    result = run(only=["undeclared"], declared=[{"domain": "brief1", "mac": "*:00"}, {"network": "capped"}])
    assert [(each["domain"], each["mac"], each["undeclared"]) for each in result["interfaces"]] == [
        ("brief1", "52:54:00:00:01:01", ["live", "config"]),
        ("brief3", "52:54:00:00:03:00", ["live", "config"]),
        ("brief4", "52:54:00:00:04:00", ["config"]),
    ]
    assert result["interfaces"][0] == {
        "domain": "brief1",
        "mac": "52:54:00:00:01:01",
        "target": "tap1.1",
        "bridge": "br0",
        "running": True,
        "limited": False,
        "undeclared": ["live", "config"],
    }
    everything = run(only=["undeclared"], declared=[])
    assert (len(everything["interfaces"]), everything["considered"]) == (5, 5)
    assert run(only=["undeclared"], declared=[{"domain": "*"}])["interfaces"] == []


def test_a_nic_that_is_declared_only_in_one_scope(run: Run, connection: Any) -> None:
    same = f"<uuid>{connection.lookupByName('brief1').UUIDString()}</uuid><memory>"
    moved = domain(1, nic(1, 0, SLOW, source="bridge='elsewhere'"))
    connection.defineXML(moved.replace("<memory>", same))
    result = run(only=["undeclared"], declared=[{"bridge": "br0"}, {"network": "capped"}, {"domain": "brief4"}])
    assert [(each["mac"], each["undeclared"]) for each in result["interfaces"]] == [("52:54:00:00:01:00", ["config"])]


def test_whole_entries_say_it_too(run: Run) -> None:
    result = run(brief=False, declared=[{"domain": "brief[12]"}])
    assert [each["undeclared"] for each in result["interfaces"]] == [[], [], [], ["live", "config"], ["config"]]
    assert "summary" not in result
    assert all("undeclared" not in each for each in run(brief=False)["interfaces"])


def test_what_differs_and_what_is_not_enforced(run: Run, connection: Any) -> None:
    first = connection.lookupByName("brief1")
    first.setInterfaceParameters("52:54:00:00:01:00", {"inbound.average": 3000}, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    differs, unenforced = run(only=["drift", "unenforced"])["interfaces"]
    assert differs["drift"] == {"inbound": {"live": "average 8mbit", "config": "average 24mbit"}}
    assert "unenforced" not in differs
    assert unenforced["unenforced"] == {"inbound": {"promised": "average 8mbit", "enforced": "average unlimited"}}
    assert (unenforced["domain"], unenforced["limited"]) == ("brief3", True)


def test_sums_are_of_all_nics(run: Run) -> None:
    summary = run(only=["drift"])["summary"]
    assert summary == {
        "running": 4,
        "limited": 4,
        "unknown": 1,  # that on the network, whose device is not there
        "averages": {"inbound": {"8mbit": 2, "16mbit": 2, "unlimited": 1}, "outbound": {"unlimited": 3, "4mbit": 2}},
        "promised": [
            {
                "network": None,
                "bridge": "br0",
                "nics": 3,
                "unlimited": {"inbound": 1, "outbound": 3},
                "inbound": "16mbit",
                "outbound": "0bit",
            },
            {
                "network": "capped",
                "bridge": "virbr7",
                "nics": 1,
                "unlimited": {"inbound": 0, "outbound": 0},
                "inbound": "16mbit",
                "outbound": "4mbit",
            },
        ],
    }


def test_a_thousand_nics_fit_into_an_event(run: Run) -> None:
    """Each with all there can be said of it: not declared, not enforced, and otherwise defined."""
    own = "<inbound average='1000' peak='2000' burst='64'/><outbound average='1000' burst='64'/>"
    running = [domain(number, *(nic(number, each, own, "user", "") for each in range(10))) for number in range(50, 150)]
    running = [xml.replace("<source />", "") for xml in running]
    with host(running=running) as connection:
        other = {"inbound.average": 3000, "inbound.peak": 6000, "outbound.average": 500}
        for number in range(50, 150):
            for each in range(10):
                mac = f"52:54:00:00:{number:02x}:{each:02x}"
                guest = connection.lookupByName(f"brief{number}")
                guest.setInterfaceParameters(mac, other, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        result = run(only=["drift", "unenforced", "undeclared"], declared=[], match={"domain": "brief*"})
    listed = [each for each in result["interfaces"] if "drift" in each and "unenforced" in each]
    assert len(listed) == 1000
    assert len(json.dumps(result)) < EVENT
    bare = [{key: value for key, value in each.items() if key not in ("drift", "unenforced")} for each in listed]
    assert len(json.dumps({**result, "interfaces": bare})) < EVENT / 4


def test_undeclared_needs_to_know_what_is_declared(run: Run) -> None:
    assert run(only=["undeclared"])["msg"] == (
        "only 'undeclared': nothing says what is declared; give declared, be it an empty list, or drop it."
    )
    assert "declared[1]: a match that names nothing" in run(declared=[{"domain": ["x"]}, {}])["msg"]
