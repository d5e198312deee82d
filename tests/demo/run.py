# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limit a real guest and a real uplink on a real host, and show what was declared, what is enforced, what flows.

What is enforced is read with virsh and tc, what flows with iperf3: never with the modules that are shown.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "tests/demo/inventory"
HOST = "demo"
# Where iperf3 listens: on each NIC of the guest, and at the other end of the uplink's wire (docs/host-lab.md).
GUEST_ADDRESSES = {"52:54:00:4c:0a:10": "10.77.1.10", "52:54:00:4c:0b:10": "10.77.2.10"}
WIRE_ADDRESSES = {"100": "198.51.100.2", "200": "203.0.113.2", "default": "192.0.2.2"}
SECONDS = 6


class Row(NamedTuple):
    """One line of the table."""

    what: str
    declared: str
    enforced: str
    measured: str


def step(text: str) -> None:
    """Say what comes next."""
    print(f"\n== {text}", flush=True)


def lab(*arguments: str) -> list[str]:
    """Return the command line of the host lab."""
    return [sys.executable, "tests/lab/host.py", *arguments]


def on_host(*command: str) -> str:
    """Return what a command prints on the host; a guest that does not answer must not hold us up for ever."""
    argv = lab("ssh", HOST, "--", *command)
    return subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout


def play(inventory: str) -> str:
    """Run the playbook as a user would, show its output, and return it."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections")}
    command = ["ansible-playbook", "-i", inventory, "-i", str(INVENTORY), "virtnet.qos.site", "--diff"]
    print("$ " + " ".join([*command[:4], str(INVENTORY.relative_to(ROOT)), *command[5:]]), flush=True)
    command[0] = str(Path(sys.executable).with_name(command[0]))
    lines = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit("The playbook failed; the host is left as it is: see above.")
    return "".join(lines)


def rate_of(average: int) -> str:
    """Return libvirt's kB/s as a rate."""
    return f"{average * 8 / 1000:g}mbit" if average else "none"


def iperf(address: str, *options: str) -> str:
    """Return what one TCP stream carries, as its receiver sees it."""
    report = json.loads(on_host("iperf3", "-J", "-c", address, "-t", str(SECONDS), "-O", "1", *options))
    return f"{report['end']['sum_received']['bits_per_second'] / 1e6:.1f} Mbit/s"


def guest_rows(declared: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for every direction of every NIC that has a policy."""
    for policy in declared["vm_qos_policies"]:
        domain, mac = policy["match"]["domain"], policy["match"]["mac"]
        enforced = {}
        for scope in ("live", "config"):
            shown = on_host("virsh", "domiftune", domain, mac, f"--{scope}")
            for key, value in re.findall(r"^(\w+\.average)\s*: (\d+)$", shown, re.MULTILINE):
                enforced[scope, key] = rate_of(int(value))
        for direction, options in (("inbound", ()), ("outbound", ("-R",))):
            wanted = declared["qos_profiles"][policy["profile"]][direction]
            yield Row(
                f"{domain} {mac} {direction}",
                ", ".join(f"{key} {value}" for key, value in wanted.items()),
                f"live {enforced['live', f'{direction}.average']}, "
                f"persistent {enforced['config', f'{direction}.average']}",
                iperf(GUEST_ADDRESSES[mac], *options),
            )


def uplink_rows(declared: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for every class of every device."""
    for device in declared["host_qos_devices"]:
        shown = on_host("tc", "class", "show", "dev", device["device"])
        classes = dict(re.findall(r"^class hfsc 1389:(\w+) parent \S+ (.*)$", shown, re.MULTILINE))
        for wanted in device["classes"]:
            name = str(wanted.get("vlan", "default"))
            minor = f"{wanted['vlan']:x}" if "vlan" in wanted else "1388"
            curves = re.findall(r"(\w+) m1 0bit d 0us m2 (\w+)", classes[minor])
            yield Row(
                f"{device['device']} {'vlan ' * (name != 'default')}{name} (1389:{minor})",
                ", ".join(f"{key} {value}" for key, value in wanted.items() if key not in ("vlan", "default")),
                ", ".join(f"{curve} {rate.lower()}" for curve, rate in curves),
                iperf(WIRE_ADDRESSES[name]),
            )


def show(rows: list[Row]) -> None:
    """Print the table."""
    rows = [Row("what", "declared", "enforced (virsh, tc)", "measured (iperf3)"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(Row._fields))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main() -> int:
    """Return 0 where the playbook did its work once and then found nothing to do."""
    started = time.monotonic()
    declared = yaml.safe_load((INVENTORY / "group_vars/all.yml").read_text(encoding="utf-8"))
    step("A Debian host with libvirt, a running guest and an uplink")
    subprocess.run(lab("up", "--guest", HOST), cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="virtnet-qos-demo-") as scratch:
        inventory = Path(scratch, "hosts.yml")
        inventory.write_text(
            subprocess.run(lab("inventory", HOST), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout,
            encoding="utf-8",
        )
        step(f"The playbook; what it shall do is in {INVENTORY.relative_to(ROOT)}/group_vars/all.yml")
        play(str(inventory))
        step(f"Declared, enforced and measured ({SECONDS} s of TCP each)")
        show([*guest_rows(declared), *uplink_rows(declared)])
        step("The playbook again: nothing is left to do")
        changed = re.findall(r"changed=(\d+)", play(str(inventory)))
    if changed != ["0"]:
        raise SystemExit("The second run changed something: that is a defect.")
    print(f"\nDone in {time.monotonic() - started:.0f} s. The host is still up:")
    print(f"  log in with      python3 tests/lab/host.py ssh {HOST}")
    print("  take it down with  make demo-down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
