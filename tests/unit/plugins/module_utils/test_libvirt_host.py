# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door against libvirt's own test driver, whose state lives in this process while a connection is open.

That driver checks neither types nor limits nor floors, and it gives a NIC nothing of its portgroup: what only a real
hypervisor does is in the host lab.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import NO_BANDWIDTH, Bandwidth, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Write
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Away, Host
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_networks import Networks
from ansible_collections.virtnet.qos.tests.unit import driver

libvirt = pytest.importorskip("libvirt")

MAC = "52:54:00:00:00:01"
OLD = Bandwidth(outbound=Limit(9))
NEW = Bandwidth(Limit(100, 200, 64), Limit(50))
FILE = """<node>
  <network><name>prod</name><forward mode='route'/><bridge name='virbr7'/><ip address='192.0.2.1' prefix='24'/>
    <bandwidth><inbound average='1000'/></bandwidth>
    <portgroup name='web'><bandwidth><inbound average='5'/></bandwidth></portgroup></network>
  <domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><test:runstate>5</test:runstate>
    <name>off</name><memory>65536</memory><os><type>hvm</type></os><devices>
    <interface type='network'><mac address='52:54:00:00:00:11'/><source network='prod' portgroup='web'/></interface>
    <interface type='user'><mac address='52:54:00:00:00:12'/><bandwidth><inbound average='7'/></bandwidth></interface>
  </devices></domain>
</node>"""


def domain_xml(name: str) -> str:
    nic = f"<interface type='bridge'><mac address='{MAC}'/><source bridge='br0'/>"
    bandwidth = "<bandwidth><outbound average='9'/></bandwidth></interface>"
    devices = f"<devices>{nic}{bandwidth}</devices>"
    return f"<domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os>{devices}</domain>"


@pytest.fixture
def guest() -> Iterator[Any]:
    """A running, persistent domain, as libvirt's own object."""
    with driver.host(running=[domain_xml("web")]) as connection:
        yield connection.lookupByName("web")


def own(host: Host) -> dict[str, Bandwidth]:
    return {scope: nics[0].own for scope, nics in host.domain("web").nics.items()}


def change_of(host: Host, **writes: Bandwidth) -> Change:
    domain = host.domain("web")
    nic = domain.nics["live"][0]
    return Change(domain.name, domain.uuid, nic, {scope: Write(OLD, after) for scope, after in writes.items()})


def test_a_domain_is_found_by_name_and_by_uuid(guest: Any) -> None:
    host = Host("test:///default")
    by_name = host.domain("web")
    assert by_name == host.domain(guest.UUIDString()) == host.domain(guest.UUIDString().upper())
    assert sorted(by_name.nics) == ["config", "live"]
    assert by_name.nics["live"][0].mac == MAC
    assert by_name.nics["live"][0].own == by_name.nics["config"][0].own == OLD


@pytest.mark.parametrize("name", ["nope", "11111111-2222-3333-4444-555555555555"])
def test_an_unknown_domain_is_told_with_those_there_are(guest: Any, name: str) -> None:
    with pytest.raises(HostError, match=f"domain '{name}': test:///default has no domain with this name or UUID"):
        Host("test:///default").domain(name)
    with pytest.raises(HostError, match=r"it has test, web\."):
        Host("test:///default").domain(name)


def test_a_transient_domain_has_no_definition() -> None:
    connection = libvirt.open("test:///default")
    domain = connection.createXML(domain_xml("brief"))
    try:
        assert list(Host("test:///default").domain("brief").nics) == ["live"]
    finally:
        domain.destroy()


def test_a_file_of_domains_and_networks(tmp_path: Path) -> None:
    path = tmp_path / "host.xml"
    path.write_text(FILE)
    host = Host(f"test://{path}")
    domain = host.domain("off")
    assert list(domain.nics) == ["config"]
    grouped, user = domain.nics["config"]
    assert (grouped.network, grouped.portgroup, grouped.own) == ("prod", "web", NO_BANDWIDTH)
    assert (user.type, user.own) == ("user", Bandwidth(inbound=Limit(7)))
    network = host.networks.find("prod")
    assert network is not None
    assert (network.forward, network.bandwidth.inbound) == ("route", Limit(1000))
    assert network.given_to(grouped) == Bandwidth(inbound=Limit(5))
    assert host.networks.find("prod") is network
    assert host.networks.find("nope") is None


