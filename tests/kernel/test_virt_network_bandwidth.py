# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with a real bridge: libvirt's test driver has the network, and the kernel does what it is limited to."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _network_apply, _tc_lock
from ansible_collections.virtnet.qos.plugins.module_utils._tc_lock import Locked, only_run
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError, carry_out
from ansible_collections.virtnet.qos.plugins.modules import virt_network_bandwidth
from ansible_collections.virtnet.qos.tests.unit.driver import CAPPED, Run, host, runner

libvirt = pytest.importorskip("libvirt")

# As libvirt would have made it when the network, which has 1MB/s inbound, was started.
STARTED = """\
qdisc add dev virbr7 root handle 1: htb default 2
class add dev virbr7 parent 1: classid 1:1 htb rate 1000kbps ceil 1000kbps quantum 85
class add dev virbr7 parent 1:1 classid 1:2 htb rate 1000kbps ceil 1000kbps quantum 85
qdisc add dev virbr7 parent 1:2 handle 2: sfq perturb 10
"""


@pytest.fixture
def connection() -> Iterator[Any]:
    subprocess.run(["ip", "link", "add", "virbr7", "type", "bridge"], check=True)
    try:
        subprocess.run(["tc", "-batch", "-"], input=STARTED, text=True, check=True)
        with host(CAPPED, running=[]) as connection:
            yield connection
    finally:
        subprocess.run(["ip", "link", "del", "virbr7"], check=True)


