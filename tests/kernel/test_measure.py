# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams that measure a NIC, on a device that is limited as libvirt limits a tap, by another rate, and not at all.

``near`` is the tap, and the guest is in the namespace of ``far``.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.plugin_utils._measure import plan
from ansible_collections.virtnet.qos.plugins.plugin_utils._measured import rows

GUEST = "10.0.0.2"
BURST = "1000KiB"  # of what the guest sends: a second of traffic, as libvirt has it where none is asked for
LIMITS = {
    "inbound": {"average": "8mbit", "peak": "16mbit", "burst": "64KiB"},
    "outbound": {"average": "8mbit", "burst": BURST},
}
TAP = """\
qdisc add dev near root handle 1: htb default 1
class add dev near parent 1: classid 1:1 htb rate {rate}kbps ceil {peak}kbps burst 64kb
qdisc add dev near ingress
filter add dev near parent ffff: protocol all u32 match u32 0 0 police rate {rate}kbps burst {burst}kb mtu 64kb drop
"""
NIC = {"domain": "guest1", "mac": "02:00:00:00:00:02", "bridge": None, "target": "near", "running": True}


@pytest.fixture
def guest(wire: Any) -> Iterator[Any]:
    """Give the wire, with iperf3 at its far end."""
    with subprocess.Popen(["ip", "netns", "exec", "far", "iperf3", "-s"], stdout=subprocess.DEVNULL) as server:
        for _try in range(100):
            with socket.socket() as client:
                if not client.connect_ex((GUEST, 5201)):
                    break
            time.sleep(0.1)
        yield wire
        server.terminate()


def measured() -> dict[str, tuple[str, float]]:
    """Return the verdict and the ratio of each direction, as the playbook gets them."""
    live = {"own": LIMITS, "portgroup": None, "effective": LIMITS}
    planned = plan([{**NIC, "live": live, "enforced": LIMITS}], [{"domain": "guest1", "address": GUEST}], 4, "1GiB")
    assert planned["problems"] == planned["rows"] == []
    (nic,) = planned["nics"]
    results = []
    for stream in nic["streams"]:
        command = ["timeout", str(stream["seconds"]), "iperf3", "-J", "-c", GUEST, *stream["options"]]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert time.monotonic() - began < stream["seconds"]
        results.append({"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr})
    said = {"address": GUEST, "near": True, "answers": {"state": "started"}, "streams": {"results": results}}
    found = rows(nic, {**said, "started": {}, "ended": {}}, 5, 60)
    assert [row["direction"] for row in found] == list(LIMITS), found
    return {row["direction"]: (row["verdict"], row["ratio"]) for row in found}


def test_what_is_enforced_flows_and_no_more(guest: Any) -> None:
    guest.run("tc", "-batch", "-", batch=TAP.format(rate=1000, peak=2000, burst=1000))
    for verdict, ratio in measured().values():
        assert verdict == "as declared"
        assert 0.8 < ratio < 1.02


def test_what_is_not_enforced_is_found_and_still_bounded(guest: Any) -> None:
    for verdict, ratio in measured().values():
        assert verdict == "above"
        assert 1.8 < ratio < 2.1


def test_what_is_enforced_elsewhere_is_found(guest: Any) -> None:
    guest.run("tc", "-batch", "-", batch=TAP.format(rate=250, peak=250, burst=64))
    for verdict, ratio in measured().values():
        assert verdict == "below"
        assert 0.1 < ratio < 0.3
