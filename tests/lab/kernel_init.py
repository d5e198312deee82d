# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first process of the kernel lab, and the only one besides the command: kernel.py starts it, inside.

It makes the new kernel, or the new namespaces, fit to work in; runs the command; and leaves its status behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import stat
import subprocess
import termios
import threading
import tty
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
RB_POWER_OFF = 0x4321FEDC
NOT_EXECUTABLE = 126
NOT_FOUND = 127


def main(directory: str) -> None:
    lab = Path(directory)
    job = json.loads((lab / "job.json").read_text(encoding="ascii"))
    in_uml = job["kind"] == "uml"
    sinks = [open_stream(path) for path in job["streams"]]
    prepare(lab)
    if in_uml:
        prepare_uml(lab, job["hostname"])
    environment = {**job["environment"], **settings(lab, job["kind"])}
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, env=environment)
    os.chdir(job["cwd"])
    status = run(job["command"], environment, sinks)
    (lab / "unfinished").write_text(str(status), encoding="ascii")
    (lab / "unfinished").rename(lab / "status")
    if in_uml:
        os.sync()
        LIBC.reboot(RB_POWER_OFF)


def open_stream(path: str) -> int:
    """Before anything is mounted over it. A terminal line must pass every byte as it is."""
    stream = os.open(path, os.O_WRONLY | os.O_NOCTTY)
    if os.isatty(stream):
        tty.setraw(stream)
    return stream


def prepare(lab: Path) -> None:
    """What must not be shared: the views of processes and devices, and every place for temporary files."""
    mount("proc", Path("/proc"))
    mount("sysfs", Path("/sys"))
    mount("tmpfs", Path("/run"), "mode=755")
    mount("tmpfs", Path("/dev/shm"), "mode=1777")  # noqa: S108
    mount("tmpfs", lab / "tmp", "mode=1777")
    Path("/run/netns").mkdir()
    Path("/run/lock").mkdir()


def prepare_uml(lab: Path, hostname: str) -> None:
    """What an ordinary system has done by the time a command runs. The kernel has mounted /dev."""
    mount("devpts", Path("/dev/pts"), "mode=620,ptmxmode=666")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        Path("/dev", name).symlink_to(f"/proc/self/fd/{number}")
    Path("/dev/fd").symlink_to("/proc/self/fd")
    Path("/dev/net").mkdir()
    os.mknod("/dev/net/tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))  # opening it loads the module
    modprobe = Path("/run/modprobe")
    modprobe.write_text(f'#!/bin/sh\nexec /sbin/modprobe -d {lab} "$@"\n', encoding="ascii")
    modprobe.chmod(0o755)
    Path("/proc/sys/kernel/modprobe").write_text(str(modprobe), encoding="ascii")
    socket.sethostname(hostname)


def mount(kind: str, target: Path, options: str = "") -> None:
    if not str(target).startswith("/proc"):
        target.mkdir(exist_ok=True)
    if LIBC.mount(kind.encode(), os.fsencode(target), kind.encode(), 0, options.encode()):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(target))


def settings(lab: Path, kind: str) -> dict[str, str]:
    return {
        "MODPROBE_OPTIONS": f"-d {lab}" if kind == "uml" else "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(lab / "tmp"),
        "VIRTNET_QOS_KERNEL_LAB": "1",
        "VIRTNET_QOS_KERNEL_KIND": kind,
    }


def run(command: list[str], environment: dict[str, str], sinks: list[int]) -> int:
    """The command writes to pipes, not to the terminal lines, and so behaves as it would in any test run."""
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        write(sinks[1], f"kernel lab: {command[0]}: {error.strerror}\n".encode())
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    pumps = [threading.Thread(target=pump, args=pair) for pair in zip((child.stdout, child.stderr), sinks)]
    for thread in pumps:
        thread.start()
    status = wait(child.pid)
    kill_the_rest()
    for thread in pumps:
        thread.join()
    return status


def wait(pid: int) -> int:
    """Wait for all children, as a first process must, until `pid` has ended."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def kill_the_rest() -> None:
    """Daemons that the command left would hold its output open for ever."""
    if os.getpid() != 1:
        raise RuntimeError("only the first process of a lab may kill all others")
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def pump(source: Any, sink: int) -> None:
    while chunk := os.read(source.fileno(), 65536):
        write(sink, chunk)
    if os.isatty(sink):
        termios.tcdrain(sink)


def write(sink: int, chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(sink, chunk) :]