@pytest.mark.parametrize(
    ("code", "number", "none"),
    [
        (libvirt.VIR_ERR_NO_SUPPORT, -1, True),
        (libvirt.VIR_ERR_SYSTEM_ERROR, errno.ENOENT, True),
        (libvirt.VIR_ERR_SYSTEM_ERROR, errno.EACCES, False),
        (libvirt.VIR_ERR_INTERNAL_ERROR, -1, False),
    ],
)
def test_a_host_without_virtual_networks(code: int, number: int, none: bool) -> None:
    class Connection:
        def listAllNetworks(self) -> list[Any]:  # noqa: N802, libvirt's name
            error = libvirt.libvirtError("it failed")
            error.err = (code, 19, "it failed", 2, "%s", "it failed", None, number, -1)
            raise error

    networks = Networks(Connection(), "test:///default")
    if none:
        assert networks.all() == []
    else:
        with pytest.raises(HostError, match="Listing the networks on test:///default failed: it failed"):
            networks.all()


def test_a_network_that_is_undefined_while_it_is_read() -> None:
    class Network:
        def name(self) -> str:
            return "brief"

        def isActive(self) -> bool:  # noqa: N802, libvirt's name
            error = libvirt.libvirtError("it is gone")
            error.err = (libvirt.VIR_ERR_NO_NETWORK, 19, "it is gone", 2, "%s", "it is gone", None, -1, -1)
            raise error

    class Connection:
        def listAllNetworks(self) -> list[Any]:  # noqa: N802, libvirt's name
            return [Network()]

    assert Networks(Connection(), "test:///default").all() == []


def test_a_change_is_written_where_it_says_and_nowhere_else(guest: Any) -> None:
    host = Host("test:///default")
    change = change_of(host, live=NEW)
    assert host.converge([change]) == ([change], [])
    assert own(host) == {"live": NEW, "config": OLD}
    host.converge([change_of(host, config=NEW)])
    assert own(host) == {"live": NEW, "config": NEW}


def test_the_largest_rate_and_the_end_of_a_limit(guest: Any) -> None:
    host = Host("test:///default")
    largest = Bandwidth(Limit(2**32 - 1, 2**32 - 1, 4194303), Limit(2**32 - 1))
    change = change_of(host, live=largest, config=largest)
    assert host.converge([change]) == ([change], [])
    cleared = replace(change, writes={scope: Write(largest, NO_BANDWIDTH) for scope in ("live", "config")})
    assert host.converge([cleared]) == ([cleared], [])
    assert own(host) == {"live": NO_BANDWIDTH, "config": NO_BANDWIDTH}


def test_a_network_nic_that_shows_a_bandwidth_is_asked_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test driver shows what is the NIC's own; that it is asked, and only then, is seen here."""
    asked = []

    class Asking(Host):
        def _get(self, domain: Any, mac: str, scope: str) -> Bandwidth:
            asked.append((mac, scope))
            return super()._get(domain, mac, scope)

    connection = libvirt.open("test:///default")
    nics = "".join(
        f"<interface type='{kind}'><mac address='52:54:00:00:00:2{n}'/><source {kind}='default'/>{limit}</interface>"
        for n, (kind, limit) in enumerate(
            [
                ("network", "<bandwidth><inbound average='5'/></bandwidth>"),
                ("network", ""),
                ("bridge", "<bandwidth><inbound average='5'/></bandwidth>"),
            ]
        )
    )
    head = "<domain type='test'><name>asked</name><memory>65536</memory><os><type>hvm</type></os>"
    domain = connection.createXML(f"{head}<devices>{nics}</devices></domain>")
    try:
        read = Asking("test:///default").domain("asked").nics["live"]
    finally:
        domain.destroy()
    assert asked == [("52:54:00:00:00:20", "live")]
    assert [nic.own.inbound.average for nic in read] == [5, 0, 5]


def test_what_a_nic_of_a_network_has_can_be_wider_than_an_answer() -> None:
    xml = ONE_NIC.format("wide").replace("average='5'", f"average='{2**32 + 5}'")
    with driver.host(running=[xml]):
        (nic,) = Host("test:///default").domain("wide").nics["live"]
    assert nic.own == nic.shown == Bandwidth(Limit(2**32 + 5))


ONE_NIC = """<domain type='test'><name>{}</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='network'><mac address='52:54:00:00:00:31'/><source network='default'/>
    <bandwidth><inbound average='5'/></bandwidth></interface></devices></domain>"""


