# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a person what goes on: a line for each step, a sign of life in long waits. On stderr: stdout is for data."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from .errors import LabError

HEARTBEAT = 15.0
_began = time.monotonic()
_lock = threading.Lock()
_interrupted = threading.Event()


def say(text: str) -> None:
    with _lock:
        print(f"[{time.monotonic() - _began:6.1f} s] {text}", file=sys.stderr, flush=True)


def interrupt() -> None:
    """Ends every wait, in whatever thread."""
    _interrupted.set()


def wait(
    what: str, done: Callable[[], bool], timeout: float, hint: Callable[[], str] = lambda: "", every: float = 0.5
) -> None:
    """Until done() is true; a heartbeat names what is waited for, and after the timeout hint() says what to look at."""
    start = time.monotonic()
    beat = start + HEARTBEAT
    while not done():
        now = time.monotonic()
        if now - start > timeout:
            raise LabError(f"{what}: not within {timeout:.0f} s{hint()}")
        if now >= beat:
            say(f"{what}: still waiting after {now - start:.0f} s")
            beat = now + HEARTBEAT
        if _interrupted.wait(every):
            raise LabError(f"{what}: interrupted")
