# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a host: wait until a run of the module is at a step of the protocol, and hold it there.

    trap.py DEVICE STEP [cut]

Prints "ready" when it waits, and "there" when the run is at the step, which then stands still until a line is read.
With ``cut`` the host is started again at once instead, without a word to its disks: as a power cut does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

DEVICE, STEP = sys.argv[1:3]
HOLDS, KEPT = Path("/run/virtnet-qos", DEVICE), Path("/etc/virtnet-qos")
BATCH = KEPT / f"{DEVICE}.tc"
RTMGRP_TC, RTM_NEWTCLASS = 1 << 3, 40  # linux/rtnetlink.h
SECONDS = 120

announcements = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
announcements.bind((0, RTMGRP_TC))
announcements.setblocking(False)
RESTART = 0x01234567  # linux/reboot.h
IN_MOVED_TO, IN_CREATE = 0x80, 0x100  # linux/inotify.h
libc = ctypes.CDLL(None)
notes = libc.inotify_init1(os.O_NONBLOCK)
before = BATCH.stat().st_mtime_ns if BATCH.exists() else 0
changes: list[bytes] = []  # of classes, since a change was begun that is to be confirmed
others = set(HOLDS.glob("*"))  # earlier changes that wait to be forgotten


def lock() -> Path:
    index = Path("/sys/class/net", DEVICE, "ifindex").read_text(encoding="ascii").strip()
    return Path(f"/run/virtnet-qos-{Path('/proc/self/ns/net').stat().st_ino}-{index}.lock")


def holder() -> int:
    """Return the id of the process that has the device's lock, or 0."""
    if not lock().exists():
        return 0
    inode = f":{lock().stat().st_ino}"
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(inode):
            return int(words[4])
    return 0


def has(name: str) -> bool:
    return any(Path(each, name).exists() for each in set(HOLDS.glob("*")) - others)


def wait_for_something() -> None:
    """Wait for new files where they count, or for an announcement of the kernel, but not for long."""
    for folder in (Path("/run"), HOLDS.parent, HOLDS, *HOLDS.glob("*"), KEPT):
        libc.inotify_add_watch(notes, os.fsencode(folder), IN_MOVED_TO | IN_CREATE)
    select.select([notes, announcements], [], [], 0.1)
    with contextlib.suppress(BlockingIOError):
        os.read(notes, 65536)
    with contextlib.suppress(BlockingIOError):
        message = announcements.recv(65536)
        if int.from_bytes(message[4:6], sys.byteorder) == RTM_NEWTCLASS and has("changed"):
            changes.append(message)


def goes_on_to(step: Callable[[], bool], process: int) -> bool:
    """Have a run that is held go on in small steps until it is there; return whether it was not over before."""
    while holder() == process:
        if step():
            return True
        os.kill(process, signal.SIGCONT)
        time.sleep(0.002)
        os.kill(process, signal.SIGSTOP)
        while Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] not in "TZ":
            time.sleep(0.0005)
    return False


STEPS: dict[str, Callable[[], bool]] = {
    "before arming": lambda: holder() > 0 and set(HOLDS.glob("*")) <= others,
    "arming": lambda: has("log") and not has("pending"),
    "armed": lambda: has("pending"),
    "changed": lambda: bool(changes),
    "confirming": lambda: has("confirmed"),
    "persisting": lambda: any(KEPT.glob(f".{DEVICE}.tc.*")),
    "persisted": lambda: has("confirmed") and BATCH.exists() and BATCH.stat().st_mtime_ns != before,
}


def main() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # it sees each step before the run goes on
    print("ready", flush=True)
    # The file is tried before the change, too, and written, and the run over, within too short a time to be seen.
    first = "confirming" if STEP in ("persisting", "persisted") else STEP
    end = time.monotonic() + SECONDS
    while not STEPS[first]():
        if time.monotonic() > end:
            sys.exit(f"no run came to {first} within {SECONDS} s")
        wait_for_something()
    process = holder()
    if process:
        os.kill(process, signal.SIGSTOP)
    if not process or not goes_on_to(STEPS[STEP], process):
        sys.exit(f"the run was over before it could be held at {STEP}")
    if sys.argv[3:] == ["cut"]:
        libc.reboot(RESTART)
    print("there", flush=True)
    sys.stdin.readline()
    os.kill(process, signal.SIGCONT)


main()