class Interrupted(Host):
    """Something happens to a domain once, between the reading of its XML and of what its NIC has of its own."""

    def __init__(self, happens: Any) -> None:
        super().__init__("test:///default")
        self._happens = happens
        self.asked = 0

    def _get(self, domain: Any, mac: str, scope: str) -> Bandwidth:
        self.asked += 1
        if self.asked == 1:
            mac = self._happens(domain, mac) or mac
        return super()._get(domain, mac, scope)


def test_all_domains_of_a_host_by_name(guest: Any) -> None:
    host = Host("test:///default")
    assert [(domain.name, domain.running, sorted(domain.nics)) for domain in host.domains(["live", "config"])] == [
        ("test", True, ["config", "live"]),
        ("web", True, ["config", "live"]),
    ]
    (web,) = host.domains(["config"], lambda name: name == "web")
    assert (web.running, list(web.nics)) == (True, ["config"])
    guest.destroy()
    (web,) = host.domains(["live"], lambda name: name == "web")
    assert (web.running, list(web.nics)) == (False, [])


def test_a_domain_that_is_saved_is_known_as_such(guest: Any) -> None:
    guest.managedSave(0)
    try:
        assert Host("test:///default").saved() == {guest.UUIDString()}
    finally:
        guest.managedSaveRemove(0)


@pytest.mark.parametrize(("persistent", "scopes"), [(True, [["config"]]), (False, [])])
def test_a_guest_that_is_shut_off_while_it_is_read(persistent: bool, scopes: list[list[str]]) -> None:
    connection = libvirt.open("test:///default")
    xml = ONE_NIC.format("brief")
    domain = connection.defineXML(xml) if persistent else connection.createXML(xml)
    if persistent:
        domain.create()
    host = Interrupted(lambda handle, mac: handle.destroy() and None)
    try:
        read = host.domains(["live", "config"], lambda name: name == "brief")
    finally:
        if persistent:
            domain.undefine()
    assert [list(domain.nics) for domain in read] == scopes
    assert not any(domain.running for domain in read)


def test_a_nic_that_is_unplugged_while_it_is_read(guest: Any) -> None:
    """The test driver cannot unplug one: libvirt is asked for a NIC that is not there, once."""
    connection = libvirt.open("test:///default")
    domain = connection.createXML(ONE_NIC.format("brief"))
    host = Interrupted(lambda handle, mac: "52:54:00:00:00:99")
    try:
        (read,) = host.domains(["live"], lambda name: name == "brief")
    finally:
        domain.destroy()
    assert host.asked == 2
    assert read.nics["live"][0].own == Bandwidth(inbound=Limit(5))


def test_a_guest_that_starts_later_is_told(guest: Any) -> None:
    host = Host("test:///default")
    guest.destroy()
    (test, _web) = host.domains(["live", "config"])
    assert host.started({test.uuid}) == []
    guest.create()
    assert host.started({test.uuid}) == ["web"]
    assert host.started([]) == ["web"]
    assert Host("test:///default").started([]) == ["test", "web"]  # it has listed none


class Working:
    """A running guest with a job. The test driver has none."""

    def __init__(self, **job: int) -> None:
        self._job = job

    def ID(self) -> int:  # noqa: N802, libvirt's name
        return 3

    def jobStats(self) -> dict[str, int]:  # noqa: N802, libvirt's name
        return self._job


@pytest.mark.parametrize(
    ("kind", "operation", "busy"),
    [
        ("NONE", "UNKNOWN", None),
        ("COMPLETED", "MIGRATION_OUT", None),
        ("UNBOUNDED", "MIGRATION_OUT", "migrated to another host"),
        ("UNBOUNDED", "MIGRATION_IN", "migrated to this host"),
        ("BOUNDED", "SAVE", "saved"),
        # A backup can take hours, and libvirt changes guests meanwhile.
        ("UNBOUNDED", "BACKUP", None),
    ],
)
def test_what_a_guest_is_busy_with(kind: str, operation: str, busy: str | None) -> None:
    job = {
        "type": getattr(libvirt, f"VIR_DOMAIN_JOB_{kind}"),
        "operation": getattr(libvirt, f"VIR_DOMAIN_JOB_OPERATION_{operation}"),
    }
    assert Host("test:///default")._busy(Working(**job)) == busy


class Failing(Host):
    """libvirt as it is where the writes to these scopes fail. The error is a real one: there is no such NIC."""

    failing: tuple[str, ...] = ()
    undo_fails = False
    calls = 0

    def _set(self, domain: Any, mac: str, scope: str, bandwidth: Bandwidth, directions: list[str]) -> None:
        self.calls += 1
        undoing = bandwidth == OLD
        if (scope in self.failing and not undoing) or (undoing and self.undo_fails):
            mac = "52:54:00:00:00:99"
        super()._set(domain, mac, scope, bandwidth, directions)