@pytest.fixture
def run(connection: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(virt_network_bandwidth, capfd, monkeypatch, name="capped", affect=["live"])


def shown() -> str:
    commands = (["class", "show", "dev", "virbr7"], ["filter", "show", "dev", "virbr7", "ingress"])
    return "".join(
        subprocess.run(["tc", *command], capture_output=True, text=True, check=True).stdout for command in commands
    )


def four_ways(run: Run, **options: Any) -> dict[str, Any]:
    before = shown()
    checked = run(check=True, **options)
    assert shown() == before
    applied = run(**options)
    assert applied == checked
    after = shown()
    for again in (run(**options), run(check=True, **options)):
        assert (again["changed"], again["networks"], again["diff"]) == (False, [], {"before": "", "after": ""})
    assert shown() == after
    return applied


def test_a_running_network_is_limited_without_libvirt(run: Run) -> None:
    result = four_ways(run, inbound={"average": "20mbit", "peak": "40mbit"}, outbound={"average": "8mbit"})
    assert result["diff"] == {
        "before": "capped live:\n  inbound: {average: 8mbit}\n  outbound: {average: unlimited}\n",
        "after": "capped live:\n  inbound: {average: 20mbit, peak: 40mbit}\n  outbound: {average: 8mbit}\n",
    }
    assert "class htb 1:2 parent 1:1 leaf 2: prio 0 rate 20Mbit ceil 40Mbit" in shown()
    assert "rate 8Mbit" in shown().partition("police")[2]


def test_the_truth_is_the_kernels(run: Run) -> None:
    """libvirt's definition says 1MB/s all the time."""
    assert run(inbound={"average": "8mbit"})["changed"] is False
    four_ways(run, inbound={"average": "16mbit"})
    four_ways(run, inbound={"average": "8mbit"})


def test_unlimited_keeps_what_libvirt_puts_floors_below(run: Run) -> None:
    four_ways(run, inbound={"average": "unlimited"})
    assert "class htb 1:1 root" in shown()
    result = four_ways(run, inbound={"average": "80mbit"})
    assert result["networks"][0]["before"] == {"inbound": {"average": "unlimited"}}


def test_somebody_elses_qdisc_is_refused(run: Run) -> None:
    subprocess.run(["tc", "qdisc", "replace", "dev", "virbr7", "root", "handle", "9:", "fq_codel"], check=True)
    before = shown()
    message = run(inbound={"average": "80mbit"})["msg"]
    assert "inbound: bridge virbr7 of network 'capped' has qdisc fq_codel 9:, which is not libvirt's" in message
    assert shown() == before


def test_a_failure_half_way_is_undone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shown()
    calls = []

    def failing(requests: Any) -> None:
        calls.append(len(requests))
        if len(calls) > 1:
            return carry_out(requests)
        carry_out(requests[:-1])
        error = TcError(12, "class htb 1:2")
        error.sent = requests[:-1]
        raise error

    monkeypatch.setattr(_network_apply, "carry_out", failing)
    result = run(inbound={"average": "80mbit"}, outbound={"average": "8mbit"})
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["msg"].endswith("class htb 1:2. Nothing of this network has changed.")
    assert shown() == before


def test_a_failure_leaves_what_others_made_meanwhile(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["tc", "qdisc", "del", "dev", "virbr7", "root"], check=True)

    def late(requests: Any) -> None:
        if not made:
            subprocess.run(["tc", "-batch", "-"], input=STARTED, text=True, check=True)
            made.append(shown())
        carry_out(requests)

    made: list[str] = []
    monkeypatch.setattr(_network_apply, "carry_out", late)
    result = run(inbound={"average": "80mbit"}, outbound={"average": "8mbit"})
    assert result["changed"] is False
    assert "File exists: qdisc htb 1:" in result["msg"]
    assert [shown()] == made


def test_one_run_at_a_time_changes_a_bridge(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    index = socket.if_nametoindex("virbr7")
    monkeypatch.setattr(_tc_lock, "WAIT_SECONDS", 0.1)
    before = shown()
    with only_run(index):
        assert run(check=True, inbound={"average": "80mbit"})["changed"]
        result = run(inbound={"average": "80mbit"})
    assert result["changed"] is False
    assert re.search(
        r"^Network 'capped': bridge virbr7: another run, process \d+ since [0-9:]+, still changes it after 0.1 s "
        r"\(it holds the lock \S+\)\. Nothing of this network has changed\.$",
        result["msg"],
    )
    assert shown() == before

    def waiting(requests: Any) -> None:
        with pytest.raises(Locked), only_run(index):
            pass
        carry_out(requests)

    monkeypatch.setattr(_network_apply, "carry_out", waiting)
    assert run(inbound={"average": "80mbit"})["changed"]


def test_a_transient_network(run: Run, connection: Any) -> None:
    network = connection.networkCreateXML(CAPPED.replace("capped", "passing"))
    try:
        result = four_ways(run, name="passing", affect=["live", "config"], inbound={"average": "20mbit"})
    finally:
        network.destroy()
    assert [each["scopes"] for each in result["networks"]] == [["live"]]
    assert "class htb 1:2 parent 1:1 leaf 2: prio 0 rate 20Mbit ceil 20Mbit" in shown()
    assert result["pending_restart"] == ["passing"]


def test_a_network_is_still_started_with_the_host(run: Run, connection: Any) -> None:
    """After its definition was written, and after a restart."""
    network = connection.networkLookupByName("capped")
    network.setAutostart(1)
    result = run(affect=["live", "config"], inbound={"average": "20mbit"}, restart=True)
    assert result["restarted"] == ["capped"]
    assert (network.isActive(), network.isPersistent(), network.autostart()) == (1, 1, 1)


def test_networks_that_share_a_bridge(
    connection: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runner(virt_network_bandwidth, capfd, monkeypatch, affect=["live"])
    xml = "<network><name>{}</name><forward mode='bridge'/><bridge name='virbr7'/>{}</network>"
    own = "<bandwidth><inbound average='2500'/></bandwidth>"
    shared = [connection.networkCreateXML(xml.format(name, each)) for name, each in (("one", ""), ("two", own))]
    one, two = ({"name": name, "inbound": {"average": "20mbit"}} for name in ("one", "two"))
    try:
        four_ways(run, networks=[one, two])
        before = shown()
        refused = run(networks=[one, {**two, "inbound": {"average": "40mbit"}}])
        assert refused["msg"].startswith(
            "networks[1].name 'two': network 'two' shares bridge virbr7 with network 'one'"
        )
        assert shown() == before
        shares = "Network 'one' shares bridge virbr7 with network '{}', which has another limit of its own"
        for average, others in (("20mbit", ["capped"]), ("40mbit", ["capped", "two"])):
            warned = [each for each in run(name="one", inbound={"average": average})["warned"] if "shares" in each]
            assert [each.partition(":")[0] for each in warned] == [shares.format(name) for name in others]
    finally:
        for network in shared:
            network.destroy()
