# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, and how to log in: with nothing of the user's own ssh configuration, and no key taken on trust."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import paths
from .locks import held
from .state import Host


def generate(key: Path, comment: str) -> None:
    key.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)], check=True)


def lab_key() -> Path:
    key = paths.key()
    with held(key.with_name("lock"), "the lab's ssh key is made", 30):
        if not key.exists():
            generate(key, "virtnet-qos-lab")
    return key


def options(host: Host) -> list[str]:
    """The host key was made by us and is known by the host's name, whatever its port."""
    settings = {
        # In quotes, since ssh takes a space for the end of a name.
        "UserKnownHostsFile": f'"{host.directory / "known_hosts"}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": host.name,
        "IdentitiesOnly": "yes",
        # A host that restarts takes no leave.
        "ServerAliveInterval": "10",
    }
    return ["-F", "/dev/null", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]


def command(host: Host, remote: list[str]) -> list[str]:
    login = ["-i", str(paths.key()), "-p", str(host.port), "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR"]
    return ["ssh", *options(host), *login, "root@127.0.0.1", *remote]


def run(host: Host, *remote: str, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(host, list(remote)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
