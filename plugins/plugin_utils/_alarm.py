# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""A limit for what waits for a connection: ssh waits for ever on one that is dead."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator


class Overdue(BaseException):
    """Time is up. Not an Exception, since the ssh plugin tries again after any of those."""


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise `Overdue` in what takes longer.

    An alarm may be set already, for the task's keyword ``timeout``: the earlier one rings, and the other is kept.
    """
    others = signal.getitimer(signal.ITIMER_REAL)[0]
    if 0 < others <= seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_signal: object) -> None:
        raise Overdue(f"no answer within {seconds:.0f} s")

    begun, handler = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))  # 0 would be no alarm
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler)
        if others:
            signal.setitimer(signal.ITIMER_REAL, max(others - (time.monotonic() - begun), 0.001))
