# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many changes at once: definitions of several guests side by side, everything else in its order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import Bandwidth, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Write
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import READERS, Host, HostError
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


class Watch:
    """Takes the place of Host._apply, and sees what is written at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refused: str = "", seconds: float = 0.005) -> None:
        self.refused, self.seconds = refused, seconds
        self.lock = threading.Lock()
        self.now: list[str] = []
        self.together: list[list[str]] = []
        self.written: list[str] = []
        monkeypatch.setattr(Host, "_apply", lambda _host, change, _lenient: self.apply(change))

    def apply(self, change: Change) -> None:
        with self.lock:
            self.now.append(change.domain)
            self.together.append(list(self.now))
        time.sleep(self.seconds)
        with self.lock:
            self.now.remove(change.domain)
            self.written.append(change.nic.mac)
        if change.nic.mac == self.refused:
            raise HostError(f"{change.nic.mac} is refused")


def test_all_are_made_and_returned_in_their_order(host: Host) -> None:
    wanted = changes(host)
    assert len(wanted) == 2 * GUESTS
    made, failures = host.converge(wanted)
    assert (made, failures) == (wanted, [])
    domains = host.domains(["config"], lambda name: name.startswith("many"))
    assert all(nic.own == SMALL for domain in domains for nic in domain.nics["config"])


def test_the_nics_of_a_guest_are_never_written_at_the_same_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    monkeypatch.setattr(Host, "_read_back", lambda *_arguments: [])
    host.converge(changes(host))
    assert all(len(set(names)) == len(names) for names in watch.together)
    assert 1 < max(map(len, watch.together)) <= READERS
    for number in range(GUESTS):
        mine = [mac for mac in watch.written if mac.split(":")[4] == f"{number:02}"]
        assert mine == [f"52:54:00:00:{number:02}:01", f"52:54:00:00:{number:02}:02"]


def test_what_runs_is_written_one_after_the_other(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    monkeypatch.setattr(Host, "_read_back", lambda *_arguments: [])
    running = changes(host, "live")
    host.converge(running)
    assert watch.written == [change.nic.mac for change in running]
    assert all(len(names) == 1 for names in watch.together)


def test_one_that_is_refused_does_not_keep_the_others(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = changes(host)
    Watch(monkeypatch, refused=wanted[5].nic.mac)
    monkeypatch.setattr(Host, "_read_back", lambda *_arguments: [])
    made, failures = host.converge(wanted)
    assert made == [*wanted[:5], *wanted[6:]]
    assert [str(failure) for failure in failures] == [f"{wanted[5].nic.mac} is refused"]


def test_without_a_connection_nothing_more_is_tried(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = changes(host)
    watch = Watch(monkeypatch, refused=wanted[0].nic.mac)
    monkeypatch.setattr(Host, "_read_back", lambda *_arguments: [])

    class Dead:
        def isAlive(self) -> bool:  # noqa: N802 -- libvirt's name
            return False

    monkeypatch.setattr(host, "_connection", Dead())
    _made, failures = host.converge(wanted)
    assert len(failures) == 1
    assert len(watch.written) <= 2 * READERS


def test_nothing_to_do(host: Host) -> None:
    assert host.converge([]) == ([], [])
    nic = Nic("52:54:00:00:99:99", "bridge")
    (missing,) = host.converge([Change("gone", "no-uuid", nic, {"config": Write(Bandwidth(), SMALL)})])[1]
    assert "Finding domain 'gone' again" in str(missing)
