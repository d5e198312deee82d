# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

Module = Any
Wire = Any
SO_RCVBUFFORCE = 33


def send_raw(wire: Wire, vlan: int, number: int, priority: int = 0) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("near", 0))
        for _time in range(number):
            raw.send(wire.frame(vlan, priority))


def test_frames_go_where_their_vlan_says(wire: Wire, module: Module) -> None:
    # 1280 is what a tag inside a frame was taken for; see the lifter.
    for vlan in (100, 200, 1280):
        module(vlan=vlan, share=10)
    wire.run("ip", "link", "set", "near.200", "type", "vlan", "egress-qos-map", "0:5")
    for vlan, number in ((0, 1), (100, 2), (200, 4), (300, 8)):
        wire.send(vlan, number)
    assert wire.sent() == {"1388": 1 + 8, "64": 2, "c8": 4}

    send_raw(wire, 100, 16)
    send_raw(wire, 200, 32, priority=7)
    send_raw(wire, 300, 64, priority=3)
    assert wire.sent() == {"1388": 1 + 8 + 64, "64": 2 + 16, "c8": 4 + 32}

    # The other form of a tag inside the frame: the VLAN device puts it there.
    wire.run("ip", "link", "set", "near.100", "type", "vlan", "reorder_hdr", "off")
    wire.send(100, 128)
    assert wire.sent() == {"1388": 1 + 8 + 64, "64": 2 + 16 + 128, "c8": 4 + 32}


def test_frames_arrive_as_they_were_sent(wire: Wire, module: Module) -> None:
    module(vlan=100, share=10)
    receiver = wire.far(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    receiver.bind(("far", 3))
    receiver.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
    receiver.settimeout(5)
    for vlan, priority in ((100, 5), (300, 2)):
        frame = wire.frame(vlan, priority)
        send_raw(wire, vlan, 1, priority)
        data, ancillary = receiver.recvmsg(2000, 100)[:2]
        tag = int.from_bytes(ancillary[0][2][16:18], "little")  # struct tpacket_auxdata, tp_vlan_tci
        assert tag == priority << 13 | vlan
        assert data == frame[:12] + frame[16:]


@pytest.fixture
def iperf(wire: Wire) -> Iterator[Any]:
    command = ["ip", "netns", "exec", "far", "iperf3", "--server"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def megabits(address: str) -> float:
        client = ["iperf3", "--client", address, "--time", "2", "--omit", "1", "--json"]
        for _time in range(20):
            result: dict[str, Any] = json.loads(subprocess.run(client, capture_output=True, check=False).stdout)
            if "error" not in result:
                return float(result["end"]["sum_received"]["bits_per_second"]) / 1e6
            time.sleep(0.2)
        raise AssertionError(result)

    yield megabits
    server.terminate()
    server.wait()


def test_traffic_gets_what_its_class_says(wire: Wire, module: Module, iperf: Any) -> None:
    module(vlan=100, ls="1gbit", ul="20mbit")
    module(default=True, ls="1gbit", ul="100mbit")
    # What iperf3 counts has no headers: about 5 % less.
    assert 17 <= iperf("10.0.100.2") <= 20
    assert 85 <= iperf("10.0.0.2") <= 100
    assert iperf("10.0.200.2") <= 100
    module(vlan=200, ls="1gbit")
    assert iperf("10.0.200.2") > 150
    module(vlan=100, ls="1gbit", ul="60mbit")
    assert 51 <= iperf("10.0.100.2") <= 60
    module(vlan=100, ls="1gbit")
    assert iperf("10.0.100.2") > 150


class Stream:
    """Numbered datagrams through a VLAN, some two thousand a second, and what of them arrives."""

    def __init__(self, wire: Wire, vlan: int) -> None:
        self.receiver = wire.far(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.receiver.bind((f"10.0.{vlan}.2", 5000))
        self.receiver.settimeout(1)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect((f"10.0.{vlan}.2", 5000))
        self.count = 0
        self.going = True
        self.thread = threading.Thread(target=self.go)
        self.thread.start()

    def go(self) -> None:
        while self.going:
            self.sender.send(self.count.to_bytes(8, "big"))
            self.count += 1
            time.sleep(0.0005)

    def lost(self) -> int:
        self.going = False
        self.thread.join()
        arrived = set()
        while len(arrived) < self.count:
            try:
                arrived.add(self.receiver.recv(100))
            except TimeoutError:
                break
        return self.count - len(arrived)


@pytest.mark.parametrize("target", [{"vlan": 100}, {"default": True}], ids=["vlan", "default"])
def test_making_a_class_anew_under_traffic_loses_and_misplaces_nothing(
    wire: Wire, module: Module, target: dict[str, Any]
) -> None:
    module(default=True, share=10)
    module(vlan=200, share=10)
    module(vlan=100, share=10)
    streams = {vlan: Stream(wire, vlan) for vlan in (0, 100, 200)}
    try:
        for _time in range(5):
            assert module(**target, share=10, ul="1gbit")["actions"][0]["op"] == "change"
            assert module(**target, share=10)["actions"][0]["op"] == "recreate"
            time.sleep(0.05)
    finally:
        lost = {vlan: stream.lost() for vlan, stream in streams.items()}
    assert lost == {0: 0, 100: 0, 200: 0}
    assert min(stream.count for stream in streams.values()) > 100
    sent = wire.sent()
    assert sent["c8"] == streams[200].count
    if "vlan" in target:
        assert sent["1388"] == streams[0].count
    else:
        assert sent["64"] == streams[100].count


def test_other_classes_never_see_a_message(wire: Wire, module: Module) -> None:
    for vlan in (100, 200):
        module(vlan=vlan, share=10, ul="1gbit")
    monitor = subprocess.Popen(["tc", "monitor"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    module(vlan=100, share=10)
    time.sleep(0.5)
    monitor.terminate()
    seen = monitor.communicate()[0]
    assert "1389:64 " in seen
    assert "1389:fffe " in seen
    assert "1389:c8 " not in seen
    assert "1389:1388 " not in seen
    assert "root" not in seen


def test_a_queue_that_does_not_empty_is_given_a_second_and_reported(wire: Wire, module: Module) -> None:
    module(vlan=100, share=10, ul="8kbit")
    wire.send(100, 100, bytes(1000))
    begun = time.monotonic()
    result = module(vlan=100, share=10)
    assert 1 <= time.monotonic() - begun < 3
    (warning,) = result["warnings"]
    assert "class 1389:64 still had " in str(warning)
    assert wire.tree() != ""
    assert not module(vlan=100, share=10)["changed"]
