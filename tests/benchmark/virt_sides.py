# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What virt_host.py runs on the host: guests to measure on, virt_iface_bandwidth, and the calls it is compared with.

python virt_sides.py define GUESTS       guests that are shut off, with two NICs each
python virt_sides.py steady GUESTS ROUNDS [PAYLOAD]
python virt_sides.py changes GUESTS ROUNDS
python virt_sides.py undefine

What was measured is printed (JSON): a list of samples for each side, in the order of the rounds. Each is of a process
of its own. PAYLOAD is the program that Ansible sent to the host for a run that changes nothing, which is run as well.
Nothing here needs more than the host has, and Ansible's module_utils beside it (PYTHONPATH).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

URI = "qemu:///system"
PREFIX = "virtnet-qos-benchmark-"
FIRST = 1000  # kB/s
MODULE = "ansible_collections.virtnet.qos.plugins.modules.virt_iface_bandwidth"
HERE = Path(__file__).parent
NICS = {"network": "lab-a", "bridge": "br0"}  # what each NIC is on; libvirt shapes both kinds

Samples = dict[str, list[dict[str, Any]]]


def names(guests: int) -> dict[str, list[str]]:
    """Return the MACs of each guest."""
    return {
        f"{PREFIX}{index:03}": [f"52:54:00:{nic:02x}:{index >> 8:02x}:{index & 255:02x}" for nic in (0xA, 0xB)]
        for index in range(guests)
    }


def wanted(average: int) -> dict[str, Any]:
    return {direction: {"average": f"{average * 8}kbit"} for direction in ("inbound", "outbound")}


def one_policy(_guests: int, average: int) -> list[dict[str, Any]]:
    return [{"match": {"domain": f"{PREFIX}*"}, **wanted(average)}]


def policy_a_nic(guests: int, average: int) -> list[dict[str, Any]]:
    return [
        {"match": {"domain": name, "mac": mac}, **wanted(average)}
        for name, nics in names(guests).items()
        for mac in nics
    ]


POLICIES = {"one policy": one_policy, "a policy a NIC": policy_a_nic}


def define(guests: int) -> None:
    import libvirt  # noqa: PLC0415

    undefine()  # what a run that was interrupted left
    connection = libvirt.open(URI)
    limit = f"<bandwidth><inbound average='{FIRST}'/><outbound average='{FIRST}'/></bandwidth>"
    begun = time.monotonic()
    for number, (name, macs) in enumerate(names(guests).items(), 1):
        nics = "".join(
            f"<interface type='{kind}'><mac address='{mac}'/><source {kind}='{on}'/>{limit}</interface>"
            for mac, (kind, on) in zip(macs, NICS.items())
        )
        head = f"<domain type='qemu'><name>{name}</name><memory>16384</memory><os><type>hvm</type></os>"
        connection.defineXML(f"{head}<devices>{nics}</devices></domain>")
        if not number % 100:
            told(f"{number} of {guests} guests defined after {time.monotonic() - begun:.0f} s")
    connection.close()


def undefine() -> None:
    import libvirt  # noqa: PLC0415

    connection = libvirt.open(URI)
    for domain in connection.listAllDomains():
        if domain.name().startswith(PREFIX):
            domain.undefine()
    connection.close()


def steady(guests: int, rounds: int, payload: str = "") -> Samples:
    """Nothing is to be changed."""
    samples: Samples = {}

    def by_module(kind: str) -> dict[str, Any]:
        sample = module(POLICIES[kind](guests, FIRST))
        if sample.pop("result")["changed"]:
            raise RuntimeError("the module changed something")
        return sample

    def by_policies(kind: str) -> None:
        samples.setdefault(kind, []).append(fastest(3, lambda: by_module(kind), "main"))

    def by_calls() -> None:
        samples.setdefault("calls", []).append(fastest(3, lambda: calls("read"), "find", "read"))

    def by_ansible() -> None:
        samples.setdefault("payload", []).append(process(payload))

    actions: list[Callable[[], None]] = [by_calls, *(lambda kind=kind: by_policies(kind) for kind in POLICIES)]
    in_turn(rounds, [*actions, *([by_ansible] if payload else [])], "nothing to change")
    return samples


