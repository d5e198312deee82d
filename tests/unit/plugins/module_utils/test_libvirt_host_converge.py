# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many changes in one run: each is made and read back, and one that fails does not keep the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import Bandwidth, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Write
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Nic

libvirt = pytest.importorskip("libvirt")

SMALL = Bandwidth(Limit(average=1000))
GUESTS = 10


@pytest.fixture
def host() -> Iterator[Host]:
    connection = libvirt.open("test:///default")
    domains = []
    for number in range(GUESTS):
        nics = "".join(
            f"<interface type='bridge'><mac address='52:54:00:00:{number:02}:{nic:02}'/><source bridge='br0'/>"
            "</interface>"
            for nic in (1, 2)
        )
        head = f"<domain type='test'><name>many{number}</name><memory>65536</memory><os><type>hvm</type></os>"
        domains.append(connection.defineXML(f"{head}<devices>{nics}</devices></domain>"))
    yield Host("test:///default")
    for domain in domains:
        domain.undefine()
    connection.close()


def changes(host: Host, scope: str = "config") -> list[Change]:
    write = Write(Bandwidth(), SMALL)
    return [
        Change(domain.name, domain.uuid, nic, {scope: write})
        for domain in host.domains(["config"], lambda name: name.startswith("many"))
        for nic in domain.nics["config"]
    ]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have libvirt refuse the NIC whose MAC ends with 03:01; return what was written or tried."""
    macs: list[str] = []

    def apply(_host: Host, change: Change, _lenient: bool) -> None:
        macs.append(change.nic.mac)
        if change.nic.mac.endswith("03:01"):
            raise HostError(f"{change.nic.mac} is refused")

    monkeypatch.setattr(Host, "_apply", apply)
    monkeypatch.setattr(Host, "_read_back", lambda *_arguments: [])
    return macs


def test_all_are_made_and_returned_in_their_order(host: Host) -> None:
    wanted = changes(host)
    assert len(wanted) == 2 * GUESTS
    made, failures = host.converge(wanted)
    assert (made, failures) == (wanted, [])
    domains = host.domains(["config"], lambda name: name.startswith("many"))
    assert all(nic.own == SMALL for domain in domains for nic in domain.nics["config"])


def test_one_that_is_refused_does_not_keep_the_others(host: Host, tried: list[str]) -> None:
    wanted = changes(host)
    made, failures = host.converge(wanted)
    assert tried == [change.nic.mac for change in wanted]
    assert made == [*wanted[:6], *wanted[7:]]
    assert [str(failure) for failure in failures] == ["52:54:00:00:03:01 is refused"]


def test_without_a_connection_nothing_more_is_tried(
    host: Host, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead:
        def isAlive(self) -> bool:  # noqa: N802 -- libvirt's name
            return False

    wanted = changes(host)
    monkeypatch.setattr(host, "_connection", Dead())
    made, failures = host.converge(wanted)
    assert (len(made), len(failures), len(tried)) == (6, 1, 7)


def test_floors_rise_after_others_have_been_lowered(host: Host, tried: list[str]) -> None:
    """networkCheckBandwidth counts what all have at that moment."""
    plain, rises, falls = changes(host, "live")[:3]
    low, high = Bandwidth(Limit(floor=100)), Bandwidth(Limit(floor=800))
    wanted = [
        replace(rises, writes={"live": Write(low, high)}),
        plain,
        replace(falls, writes={"live": Write(high, low)}),
    ]
    assert host.converge(wanted) == (wanted, [])
    assert tried == [change.nic.mac for change in (plain, falls, rises)]


def test_nothing_to_do(host: Host) -> None:
    assert host.converge([]) == ([], [])
    nic = Nic("52:54:00:00:99:99", "bridge")
    (missing,) = host.converge([Change("gone", "no-uuid", nic, {"config": Write(Bandwidth(), SMALL)})])[1]
    assert "Finding domain 'gone' again" in str(missing)
