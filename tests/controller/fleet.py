# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks of the collection run by ansible-playbook over small inventories, and what they say of each host.

The hosts are this machine, with libvirt's test driver, which forgets everything with the module that opened it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = {
    "ansible_connection": "local",
    "ansible_become": False,
    "ansible_python_interpreter": sys.executable,
    "vm_qos_uri": "test:///default",
    "network_qos_uri": "test:///default",
    "network_qos_affect": ["config"],
    "host_qos_confirm_timeout": 0,
    "host_qos_persistent": False,
}
UNREACHABLE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}


@dataclass
class Ran:
    """What a playbook did and said."""

    printed: str
    failed: bool
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for host, counts in re.findall(r"^(\S+)\s+: (ok=.*)$", self.printed.rpartition("PLAY RECAP")[2], re.MULTILINE):
            self.recap[host] = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", counts)}

    def hosts(self, outcome: str) -> list[str]:
        """Return the hosts that the recap counts something of."""
        return sorted(host for host, counts in self.recap.items() if counts[outcome])

    def answers(self, host: str, outcome: str = "fatal|failed") -> list[dict[str, Any]]:
        """Return what modules answered on a host, those that failed unless told otherwise."""
        pattern = rf"^(?:{outcome}): \[{re.escape(host)}\](?:: \w+!)?(?: \(item=.*?\))? => (\{{.*\}})$"
        return [json.loads(text) for text in re.findall(pattern, self.printed, re.MULTILINE)]

    def said(self, host: str) -> str:
        """Return the first message of a host: the one that tells what is wrong."""
        return str(self.answers(host)[0]["msg"])


def inventory(
    folder: Path, hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, list[str]] | None = None, **always: Any
) -> Path:
    """Write an inventory of these hosts and their variables, each with a folder of its own for records."""
    records = {"qos_record_dir": str(folder / "records/{{ inventory_hostname }}")}
    path = folder / "hosts.json"
    children = {name: {"hosts": dict.fromkeys(members)} for name, members in (groups or {}).items()}
    everything = {"vars": {**HERE, **records, **always}, "hosts": hosts, "children": children}
    path.write_text(json.dumps({"all": everything}))
    return path


def play(playbook: str, hosts: Path, *options: str, **extra: Any) -> Ran:
    """Run a playbook of the collection, or one in a file, over an inventory, with these extra variables."""
    variables = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"),
        "ANSIBLE_HOME": str(hosts.parent / "home"),
        "ANSIBLE_FORKS": "4",
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "LC_ALL": "C.UTF-8",
    }
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        str(hosts),
        playbook if playbook.endswith(".yml") else f"virtnet.qos.{playbook}",
    ]
    command += [*options, "--extra-vars", json.dumps(extra)]
    environment = {**os.environ, **variables}
    ran = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=600)
    return Ran(ran.stdout + ran.stderr, ran.returncode != 0)


def record(hosts: Path, host: str) -> dict[str, Any]:
    """Return the record that a host has; an empty one if none."""
    path = hosts.parent / f"records/{host}/last-run.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}
