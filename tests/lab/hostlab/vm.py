# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the QEMU of one host."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import accel, paths, progress, seed, state
from .errors import LabError
from .image import Image
from .state import Host

PORT_ATTEMPTS = 5
START_TIMEOUT = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Machine:
    directory: Path
    image: Image
    accel: str
    memory: int
    cpus: int

    def command(self, port: int) -> list[str]:
        directory, image = self.directory, self.image
        return [
            *("qemu-system-x86_64", "-name", directory.name, *accel.ARGUMENTS[self.accel]),
            *("-smp", str(self.cpus), "-m", str(self.memory), "-nodefaults", "-no-user-config", "-display", "none"),
            *("-kernel", str(image.kernel), "-initrd", str(image.host_initramfs)),
            *("-append", "console=ttyS0 quiet mitigations=off apparmor=0 audit=0 panic=5 tsc=reliable"),
            # Nothing on the overlay outlives this machine's own crash, so nothing has to be flushed for it.
            *("-drive", f"file={directory / 'overlay.qcow2'},if=virtio,format=qcow2,cache=unsafe"),
            *("-drive", f"file={directory / 'seed.tar'},if=virtio,format=raw,readonly=on"),
            *("-netdev", f"user,id=wan,hostfwd=tcp:127.0.0.1:{port}-:22"),
            *("-device", "virtio-net-pci,netdev=wan,romfile=", "-device", "virtio-rng-pci"),
            *("-serial", f"file:{directory / 'console.log'}"),
            *("-pidfile", str(state.pidfile(directory)), "-daemonize"),
        ]

    def launch(self) -> int:
        """QEMU itself takes the port or ends: somebody who was quicker costs another attempt, never a clash."""
        for _attempt in range(PORT_ATTEMPTS):
            port = free_port()
            result = subprocess.run(
                self.command(port),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=START_TIMEOUT,
                check=False,
            )
            if result.returncode == 0:
                return port
            if "host forwarding" not in result.stderr:
                break
        raise LabError(f"{self.directory.name}: QEMU does not start: {result.stderr.strip()}")


def start(name: str, release: str, image: Image, *, memory: int, cpus: int) -> Host:
    accelerator = accel.choose(image)
    state.forget(name)
    directory = paths.private(state.directory(name))
    seed.write(directory, name)
    overlay = directory / "overlay.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.disk), str(overlay)], check=True
    )
    port = Machine(directory, image, accelerator, memory, cpus).launch()
    pid = int(state.pidfile(directory).read_text())
    host = Host(name, release, str(image.directory), accelerator, port, pid, time.time())
    host.save()
    progress.say(f"{name}: {release} boots ({accelerator}, ssh port {port})")
    return host
