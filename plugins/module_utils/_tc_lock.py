# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""One run at a time on a device: another's temporary classes would look like those of a run that was interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = "/run"  # not /run/lock, where anybody could hold it
WAIT_SECONDS = 30.0


class Locked(Exception):
    """The lock could not be had. The text says why."""


@contextlib.contextmanager
def only_run(index: int) -> Iterator[Path]:
    """Hold the lock of the device with this index, a file; wait for it, but not for ever."""
    folder = FOLDER if os.access(FOLDER, os.W_OK | os.X_OK) else tempfile.gettempdir()
    namespace = Path("/proc/self/ns/net").stat().st_ino
    path = Path(folder, f"virtnet-qos-{namespace}-{index}.lock")
    try:
        # The file stays: one that is removed could be locked twice. Others may write to a folder: follow no link.
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Locked(f"could not open the lock {path}: {error.strerror}") from error
    try:
        end = time.monotonic() + WAIT_SECONDS
        while not _taken(lock):
            if time.monotonic() > end:
                whose = os.pread(lock, 100, 0).decode(errors="replace") or "one that says nothing of itself"
                text = f"another run, {whose}, still changes it after {WAIT_SECONDS:g} s (it holds the lock {path})"
                raise Locked(text)
            time.sleep(0.05)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} since {time.strftime('%H:%M:%S')}".encode(), 0)
        yield path
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