def test_when_the_second_write_fails_the_first_is_taken_back(guest: Any) -> None:
    host = Failing("test:///default")
    host.failing = ("live",)
    made, (failure,) = host.converge([change_of(host, live=NEW, config=NEW)])
    assert made == []
    assert own(host) == {"live": OLD, "config": OLD}
    assert not failure.stands
    text = str(failure)
    assert text.startswith(
        f"Domain 'web', NIC {MAC} (testnet0, bridge): setting inbound and outbound of the running guest"
    )
    assert "libvirt error 8)" in text
    assert text.endswith("The persistent definition was set back to what it was. Nothing of this NIC has changed.")


def test_when_the_first_write_fails_the_second_is_not_tried(guest: Any) -> None:
    host = Failing("test:///default")
    host.failing = ("config",)
    _made, (failure,) = host.converge([change_of(host, live=NEW, config=NEW)])
    assert host.calls == 1
    assert own(host) == {"live": OLD, "config": OLD}
    assert "setting inbound and outbound of the persistent definition failed" in str(failure)
    assert str(failure).endswith("Nothing of this NIC has changed.")


def test_when_taking_back_fails_too_it_says_what_stands(guest: Any) -> None:
    host = Failing("test:///default")
    host.failing = ("live",)
    host.undo_fails = True
    _made, (failure,) = host.converge([change_of(host, live=NEW, config=NEW)])
    assert own(host) == {"live": OLD, "config": NEW}
    assert failure.stands
    assert "Setting the persistent definition back to what it was failed" in str(failure)
    assert "It may have the new value" in str(failure)


def test_what_a_call_cannot_hold_is_not_set_back_and_told(guest: Any) -> None:
    """A definition can hold more than 32 bits."""
    host = Failing("test:///default")
    host.failing = ("live",)
    huge = Bandwidth(outbound=Limit(2**32 + 1))
    change = change_of(host, live=NEW, config=NEW)
    change = replace(change, writes={**change.writes, "config": Write(huge, NEW)})
    _made, (failure,) = host.converge([change])
    assert failure.stands
    assert "it was more than a call of libvirt can hold. It may have the new value." in str(failure)


WIDE = Bandwidth(Limit(2**32 + 1), Limit(9))


class Renewing(Host):
    """libvirt as it changes NICs by their XML, which the test driver cannot; ``fails`` is what it refuses."""

    fails: Bandwidth | None = None

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.given: list[Bandwidth] = []

    def _update(self, domain: Any, mac: str, bandwidth: Bandwidth) -> None:
        self.given.append(bandwidth)
        if bandwidth == self.fails:
            super()._get(domain, "52:54:00:00:00:99", "live")
        if bandwidth == NO_BANDWIDTH:
            self._set(domain, mac, "live", bandwidth, ["inbound", "outbound"])


@pytest.fixture
def wide() -> Iterator[Any]:
    """A running guest whose NIC was defined with more than a call can hold."""
    inbound = f"<bandwidth><inbound average='{2**32 + 1}'/>"
    with driver.host(running=[domain_xml("web").replace("<bandwidth>", inbound)]):
        yield


def test_what_a_call_cannot_hold_is_kept_when_a_nic_is_plugged_anew(wide: None) -> None:
    host = Renewing("test:///default")
    after = Bandwidth(WIDE.inbound)
    host.converge([replace(change_of(host), writes={"live": Write(WIDE, after)}, renew=True)])
    assert host.given == [NO_BANDWIDTH, after]


def test_what_a_call_cannot_hold_is_set_back_in_a_running_guest(wide: None) -> None:
    host = Renewing("test:///default")
    host.fails = Bandwidth(WIDE.inbound)
    change = replace(change_of(host), writes={"live": Write(WIDE, host.fails)}, renew=True)
    made, (failure,) = host.converge([change])
    assert made == []
    assert host.given == [NO_BANDWIDTH, host.fails, WIDE]
    assert not failure.stands
    assert str(failure).endswith("The running guest was set back to what it was. Nothing of this NIC has changed.")


def test_a_port_of_open_vswitch_may_have_the_new_value(guest: Any) -> None:
    host = Failing("test:///default")
    host.failing = ("live",)
    change = change_of(host, live=NEW)
    _made, (failure,) = host.converge([replace(change, nic=replace(change.nic, openvswitch=True))])
    assert failure.stands
    assert str(failure).endswith("The port in Open vSwitch may have the new value; run again.")


