# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt has tc make on a tap and on a bridge, read back from the kernel.

The commands are those that libvirt 9.0 runs (src/util/virnetdevbandwidth.c).
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._htb import TICKS
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits, Other, Shape
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import limits
from ansible_collections.virtnet.qos.tests.kernel.limited import LIMITED, TAP

Make = Callable[[str], None]


@pytest.fixture
def make() -> Iterator[Make]:
    def make(batch: str) -> None:
        done = subprocess.run(["tc", "-batch", "-"], input=batch, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    for name in ("vnet0", "vnet1"):
        subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], check=True)
    subprocess.run(["ip", "link", "add", "virbrq", "type", "bridge"], check=True)
    yield make
    for name in ("vnet0", "vnet1", "virbrq"):
        subprocess.run(["ip", "link", "del", name], check=False)


def read(*names: str) -> dict[str, Limits]:
    return limits(names, ["virbrq"])


@pytest.mark.parametrize(("batch", "expected"), LIMITED.values(), ids=LIMITED)
def test_what_libvirt_makes_is_read(make: Make, batch: str, expected: Limits) -> None:
    make(batch)
    device = "virbrq" if "virbrq" in batch else "vnet0"
    assert read("vnet0")[device] == expected


def test_tc_shows_the_same(make: Make) -> None:
    make(TAP)
    limited = read("vnet0")["vnet0"]
    shown = subprocess.run(["tc", "class", "show", "dev", "vnet0"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"rate (\w+) ceil (\w+) burst (\w+)", shown) == [("8Mbit", "16Mbit", "128Kb")]
    assert limited.sent == Shape(1_000_000, 2_000_000, 128 * 1024)
    filters = ["tc", "filter", "show", "dev", "vnet0", "ingress"]
    shown = subprocess.run(filters, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"rate (\w+) burst (\w+)", shown) == [("616Kbit", "77Kb")]
    assert isinstance(limited.received, Shape)
    assert (limited.received.rate, limited.received.ceil) == (77_000, 77_000)
    assert abs(limited.received.burst - 77 * 1024) <= limited.received.tolerance


# kB/s and KiB; what takes longer than 2^32 ticks at its rate, tc and the kernel have no room for.
QUANTITIES = [
    (average, burst)
    for average in (1, 77, 1250, 125_000, 1_250_000, 4_294_967, 4_294_968, 12_500_000)
    for burst in (1, 77, 1024, 65_536)
    if burst * 1024 * TICKS // (average * 1000) < 2**32
]


@pytest.mark.parametrize(("average", "burst"), QUANTITIES)
def test_rates_are_exact_and_bursts_within_their_tolerance(make: Make, average: int, burst: int) -> None:
    make(
        "qdisc replace dev vnet0 root handle 1: htb default 1\n"
        f"class add dev vnet0 parent 1: classid 1:1 htb rate {average}kbps burst {burst}kb quantum 85\n"
        "qdisc add dev vnet0 ingress\n"
        "filter add dev vnet0 parent ffff: protocol all u32 match u32 0 0"
        f" police rate {average}kbps burst {burst}kb mtu 64kb drop flowid :1\n"
    )
    found = read("vnet0")["vnet0"]
    for shape in (found.sent, found.received):
        assert isinstance(shape, Shape)
        assert (shape.rate, shape.ceil) == (average * 1000, average * 1000)
        assert abs(shape.burst - burst * 1024) <= shape.tolerance


def test_what_is_not_libvirts(make: Make) -> None:
    make("qdisc replace dev vnet0 root handle 7: tbf rate 1mbit burst 10k limit 10k\nqdisc add dev vnet1 clsact\n")
    make("filter add dev vnet1 ingress matchall action police rate 1000kbps burst 77kb conform-exceed drop\n")
    found = read("vnet0", "vnet1", "nowhere")
    assert found["vnet0"] == Limits(Other("qdisc tbf 7:"))
    assert found["vnet1"].sent is None
    assert isinstance(found["vnet1"].received, Shape)
    assert found["vnet1"].received.rate == 1_000_000
    assert sorted(found) == ["virbrq", "vnet0", "vnet1"]
    assert read()["virbrq"] == Limits()


def test_looking_takes_no_privilege(make: Make) -> None:
    make(TAP)
    expected = read("vnet0")
    os.seteuid(65534)
    try:
        with pytest.raises(OSError, match="not permitted"):
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        assert read("vnet0") == expected
    finally:
        os.seteuid(0)
