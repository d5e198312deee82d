# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written down about a host, and whether its QEMU still runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import paths, progress
from .errors import LabError

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
END_TIMEOUT = 15.0


@dataclass(frozen=True)
class Host:
    name: str
    release: str
    image: str
    accel: str
    port: int
    pid: int
    started: float
    ready: bool = False
    guest: bool = False

    @property
    def directory(self) -> Path:
        return directory(self.name)

    def save(self) -> None:
        """In one step, so that a reader never sees half of it."""
        file = self.directory / "state.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=1) + "\n")
        fresh.replace(file)

    def alive(self) -> bool:
        return _is_ours(self.pid, self.directory)

    def became(self, *, ready: bool, guest: bool) -> Host:
        host = replace(self, ready=ready, guest=guest)
        host.save()
        return host

    def end(self) -> None:
        """Through a handle on the process: its pid may belong to somebody else by now."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive():
                return
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            try:
                progress.wait(f"{self.name}: QEMU ends", lambda: not self.alive(), END_TIMEOUT, every=0.1)
            except LabError:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def directory(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise LabError(f"{name!r} is no name for a host: small letters, digits and dashes, a letter first, at most 31")
    return paths.hosts() / name


def pidfile(host_directory: Path) -> Path:
    return host_directory / "qemu.pid"


def _is_ours(pid: int, host_directory: Path) -> bool:
    """Only our QEMU has this host's pid file among its arguments. (A zombie has no arguments.)"""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return str(pidfile(host_directory)).encode() in arguments


def load(name: str) -> Host | None:
    try:
        return Host(**json.loads((directory(name) / "state.json").read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        # Never written, or by another version: what is left of it can still be ended.
        return _remains(name)


def _remains(name: str) -> Host | None:
    try:
        pid = int(pidfile(directory(name)).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return Host(name, release="unknown", image="", accel="", port=0, pid=pid, started=time.time())


def all_hosts() -> list[Host]:
    found = (load(path.name) for path in sorted(paths.hosts().iterdir()) if path.is_dir())
    return [host for host in found if host]


def running(name: str) -> Host:
    host = load(name)
    if host is None or not host.alive():
        raise LabError(f"{name} is not up; start it with: up {name}")
    return host


def forget(name: str) -> None:
    shutil.rmtree(directory(name), ignore_errors=True)


def uptime(host: Host) -> float:
    return time.time() - host.started
