# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is compared: one run of the module, tc, and traffic through a device; and the device itself.

``near`` is shaped; ``far``, in a namespace of its own, is the other end of the wire.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".venv/collections"
MODULE = "ansible_collections.virtnet.qos.plugins.modules.tc_hfsc_class"
RTNLGRP_TC = 4
SO_RCVBUFFORCE = 33
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(COLLECTIONS),
    "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
    "LC_ALL": "C.UTF-8",
}


def run(*command: str, batch: str | None = None, timeout: float = 300) -> str:
    """Return what a command prints; raise RuntimeError with what it says if it fails."""
    done = subprocess.run(
        command, input=batch, capture_output=True, text=True, check=False, timeout=timeout, env=ENVIRONMENT
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def lay_wire(vlan: int) -> None:
    """Make ``near`` and ``far``, and a device of the VLAN on both: 10.0.0.1 and 10.0.0.2."""
    run("ip", "netns", "add", "far")
    run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", "far")
    for name, host, other, namespace in (("near", 1, 2, []), ("far", 2, 1, ["-netns", "far"])):
        lines = [
            f"link set {name} up address 02:00:00:00:00:0{host}",
            f"link add link {name} name {name}.1 type vlan id {vlan}",
            f"link set {name}.1 up",
            f"address add 10.0.0.{host}/24 dev {name}.1",
            f"neighbour add 10.0.0.{other} lladdr 02:00:00:00:00:0{other} dev {name}.1",
        ]
        run("ip", *namespace, "-batch", "-", batch="\n".join(lines))


def clear() -> None:
    """Take the tree of ``near`` away, if there is one."""
    subprocess.run(["tc", "qdisc", "del", "dev", "near", "root"], capture_output=True, check=False)


@dataclass
class ModuleRun:
    """What one run of the module did and cost. Times are seconds, memory KiB, ``process`` all of the process."""

    result: dict[str, Any]
    imports: float
    main: float
    process: float
    peaks: dict[str, int]
    maxrss: int
    messages: int


def run_module(options: dict[str, Any]) -> ModuleRun:
    """Run the module in a process of its own; raise RuntimeError if it fails.

    ``messages`` is how many changes to qdiscs, classes and filters the kernel announced meanwhile.
    """
    with tempfile.TemporaryDirectory() as name, announcements() as kernel:
        measures, arguments, output = (Path(name, each) for each in ("measures", "arguments", "output"))
        arguments.write_text(json.dumps({"device": "near", **options}), encoding="utf-8")
        command = [sys.executable, str(ROOT / "tests/benchmark/one_run.py"), str(measures), MODULE, str(arguments)]
        with output.open("wb") as file:
            begun = time.perf_counter()
            subprocess.run(command, stdout=file, check=True, timeout=300, env=ENVIRONMENT)
            process = time.perf_counter() - begun
        result = json.loads(output.read_text(encoding="utf-8"))
        if result.get("failed"):
            raise RuntimeError(f"the module failed: {result['msg']}")
        cost = json.loads(measures.read_text(encoding="ascii"))
        return ModuleRun(result, process=process, messages=count(kernel), **cost)


def whole_process(options: dict[str, Any]) -> float:
    """Return the seconds of ``python -m MODULE``, from the start of the process to its end."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as arguments:
        json.dump({"ANSIBLE_MODULE_ARGS": {"device": "near", **options}}, arguments)
        arguments.flush()
        return seconds(sys.executable, "-m", MODULE, arguments.name)


def playbook(options: dict[str, Any]) -> float:
    """Return the seconds of a whole ansible-playbook whose one task runs the module on this host."""
    task = {"name": "Make the tree", "virtnet.qos.tc_hfsc_class": {"device": "near", **options}}
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    play = {"name": "Classes", "hosts": "all", "gather_facts": False, "vars": variables, "tasks": [task]}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "play.yml")
        path.write_text(json.dumps([play]), encoding="utf-8")  # which is YAML, too
        command = str(Path(sys.executable).with_name("ansible-playbook"))
        return seconds("env", f"ANSIBLE_HOME={name}", command, "-i", "localhost,", str(path))


def seconds(*command: str) -> float:
    """Return how long a command takes, process and all; its output goes where it costs least."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, timeout=300, env=ENVIRONMENT
    )
    taken = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
    return taken


def tc_batch(script: str) -> float:
    """Return how long one ``tc -batch`` of a script takes."""
    with tempfile.NamedTemporaryFile("w", suffix=".tc") as batch:
        batch.write(script)
        batch.flush()
        return seconds("tc", "-batch", batch.name)


