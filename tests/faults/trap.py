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


def something_happens() -> bool:
    """Wait for new files where they count, or for an announcement of the kernel, but not for long.

    Returns whether a class was changed that is to be confirmed.
    """
    for folder in (Path("/run"), HOLDS.parent, HOLDS, *HOLDS.glob("*"), KEPT):
        libc.inotify_add_watch(notes, os.fsencode(folder), IN_MOVED_TO | IN_CREATE)
    select.select([notes, announcements], [], [], 0.1)
    with contextlib.suppress(BlockingIOError):
        os.read(notes, 65536)
    with contextlib.suppress(BlockingIOError):
        message = announcements.recv(65536)
        return int.from_bytes(message[4:6], sys.byteorder) == RTM_NEWTCLASS and has("changed")
    return False


def is_persisting() -> bool:
    """Go on from the confirmation in small steps, until the new file is begun: it is there for too short to be seen."""
    process = holder()
    while process and has("confirmed") and not any(KEPT.glob(f".{DEVICE}.tc.*")):
        if BATCH.exists() and BATCH.stat().st_mtime_ns != before:
            sys.exit("the file was written before the run could be held")
        os.kill(process, signal.SIGCONT)
        time.sleep(0.0003)
        os.kill(process, signal.SIGSTOP)
        while Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] not in "TZ":
            time.sleep(0.0001)
        process = holder()
    return bool(process) and has("confirmed")


def is_at(step: str, changed: bool) -> bool:
    return {
        "before arming": holder() > 0 and set(HOLDS.glob("*")) <= others,
        "arming": has("log") and not has("pending"),
        "armed": has("pending"),
        "changed": changed,
        "confirming": has("confirmed"),
        "persisting": is_persisting(),
        "persisted": has("confirmed") and BATCH.exists() and BATCH.stat().st_mtime_ns != before,
    }[step]


def main() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # it sees each step before the run goes on
    print("ready", flush=True)
    end = time.monotonic() + SECONDS
    changed = False
    while not is_at(STEP, changed):
        if time.monotonic() > end:
            sys.exit(f"no run came to {STEP} within {SECONDS} s")
        changed = something_happens() or changed
    process = holder()
    if not process:
        sys.exit(f"the run was over before it could be held at {STEP}")
    os.kill(process, signal.SIGSTOP)
    if sys.argv[3:] == ["cut"]:
        libc.reboot(RESTART)
    print("there", flush=True)
    sys.stdin.readline()
    os.kill(process, signal.SIGCONT)


main()
