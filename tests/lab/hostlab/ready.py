# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until a host is of use: ssh, then libvirt and the uplink, then the guest."""

from __future__ import annotations

import socket
import subprocess
import time

from . import progress, ssh
from .errors import LabError
from .image import tail
from .state import Host


def greets(port: int) -> bool:
    """QEMU takes the connection long before sshd does: only its greeting counts."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def advice(host: Host) -> str:
    log = host.directory / "console.log"
    what_now = f"It runs on. To look: host.py ssh {host.name}; to give up: host.py down {host.name}"
    return f"; the end of {log}:\n{tail(log)}\n{what_now}"


def wait(host: Host, *, guest: bool, timeout: float) -> Host:
    """The whole of it within the timeout."""
    end = time.monotonic() + timeout

    def left() -> float:
        return max(end - time.monotonic(), 1)

    def greeted() -> bool:
        if not host.alive():
            raise LabError(f"{host.name}: QEMU has ended{advice(host)}")
        return greets(host.port)

    progress.wait(f"{host.name}: ssh", greeted, left(), lambda: advice(host))
    progress.say(f"{host.name}: ssh answers")
    # Starting a unit that is starting or has started means waiting for it, and tells of its failure.
    _remote(host, "libvirt", left(), "systemctl", "start", "lab-uplink", "lab-guest")
    _remote(host, "libvirt", left(), "virsh", "--connect", "qemu:///system", "version")
    progress.say(f"{host.name}: libvirt answers, uplink0 is there")
    host = host.became(ready=True, guest=host.guest)
    if guest and not host.guest:
        _remote(host, "guest1", left(), "lab-start-guest", str(int(left())))
        host = host.became(ready=True, guest=True)
        progress.say(f"{host.name}: guest1 answers on both of its NICs")
    return host


def _remote(host: Host, what: str, timeout: float, *command: str) -> None:
    process = subprocess.Popen(
        ssh.command(host, list(command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        progress.wait(
            f"{host.name}: {what}", lambda: process.poll() is not None, timeout, lambda: advice(host), every=0.2
        )
        _out, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise LabError(f"{host.name}: {what}: {' '.join(command)} failed: {errors.strip()}{advice(host)}")
