# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is run over the simulated fleet: our playbook, the loops it is compared with, and what a run of them costs.

The loops are modelled on what is published: one ``tc`` command an item for classes, then for leaves, then for filters,
after the tree has been deleted, is how EnOSlib's role does it (BeyondTheClouds/enoslib,
enoslib/ansible/roles/utils/tasks/tc_apply.yml). Both sides gather no facts and look for the same packages.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import fleet_hosts
import sides

SITE = "virtnet.qos.site"


def loops(uplink: bool, most: int | None = None) -> list[dict[str, Any]]:
    """Return a playbook that does with loops of commands what ours does; each loop is over ``most`` items at most."""
    packages = {"ansible.builtin.apt": {"name": "{{ prepare_packages }}", "install_recommends": False}}
    tasks = [{"name": "Install the packages", **packages}]
    if uplink:
        root, *lines = sides.vdsm_layout(fleet_hosts.VLANS).splitlines()
        tasks.append({"name": "Delete the tree", "ansible.builtin.shell": "tc qdisc del dev near root || true"})
        tasks.append({"name": "Add the root", "ansible.builtin.command": f"tc {root}"})
        for kind in ("class", "qdisc", "filter"):
            some = [line for line in lines if line.startswith(kind)][:most]
            tasks.append({"name": f"Add each {kind}", "ansible.builtin.command": "tc {{ item }}", "loop": some})
    command = "virsh -c {{ vm_qos_uri }} domiftune {{ item.domain }} {{ item.mac }}"
    limits = " ".join(f"--{direction} {{{{ item.{direction} }}}}" for direction in ("inbound", "outbound"))
    nics = [{**nic._asdict(), **fleet_hosts.LIMITS[nic.profile]} for nic in fleet_hosts.nics()][:most]
    tasks.append({"name": "Limit each NIC", "ansible.builtin.command": f"{command} {limits}", "loop": nics})
    return [{"name": "Loops", "hosts": "all", "become": True, "gather_facts": False, "tasks": tasks}]


def items(playbook: list[dict[str, Any]]) -> int:
    """Return how many items all its loops have together."""
    return sum(len(task.get("loop", ())) for task in playbook[0]["tasks"])


class Cost(NamedTuple):
    """What a run over some hosts cost. ``processor`` is Ansible's own, ``main`` of its first process alone."""

    hosts: int
    wall: float
    processor: float
    main: float
    on_hosts: float  # of the modules
    modules: float
    tasks: int  # that were not skipped, those that run on the controller included
    skipped: int
    memory: float  # MiB that all processes of Ansible had at once at most, what they share counted once


class Runner:
    """Runs playbooks over hosts."""

    def __init__(self, folder: Path, forks: int) -> None:
        self.folder = folder
        home = folder / "home"
        self.environment = {
            **sides.ENVIRONMENT,
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
            "ANSIBLE_FORKS": str(forks),
            "ANSIBLE_PIPELINING": "1",
        }

    def play(
        self,
        hosts: fleet_hosts.Hosts,
        playbook: list[dict[str, Any]] | str,
        changed: bool = False,
        environment: dict[str, str] | None = None,
    ) -> Cost:
        """Run a playbook, given or by its name; see that it changed something, or nothing, on every host."""
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps(hosts.inventory()), encoding="utf-8")
        if not isinstance(playbook, str):
            path = self.folder / "play.yml"
            path.write_text(json.dumps(playbook), encoding="utf-8")  # which is YAML, too
            playbook = str(path)
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), playbook]
        hosts.spent()
        with tempfile.TemporaryFile("w+") as output:
            begun = time.perf_counter()
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment or self.environment
            )
            with Watch(child.pid) as watch:
                _pid, status, usage = os.wait4(child.pid, 0)
            wall = time.perf_counter() - begun
            child.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            printed = output.read()
        recap = printed.rpartition("PLAY RECAP")[2]
        counts = {name: list(map(int, re.findall(rf"{name}=(\d+)", recap))) for name in ("ok", "changed", "skipped")}
        wrong = any(bool(number) != changed for number in counts["changed"])
        if child.returncode or wrong or len(counts["ok"]) != len(hosts.names):
            raise RuntimeError(f"{' '.join(command)}: {printed[-4000:]}")
        spent = hosts.spent()
        tasks, skipped = (sum(counts[name]) for name in ("ok", "skipped"))
        return Cost(
            len(hosts.names),
            wall,
            processor=usage.ru_utime + usage.ru_stime - spent.processor,
            main=watch.main,
            on_hosts=spent.processor,
            modules=spent.runs,
            tasks=tasks,
            skipped=skipped,
            memory=watch.memory,
        )


class Watch:
    """Watches Ansible: how much memory all of its processes take, and how much processor time the first one has taken.

    That one starts the others, one a task and host, and does nothing else at once: more processors do not help it.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self.memory, self.main = pid, 0.0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(2):
            self.memory = max(self.memory, sum(map(proportional, (self.pid, *children(self.pid)))) / 1024)
            self.main = max(self.main, processor(self.pid))


def processor(pid: int) -> float:
    """Return the processor time of a process without those that it started."""
    try:
        times = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    except OSError:
        return 0
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the forks of a process."""
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()))
    except OSError:
        return []


def proportional(pid: int) -> int:
    """Return the memory of a process in KiB, its share of what it shares with others."""
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:  # it has ended meanwhile
        return 0
    return int(found.group(1)) if found else 0
