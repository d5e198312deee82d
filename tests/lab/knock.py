# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command, and print as JSON what it did and for how long the ssh server at a port of this machine was silent."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time

# Some ssh servers shut out, for a while, who knocks more often than once a second and does not log in.
EVERY, PATIENCE = 2.0, 2.0


def answers(port: int) -> bool:
    """Whether the server greets; the lab takes the connection itself, so that this alone says nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def longest_silence(port: int, done: threading.Event) -> float:
    """Return the longest time from a knock that was not answered to an answer, until the command is done."""
    longest = 0.0
    silent_since: float | None = None
    while not done.is_set() or silent_since is not None:
        knocked = time.monotonic()
        if answers(port):
            longest = max(longest, time.monotonic() - (silent_since or time.monotonic()))
            silent_since = None
        else:
            silent_since = silent_since or knocked
            if done.is_set() and knocked - silent_since > 300:
                return float("inf")
        time.sleep(max(0.0, knocked + EVERY - time.monotonic()))
    return longest


def main() -> None:
    """Knock while the command runs."""
    port, command = int(sys.argv[1]), sys.argv[3:]
    done = threading.Event()
    silences: list[float] = []
    knocking = threading.Thread(target=lambda: silences.append(longest_silence(port, done)))
    started = time.monotonic()
    knocking.start()
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        seconds = time.monotonic() - started
    finally:
        done.set()
        knocking.join()
    seen = {"rc": result.returncode, "out_of_reach": round(silences[0], 1), "seconds": round(seconds, 1)}
    print(json.dumps({**seen, "output": result.stdout}))


if __name__ == "__main__":
    main()
