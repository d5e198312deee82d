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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = Path("tests/demo/inventory")
# What the host lab adds to it: how to reach the host. It stays, so that what is shown can be run again.
REACH = Path(".cache/demo/hosts.yml")
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


def play() -> str:
    """Run the playbook as a user would, show its output, and return it."""
    variables = {"ANSIBLE_COLLECTIONS_PATH": ".venv/collections", "LC_ALL": "C.UTF-8"}
    command = [".venv/bin/ansible-playbook", "-i", str(REACH), "-i", str(INVENTORY), "virtnet.qos.site", "--diff"]
    print("$", *(f"{name}={value}" for name, value in variables.items()), *command, flush=True)
    lines = []
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit("The playbook failed; the host is left as it is: see above.")
    return "".join(lines)


def tuned(domain: str, mac: str, scope: str) -> dict[str, dict[str, str]]:
    """Return what virsh says of a NIC, by direction, in the units of the inventory: it has kB/s and KiB."""
    limits: dict[str, dict[str, str]] = {"inbound": {}, "outbound": {}}
    shown = on_host("virsh", "domiftune", domain, mac, f"--{scope}")
    for direction, name, value in re.findall(r"^(\w+)\.(\w+)\s*: ([1-9]\d*)$", shown, re.MULTILINE):
        limits[direction][name] = f"{value}KiB" if name == "burst" else f"{int(value) * 8 / 1000:g}mbit"
    return limits


def listed(limits: dict[str, Any]) -> str:
    """Return a dictionary as a person would say it."""
    return ", ".join(f"{name} {value}" for name, value in limits.items()) or "nothing"


def iperf(address: str, *options: str) -> str:
    """Return what one TCP stream carries, as its receiver sees it, once the burst is spent."""
    report = json.loads(on_host("iperf3", "-J", "-c", address, "-t", str(SECONDS), "-O", "2", "-l", "8K", *options))
    return f"{report['end']['sum_received']['bits_per_second'] / 1e6:.1f} Mbit/s"


def guest_rows(declared: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for every direction of every NIC that has a policy."""
    for policy in declared["vm_qos_policies"]:
        domain, mac = policy["match"]["domain"], policy["match"]["mac"]
        live, persistent = tuned(domain, mac, "live"), tuned(domain, mac, "config")
        for direction, options in (("inbound", ()), ("outbound", ("-R",))):
            wanted = declared["qos_profiles"][policy["profile"]][direction]
            if not live[direction] == persistent[direction] == wanted:
                found = f"live {listed(live[direction])}, persistent {listed(persistent[direction])}"
                raise SystemExit(f"{domain} {mac} {direction}: declared is {listed(wanted)}, but enforced {found}.")
            yield Row(
                f"{domain} {mac} {direction}",
                listed(wanted),
                f"{listed(live[direction])}; live and persistent",
                iperf(GUEST_ADDRESSES[mac], *options),
            )


def uplink_rows(declared: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for every class of every device."""
    for device in declared["host_qos_devices"]:
        shown = on_host("tc", "class", "show", "dev", device["device"])
        classes = dict(re.findall(r"^class hfsc 1389:(\w+) parent \S+ (.*)$", shown, re.MULTILINE))
        for node in device["classes"]:
            name = str(node.get("vlan", "default"))
            minor = f"{node['vlan']:x}" if "vlan" in node else "1388"
            found = re.findall(r"(\w+) m1 0bit d 0us m2 (\w+)", classes.get(minor, ""))
            enforced = {curve: rate.lower() for curve, rate in found}
            wanted = {key: value for key, value in node.items() if key not in ("vlan", "default")}
            # One share is a link-share curve of 1mbit.
            curves = {"ls" if key == "share" else key: str(value) for key, value in wanted.items()}
            curves["ls"] = f"{curves['ls']}mbit"
            if enforced != curves:
                raise SystemExit(f"{device['device']} {name}: declared is {curves}, but enforced {enforced}.")
            yield Row(
                f"{device['device']} {'vlan ' * (name != 'default')}{name} (1389:{minor})",
                listed(wanted),
                listed(enforced),
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
    declared = yaml.safe_load((ROOT / INVENTORY / "group_vars/all.yml").read_text(encoding="utf-8"))
    step("A Debian host with libvirt, a running guest and an uplink")
    subprocess.run(lab("up", "--guest", HOST), cwd=ROOT, check=True)
    reach = subprocess.run(lab("inventory", HOST), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    (ROOT / REACH).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / REACH).write_text(reach, encoding="utf-8")
    step(f"The playbook; what it shall do is in {INVENTORY}/group_vars/all.yml")
    play()
    step(f"Declared, enforced and measured ({SECONDS} s of TCP each)")
    show([*guest_rows(declared), *uplink_rows(declared)])
    step("The playbook again: nothing is left to do")
    changed = re.findall(r"changed=(\d+)", play())
    if changed != ["0"]:
        raise SystemExit("The second run changed something: that is a defect.")
    print(f"\nDone in {time.monotonic() - started:.0f} s. The host is still up:")
    print(f"  log in with      python3 tests/lab/host.py ssh {HOST}")
    print("  take it down with  make demo-down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