def test_a_nic_that_had_its_portgroups_gets_that_again(guest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clearing what the NIC has of its own would leave it unlimited. The test driver has no such NICs."""
    renewed = []
    host = Failing("test:///default")
    host.failing = ("live",)
    monkeypatch.setattr(host, "_renew", lambda _domain, mac: renewed.append(mac))
    change = change_of(host, live=NEW)
    nic = replace(change.nic, shown=OLD, own=NO_BANDWIDTH)
    _made, (failure,) = host.converge([replace(change, nic=nic, writes={"live": Write(NO_BANDWIDTH, NEW)})])
    assert renewed == [MAC]
    assert not failure.stands


@pytest.mark.parametrize("lenient", [True, False])
def test_a_job_that_begins_before_the_write(guest: Any, lenient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    late = libvirt.libvirtError("cannot acquire state change lock")
    late.err = (libvirt.VIR_ERR_OPERATION_TIMEOUT, 10, "cannot acquire state change lock", 2, "", "", "", 0, 0)

    class Late(Host):
        def _set(self, domain: Any, mac: str, scope: str, bandwidth: Bandwidth, directions: list[str]) -> None:
            if scope == "live":
                raise late
            super()._set(domain, mac, scope, bandwidth, directions)

    host = Late("test:///default")
    made, (failure,) = host.converge([change_of(host, live=NEW, config=NEW)], lenient)
    assert made == []
    assert isinstance(failure, Away) == lenient
    assert "as with a migration; run again when that is over. The persistent definition was set back" in str(failure)
    assert own(host) == {"live": OLD, "config": OLD}


def test_one_nic_that_fails_does_not_keep_the_others(guest: Any) -> None:
    host = Host("test:///default")
    good = change_of(host, live=NEW)
    bad = replace(good, nic=replace(good.nic, mac="52:54:00:00:00:99"))
    made, failures = host.converge([bad, good])
    assert made == [good]
    assert len(failures) == 1
    assert own(host)["live"] == NEW


def test_a_nic_that_is_taken_before_it_is_written_is_no_failure_of_a_host(guest: Any) -> None:
    host = Host("test:///default")
    good = change_of(host, live=NEW, config=NEW)
    taken = replace(good, nic=replace(good.nic, mac="52:54:00:00:00:99"))
    made, (away,) = host.converge([taken, good], lenient=True)
    assert made == [good]
    assert isinstance(away, Away)
    assert not away.stands
    assert str(away) == (
        "Domain 'web', NIC 52:54:00:00:00:99 (testnet0, bridge): it was taken from the persistent definition and it "
        "was taken from the running guest before it was written."
    )


@pytest.mark.parametrize("lenient", [True, False])
def test_a_nic_that_is_unplugged_before_it_is_plugged_anew(guest: Any, lenient: bool) -> None:
    host = Host("test:///default")
    change = change_of(host, live=NO_BANDWIDTH)
    made, (failure,) = host.converge(
        [replace(change, nic=replace(change.nic, mac="52:54:00:00:00:99"), renew=True)], lenient
    )
    assert made == []
    assert not failure.stands
    assert isinstance(failure, Away) == lenient
    expected = "it was taken from the running guest before it was written." if lenient else "(libvirt error 8). Nothing"
    assert expected in str(failure)


def test_a_domain_that_vanishes_before_it_is_written(guest: Any) -> None:
    host = Host("test:///default")
    change = change_of(host, live=NEW)
    guest.destroy()
    guest.undefine()
    made, (failure,) = host.converge([change])
    assert made == []
    assert f"Domain 'web', NIC {MAC} (testnet0, bridge): setting inbound and" in str(failure)
    assert "(libvirt error 42); the domain was undefined or shut off meanwhile. Nothing of this NIC" in str(failure)


def test_a_guest_that_is_shut_off_before_it_is_written(guest: Any) -> None:
    host = Host("test:///default")
    change = change_of(host, live=NEW, config=NEW)
    guest.destroy()
    _made, (failure,) = host.converge([change])
    assert own(host) == {"config": OLD}
    assert "domain is not running (libvirt error 55)" in str(failure)
    assert str(failure).endswith(
        "The persistent definition was set back to what it was. Nothing of this NIC has changed."
    )
    assert not failure.stands


def test_libvirt_prints_nothing_itself(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HostError):
        Host("test:///default").domain("nope")
    assert capfd.readouterr() == ("", "")
