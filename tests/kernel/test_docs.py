# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the docs say is what the kernel does: their examples, run, and those of docs/hfsc.md measured."""

from __future__ import annotations

import contextlib
import re
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

Module = Any
Wire = Any
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "hfsc.md"
SO_TIMESTAMPNS = 35
# 30 Mbit/s, more than any class here may have; sending all that goes would leave the lab's one processor no time.
SEND = """\
import socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.bind(("", 0))
due = time.monotonic()
while True:
    for _number in range(20):
        out.sendto(bytes(1400), (sys.argv[1], 5000))
    due += 20 * 1442 * 8 / 30e6
    time.sleep(max(0, due - time.monotonic()))
"""


def examples() -> list[list[dict[str, Any]]]:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [yaml.safe_load(block)["classes"] for block in blocks]


def apply(module: Module, number: int) -> None:
    result = module(classes=examples()[number - 1], prune=True)
    assert "msg" not in result, result["msg"]
    again = module(classes=examples()[number - 1], prune=True)
    assert not again["changed"], again["actions"]


@contextlib.contextmanager
def everything(wire: Wire, *vlans: int) -> Iterator[None]:
    """Send more than may go through the VLANs, from processes of their own."""
    # Nobody reads; but without a socket each packet would be answered.
    receivers = [wire.far(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _vlan in vlans]
    for vlan, receiver in zip(vlans, receivers):
        receiver.bind((f"10.0.{vlan}.2", 5000))
    senders = [subprocess.Popen([sys.executable, "-S", "-c", SEND, f"10.0.{vlan}.2"]) for vlan in vlans]
    try:
        time.sleep(2)
        yield
    finally:
        for sender in senders:
            sender.kill()
            sender.wait()
        for receiver in receivers:
            receiver.close()


def megabits(wire: Wire, seconds: float = 3) -> dict[str, float]:
    """Return the rate of each class, as the kernel counts it, over some seconds."""

    def sent() -> tuple[float, dict[str, int]]:
        shown = wire.run("tc", "-s", "class", "show", "dev", "near")
        found = re.findall(r"class hfsc 1389:(\w+) .*?\n Sent (\d+) bytes", shown)
        return time.monotonic(), {minor: int(number) for minor, number in found}

    start, before = sent()
    time.sleep(seconds)
    end, after = sent()
    return {minor: 8e-6 * (after[minor] - before[minor]) / (end - start) for minor in after}


def expect(wire: Wire, **rates: float) -> None:
    """Have each class at its rate, within 5 %, in one of three tries: senders on a busy machine pause."""
    tries = []
    for _try in range(3):
        tries.append({minor: rate for minor, rate in megabits(wire).items() if minor in rates})
        if tries[-1] == pytest.approx(rates, rel=0.05):
            return
    pytest.fail(f"{rates} expected, but found {tries}")


def test_a_slow_line_shared_three_to_one(wire: Wire, module: Module) -> None:
    apply(module, 1)
    with everything(wire, 100, 200):
        expect(wire, **{"64": 15, "c8": 5})
    with everything(wire, 200):
        expect(wire, c8=20)


def test_storage_that_is_guaranteed_its_part(wire: Wire, module: Module) -> None:
    apply(module, 2)
    with everything(wire, 100, 200):
        expect(wire, **{"64": 10, "c8": 10})


def waits(wire: Wire, bursts: int = 30) -> list[float]:
    """Return how many milliseconds the last of five packets of 200 bytes waited, a burst of them every 100 ms."""
    receiver = wire.far(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    waited = []
    with receiver, sender:
        receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        receiver.bind(("10.0.100.2", 5000))
        receiver.settimeout(2)
        for _burst in range(bursts):
            sent = time.time_ns()
            for _packet in range(5):
                sender.sendto(bytes(200 - 14 - 20 - 8), ("10.0.100.2", 5000))
            for _packet in range(5):
                _data, ancillary = receiver.recvmsg(200, 100)[:2]
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            waited.append((seconds * 10**9 + nanoseconds - sent) / 1e6)
            time.sleep(max(0, 0.1 - waited[-1] / 1000))
    return waited


def test_bursts_that_pass_at_once(wire: Wire, module: Module) -> None:
    apply(module, 3)
    with everything(wire, 200):
        steep = waits(wire)
        expect(wire, c8=5)
    classes = examples()[2]
    classes[-1]["rt"] = classes[-1]["rt"]["m2"]
    assert module(classes=classes, prune=True)["changed"]
    with everything(wire, 200):
        flat = waits(wire)
    print(statistics.quantiles(steep, n=10), statistics.quantiles(flat, n=10))
    assert statistics.median(steep) == pytest.approx(4 * 0.8, abs=2)
    assert statistics.median(flat) == pytest.approx(4 * 16, abs=5)


def test_the_example_of_safe_changes(wire: Wire, module: Module) -> None:
    """Without persistent, which needs systemd; Molecule runs that."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "safe-changes.md").read_text(encoding="utf-8"), re.DOTALL)
    ((options,),) = (task.values() for task in yaml.safe_load(block))
    assert options.pop("persistent")
    options["device"] = "near"

    def stage(name: str) -> dict[str, Any]:
        confirm = {"stage": name, "token": "0123456789abcdef", "by": "ann@control"}
        return module(**options, _confirm=confirm)

    assert stage("arm")["changed"]
    assert stage("confirm")["confirmed"]
    assert not stage("arm")["changed"]
