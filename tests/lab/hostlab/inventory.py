# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts that are up, as an Ansible inventory."""

from __future__ import annotations

import json
import shlex

from . import paths, ssh
from .state import Host


def render(hosts: list[Host]) -> str:
    """YAML, with every value written as JSON writes it (which is YAML too, and needs no library)."""
    if not hosts:
        return "lab:\n  hosts: {}\n"
    lines = ["lab:", "  hosts:"]
    for host in hosts:
        values: dict[str, object] = {
            "ansible_host": "127.0.0.1",
            "ansible_port": host.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(paths.key()),
            "ansible_ssh_common_args": shlex.join(ssh.options(host)),
            "ansible_python_interpreter": "/usr/bin/python3",
            "lab_release": host.release,
        }
        lines.append(f"    {host.name}:")
        lines.extend(f"      {name}: {json.dumps(value)}" for name, value in values.items())
    return "\n".join(lines) + "\n"