def changes(guests: int, rounds: int) -> Samples:
    """Every NIC is changed each time, to what it never had before; in the end it has what it had first."""
    samples: Samples = {}
    average = FIRST
    number = sum(map(len, names(guests).values()))

    def by_module() -> dict[str, Any]:
        nonlocal average
        average += 1
        sample = module(one_policy(guests, average))
        changed = len(sample.pop("result")["interfaces"])
        if changed != number:
            raise RuntimeError(f"the module changed {changed} NICs, not {number}")
        return sample

    def by_calls() -> dict[str, Any]:
        nonlocal average
        average += 1
        return calls("write", str(average))

    def ours() -> None:
        samples.setdefault("one policy", []).append(fastest(2, by_module, "main"))

    def theirs() -> None:
        samples.setdefault("calls", []).append(fastest(2, by_calls, "find", "write"))

    in_turn(rounds, [theirs, ours], "every NIC changed")
    calls("write", str(FIRST))
    return samples


def fastest(times: int, action: Callable[[], dict[str, Any]], *costs: str) -> dict[str, Any]:
    """Return what the fastest of some runs cost: what else the machine is busy with only ever makes one slower."""
    return min((action() for _run in range(times)), key=lambda sample: sum(sample[cost] for cost in costs))


def in_turn(rounds: int, actions: list[Callable[[], None]], work: str) -> None:
    """Do all of them in each round, another one first each time."""
    for number in range(rounds):
        first = number % len(actions)
        begun = time.monotonic()
        for action in (*actions[first:], *actions[:first]):
            action()
        told(f"{work}, round {number + 1} of {rounds}: {time.monotonic() - begun:.0f} s")


def told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def module(policies: list[dict[str, Any]]) -> dict[str, Any]:
    """Run the module; return what it cost and its result."""
    with tempfile.TemporaryDirectory() as name:
        measures, arguments = Path(name, "measures"), Path(name, "arguments")
        arguments.write_text(json.dumps({"uri": URI, "policies": policies}), encoding="utf-8")
        sample = process(str(HERE / "one_run.py"), str(measures), MODULE, str(arguments))
        return {**sample, **json.loads(measures.read_text(encoding="ascii"))}


def calls(*work: str) -> dict[str, Any]:
    """Make the bare calls; return what they cost."""
    with tempfile.TemporaryDirectory() as name:
        measures = Path(name, "measures")
        sample = process(str(HERE / "bare_calls.py"), str(measures), URI, PREFIX, *work)
        return {**sample, **json.loads(measures.read_text(encoding="ascii"))}


def process(*command: str) -> dict[str, Any]:
    """Run a program of Python; return its seconds, its largest resident memory in KiB, and its result if it has one."""
    with tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        child = subprocess.Popen([sys.executable, *command], stdin=subprocess.DEVNULL, stdout=output)
        _pid, status, usage = os.wait4(child.pid, 0)
        taken = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read().decode()
    result = json.loads(printed) if printed else {}
    if child.returncode or result.get("failed"):
        raise RuntimeError(f"{' '.join(command)}: {result.get('msg', printed)}")
    return {"process": taken, "maxrss": usage.ru_maxrss, "processor": usage.ru_utime + usage.ru_stime, "result": result}


def main(work: str, *arguments: str) -> None:
    if work == "define":
        define(int(arguments[0]))
    elif work == "undefine":
        undefine()
    elif work == "steady":
        print(json.dumps(steady(int(arguments[0]), int(arguments[1]), *arguments[2:])))
    else:
        print(json.dumps(changes(int(arguments[0]), int(arguments[1]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
