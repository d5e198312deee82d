# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run inside the kernel lab: what the other tests here stand on is really there, and really shapes.

python3 tests/lab/kernel.py -- .venv/bin/python -m pytest tests/kernel/test_lab.py
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HFSC = "qdisc add dev out root handle 1389: hfsc default 1388"
CLASS = "class add dev out parent 1389: classid 1389:a hfsc ls m2 40mbit ul m2 40mbit"
QDISCS = {
    "hfsc": [HFSC, CLASS],
    "fq_codel": ["qdisc add dev out root handle 1: fq_codel limit 1000 target 5ms interval 100ms"],
    "sfq": ["qdisc add dev out root handle 1: sfq perturb 10"],
    "htb": [
        "qdisc add dev out root handle 1: htb default 1",
        "class add dev out parent 1: classid 1:1 htb rate 1mbit",
    ],
    "ingress": ["qdisc add dev out ingress"],
}
FILTERS = {
    "flower": "filter add dev out parent 1389: protocol 802.1q flower vlan_id 10 classid 1389:a",
    "flow": "filter add dev out parent 1389: handle 1 flow map key vlan-tag and 0xfff baseclass 1389:a",
    "basic": "filter add dev out parent 1389: basic match 'meta(vlan mask 0xfff eq 10)' classid 1389:a",
    "fw": "filter add dev out parent 1389: handle 10 fw classid 1389:a",
    "u32": "filter add dev out parent 1389: protocol ip u32 match ip dst 192.0.2.2/32 classid 1389:a",
    "police": "filter add dev out parent 1389: matchall action police rate 1mbit burst 64k conform-exceed drop",
    "mirred": "filter add dev out parent 1389: matchall action mirred egress redirect dev in0",
}
LINKS = {
    "vlan": "link add link out name link0 type vlan id 10",
    "dummy": "link add name link0 type dummy",
    "bond": "link add name link0 type bond",
    "ifb": "link add name link0 type ifb",
    "bridge": "link add name link0 type bridge",
    "tap": "tuntap add dev link0 mode tap",
}


def run(*command: str, batch: str | None = None) -> str:
    done = subprocess.run(command, input=batch, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def tc(*lines: str) -> None:
    run("tc", "-netns", "near", "-batch", "-", batch="\n".join(lines) + "\n")


def show(what: str) -> str:
    return run("tc", "-netns", "near", what, "show", "dev", "out")


@pytest.fixture(scope="module", autouse=True)
def wire() -> Iterator[None]:
    """Two hosts: `near` sends through `out`; `far` answers."""
    assert os.environ.get("VIRTNET_QOS_KERNEL_LAB") == "1", "run this through tests/lab/kernel.py"
    for name in ("near", "far"):
        run("ip", "netns", "add", name)
    try:
        setup = "link add name out netns near type veth peer name in netns far\n"
        run("ip", "-batch", "-", batch=setup)
        run("ip", "-netns", "near", "-batch", "-", batch=addresses("out", 1) + "link add name in0 type dummy\n")
        run("ip", "-netns", "far", "-batch", "-", batch=addresses("in", 2))
        yield
    finally:
        for name in ("near", "far"):
            run("ip", "netns", "del", name)


@pytest.fixture(autouse=True)
def unshaped(wire: None) -> Iterator[None]:
    yield
    leftovers = b"qdisc del dev out root\nqdisc del dev out ingress\n"
    command = ["tc", "-netns", "near", "-force", "-batch", "-"]
    subprocess.run(command, input=leftovers, capture_output=True, check=False, timeout=60)


def addresses(device: str, host: int) -> str:
    return f"link set lo up\nlink set {device} up\naddress add 192.0.2.{host}/24 dev {device}\n"


@pytest.mark.parametrize("kind", QDISCS)
def test_queueing_disciplines(kind: str) -> None:
    tc(*QDISCS[kind])
    assert f"qdisc {kind} " in show("qdisc")


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_and_actions(kind: str) -> None:
    tc(HFSC, CLASS, FILTERS[kind])
    shown = run("tc", "-netns", "near", "filter", "show", "dev", "out", "parent", "1389:")
    assert kind in shown


@pytest.mark.parametrize("kind", LINKS)
def test_links(kind: str) -> None:
    run("ip", "-netns", "near", "-batch", "-", batch=f"{LINKS[kind]}\nlink show dev link0\nlink del link0\n")


def test_the_system_around_the_kernel() -> None:
    assert os.geteuid() == 0
    assert "127.0.0.1" in run("ip", "address", "show", "lo")
    assert tempfile.gettempdir() == os.environ["TMPDIR"]
    for place in ("/dev/shm", "/dev/pts", "/run", "/proc", "/sys", os.environ["TMPDIR"]):  # noqa: S108
        assert Path(place).is_mount(), place
    assert len(os.urandom(16)) == 16


@pytest.fixture
def server() -> Iterator[None]:
    command = ["ip", "netns", "exec", "far", "iperf3", "--server", "--one-off", "--forceflush"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            while "Server listening" not in process.stdout.readline():
                assert process.poll() is None
            yield
        finally:
            process.kill()


def measure() -> float:
    client = ["ip", "netns", "exec", "near", "iperf3", "--client", "192.0.2.2", "--time", "3", "--omit", "1", "--json"]
    return float(json.loads(run(*client))["end"]["sum_received"]["bits_per_second"]) / 1e6


@pytest.mark.usefixtures("server")
def test_hfsc_shapes() -> None:
    """The classes count whole frames, 1514 bytes for 1448 of payload: 40 Mbit/s of them carry 38.2."""
    tc(
        HFSC,
        CLASS,
        "class add dev out parent 1389: classid 1389:1388 hfsc ls m2 1gbit",
        "qdisc add dev out parent 1389:a fq_codel",
        "filter add dev out parent 1389: protocol ip flower dst_ip 192.0.2.2 classid 1389:a",
    )
    assert measure() == pytest.approx(38.2, rel=0.05)