SHOWN = ("qdisc", "class", "filter")


def tc_shows() -> float:
    """Return how long three processes of tc take to print all of the device."""
    return sum(seconds("tc", each, "show", "dev", "near") for each in SHOWN)


def tc_shows_in_one() -> float:
    """Return how long one process of tc takes for the same."""
    return tc_batch("".join(f"{each} show dev near\n" for each in SHOWN))


def classes_and_filters() -> tuple[int, int]:
    """Return how many classes (the root's is one) and VLAN filters tc finds on the device."""
    classes = run("tc", "class", "show", "dev", "near")
    filters = run("tc", "filter", "show", "dev", "near")
    vlans = re.findall(r"^  vlan_id \d+$|meta\(vlan eq \d+\)", filters, re.MULTILINE)
    return len(re.findall(r"^class hfsc", classes, re.MULTILINE)), len(vlans)


def announcements() -> socket.socket:
    """Return a socket that gets every change of a qdisc, class or filter from now on."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    kernel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    kernel.bind((0, 1 << RTNLGRP_TC - 1))
    kernel.setblocking(False)
    return kernel


def count(kernel: socket.socket) -> int:
    """Return how many have come."""
    number = 0
    while True:
        try:
            kernel.recv(65536)
        except BlockingIOError:
            return number
        number += 1


class Iperf:
    """An iperf3 server on ``far``, and what gets through to it."""

    def __enter__(self) -> Iperf:
        command = ["ip", "netns", "exec", "far", "iperf3", "--server"]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.server.kill()
        self.server.wait()

    def gigabits(self, duration: float) -> float:
        """Return Gbit/s of TCP payload received; the kernel hands large segments on whole (GSO)."""
        command = ["iperf3", "--client", "10.0.0.2", "--time", f"{duration:g}", "--omit", "1", "--json"]
        for _time in range(10):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            result: dict[str, Any] = json.loads(done.stdout)
            if "error" not in result:
                return float(result["end"]["sum_received"]["bits_per_second"]) / 1e9
            time.sleep(0.2)  # the server starts, or is busy with the end of the test before
        raise RuntimeError(f"iperf3: {result['error']}")


FRAMES = 512  # in the ring at a time
FRAME_ROOM = 128  # bytes for each of them
HEADER = 32  # struct tpacket_hdr, aligned (linux/if_packet.h)
SOL_PACKET = 263
PACKET_TX_RING = 13
TP_STATUS_SEND_REQUEST = 1


def kiloframes(duration: float) -> float:
    """Return thousands of frames of 60 bytes sent through the VLAN a second, each of which is classified by itself.

    They are handed over in a ring, many with each system call, and are not for ``far``, which drops them at once: so
    what is measured is the way through the qdisc more than what is around it.
    """
    frame = bytes.fromhex("02000000000302000000000188b5").ljust(60, b"\0")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        size = FRAMES * FRAME_ROOM
        raw.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("4I", size, 1, FRAME_ROOM, FRAMES))
        raw.bind(("near.1", 0))
        with mmap.mmap(raw.fileno(), size) as ring:
            for start in range(0, size, FRAME_ROOM):
                struct.pack_into("=QII", ring, start, 0, len(frame), len(frame))
                ring[start + HEADER : start + HEADER + len(frame)] = frame
            sent, begun = 0, time.perf_counter()
            while time.perf_counter() - begun < duration:
                for start in range(0, size, FRAME_ROOM):
                    struct.pack_into("=Q", ring, start, TP_STATUS_SEND_REQUEST)
                raw.send(b"")
                sent += FRAMES
            return sent / (time.perf_counter() - begun) / 1000


def vdsm_layout(vlans: range) -> str:
    """Return the tc batch of what oVirt's vdsm makes of as many networks: a basic filter a VLAN, at its preference."""
    lines = ["qdisc add dev near root handle 1389: hfsc default 1388"]
    for minor in (*vlans, 0x1388):
        lines.append(f"class add dev near parent 1389: classid 1389:{minor:x} hfsc ls m2 80mbit ul m2 30gbit")
        lines.append(f"qdisc add dev near parent 1389:{minor:x} handle {minor:x}: fq_codel")
    head = "filter add dev near parent 1389: protocol all pref"
    lines += [f"{head} {vlan} basic match meta(vlan eq {vlan}) flowid 1389:{vlan:x}" for vlan in vlans]
    lines.append(f"{head} 5000 u32 match u8 0 0 flowid 1389:1388")
    return "\n".join(lines) + "\n"
