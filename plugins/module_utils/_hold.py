# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A change that waits to be confirmed: what undoes it by itself, and what became of it.

It is a folder below ``FOLDER``/DEVICE, named by the token that the controller chose, with the tree before and after as
tc batches. One file in it tells its state: ``pending``, then either ``confirmed``, or ``expired`` while the tree is
brought back, and ``restored`` or ``failed`` at last. A state ends by renaming its file, so only one side ends it.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._files import make_folder, read, write
from ansible_collections.virtnet.qos.plugins.module_utils._restore import PROGRAM
from ansible_collections.virtnet.qos.plugins.module_utils._systemd import Run, call, is_there

FOLDER = Path("/run/virtnet-qos")
WAITING, DONE = ("pending", "expired"), ("restored", "failed", "confirmed")
BUSY_SECONDS = 10.0  # for the program to make a tree
GRACE_SECONDS = 40.0  # the program waits up to 30 s for a run that is at work


class Held(Exception):
    """Somebody else's change of the device waits to be confirmed. The text says whose."""


class Overtaken(Exception):
    """The host takes the change back while it is still being made."""


class NotConfirmed(Exception):
    """The change can no longer be confirmed. The text says why."""


@dataclass(frozen=True)
class Hold:
    """One change that waits, or waited."""

    path: Path

    @property
    def state(self) -> str:
        """The state it is in; ``unknown`` if there is no such hold."""
        return next((state for state in (*WAITING, *DONE) if Path(self.path, state).exists()), "unknown")

    @property
    def unit(self) -> str:
        """The name of the timer and of the service that undo it, without their suffixes."""
        return f"virtnet-qos-rollback-{self.path.name}"

    def facts(self) -> dict[str, Any]:
        """Return who made it and when, for how many ``seconds``, and ``until`` when on the clock that never jumps."""
        found = json.loads(read(Path(self.path, self.state)) or "{}")
        return {"by": "somebody", "since": "some time", "seconds": 0, "until": 0.0, "index": 0, "lost": [], **found}

    def left(self) -> float:
        """Return the seconds until it is undone."""
        return float(self.facts()["until"]) - time.monotonic()

    def begin(self) -> None:
        """Note that something is changed from now on, so that there is something to undo."""
        Path(self.path, "changed").touch()

    def log(self) -> str:
        """Return what went wrong when it was undone."""
        return (read(Path(self.path, "log")) or "").strip()

    def after(self) -> str:
        """Return the tree that was to stand."""
        return read(Path(self.path, "after.tc")) or ""

    def remove(self) -> None:
        """Forget it."""
        shutil.rmtree(self.path, ignore_errors=True)
        for folder in (self.path.parent, FOLDER):
            with contextlib.suppress(OSError):  # others' are in it
                folder.rmdir()


@dataclass(frozen=True)
class Rollback:
    """What undoes a change: the tc batches of the device's tree ``before`` and ``after`` it, and when, and for whom.

    ``index`` is the device's, ``netns`` the file of the network namespace, ``lock`` what a run holds that is at work on
    the device, ``lost`` what the batch before cannot make.
    """

    device: str
    index: int
    netns: Path | None
    lock: Path
    seconds: int
    by: str
    before: str
    after: str
    lost: list[str]


def place_of(device: str) -> Path:
    """Return the folder of a device's holds: its name, and the network namespace's number unless it is the host's."""
    own, hosts = Path("/proc/self/ns/net"), Path("/proc/1/ns/net")
    with contextlib.suppress(PermissionError):  # in a user namespace
        if own.samefile(hosts):
            return FOLDER / device
    return FOLDER / f"{device}@{own.stat().st_ino}"


def hold_of(place: Path, token: str) -> Hold:
    """Return the hold with a token, which need not exist."""
    if not re.fullmatch("[0-9a-f]{8,64}", token):
        raise NotConfirmed(f"{token!r} is no token")
    return Hold(place / token)


def settle(place: Path, device: str, run: Run) -> list[str]:
    """Forget what is done with, and undo what should have been undone. Returns warnings; raises `Held`.

    To be called with the device's lock held: then nothing is at work on it.
    """
    warnings = []
    for hold in _holds(place):
        facts, left = hold.facts(), hold.left()
        whose = f"a change by {facts['by']} of {facts['since']}"
        if hold.state == "pending" and -GRACE_SECONDS < left <= facts["seconds"]:
            raise Held(
                f"{whose} waits to be confirmed, and is taken back in {max(left, 0):.0f} s unless it is; run again"
                " after that"
            )
        if hold.state == "confirmed" and left > -GRACE_SECONDS:
            continue  # the folder goes when its time comes
        if hold.state == "failed":
            warnings.append(f"{whose} was to be taken back, which failed: {hold.log()}")
        if hold.state in WAITING:
            with contextlib.suppress(FileNotFoundError):
                Path(hold.path, "expired").rename(Path(hold.path, "pending"))
            status, _output, errors = run(_command(hold, device, "", facts["index"]))
            became = hold.log() or errors.strip() if status else "the tree from before it was brought back now"
            warnings.append(f"{whose} was neither confirmed nor taken back in time: {became}")
        hold.remove()
    return warnings


def arm(hold: Hold, rollback: Rollback, run: Run) -> None:
    """Have the host undo a change by itself unless it is confirmed.

    Raises OSError and `CommandFailed`, and then nothing is armed.
    """
    for folder in (FOLDER, hold.path.parent, hold.path):
        make_folder(folder)
    try:
        facts = {
            "by": rollback.by,
            "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "seconds": rollback.seconds,
            "until": time.monotonic() + rollback.seconds,
            "index": rollback.index,
            "lost": rollback.lost,
        }
        # Also the log: when its time comes there may be no room for a new file.
        texts = {"log": "", "before.tc": rollback.before, "after.tc": rollback.after, "restore": PROGRAM}
        for name, text in texts.items():
            write(hold.path / name, text)
        _start(hold, rollback, run)
        # At last: what waits does nothing without it, and nobody is held up by a run that ended here.
        write(hold.path / "pending", json.dumps(facts))
    except BaseException:
        hold.remove()
        raise


def confirm(hold: Hold, index: int, stands: bool) -> None:
    """Let a change stand, or raise `NotConfirmed`. Again, if need be: the first answer may have been lost.

    ``index`` is that of the device as it is, ``stands`` whether it has the tree that the change made.
    What would have undone it removes the folder instead, when its time comes.
    """
    if hold.state == "pending" and hold.facts().get("index") != index:
        raise NotConfirmed("the device was taken away and made anew meanwhile")
    if hold.state == "pending" and not stands:
        raise NotConfirmed("somebody else has changed the tree meanwhile")
    with contextlib.suppress(FileNotFoundError):
        Path(hold.path, "pending").rename(Path(hold.path, "confirmed"))
    if hold.state == "confirmed":
        return
    became = {
        "unknown": "this host knows nothing of it, as after a reboot, which brings the last persistent tree",
        "failed": f"bringing back the tree from before it failed: {hold.log()}",
    }
    raise NotConfirmed(became.get(hold.state, "it was taken back already"))


def bring_back(hold: Hold, device: str, run: Run) -> None:
    """Make the tree from before once more, since some of the change came after the host had done so."""
    end = time.monotonic() + BUSY_SECONDS
    while hold.state == "expired" and time.monotonic() < end:
        time.sleep(0.05)
    run(["/bin/sh", str(hold.path / "restore"), device, str(hold.path / "before.tc"), "", ""])


def give_up(hold: Hold, run: Run) -> None:
    """Forget a change of which nothing stands, and what would undo it."""
    if is_there():
        run(["systemctl", "stop", f"{hold.unit}.timer"])
    hold.remove()


def _holds(place: Path) -> Iterator[Hold]:
    with contextlib.suppress(FileNotFoundError, PermissionError):
        yield from (Hold(path) for path in sorted(place.iterdir()))


def _command(hold: Hold, device: str, lock: str, index: int) -> list[str]:
    words = (hold.path / "restore", device, hold.path / "before.tc", hold.path, lock, index)
    return ["/bin/sh", *map(str, words)]


def _start(hold: Hold, rollback: Rollback, run: Run) -> None:
    """Start what waits: a timer, or where there is no systemd a process that outlives this one."""
    command = _command(hold, rollback.device, str(rollback.lock), rollback.index)
    if not is_there():
        apart = 'setsid "$@" </dev/null >/dev/null 2>&1 &'  # no child of this process, nor of its session
        call(run, "/bin/sh", "-c", apart, "sh", *command, str(rollback.seconds))
        return
    inside = ["nsenter", f"--net={rollback.netns}"] if rollback.netns else []
    call(
        run,
        *("systemd-run", "--quiet", "--collect", f"--unit={hold.unit}", f"--on-active={rollback.seconds}"),
        *("--timer-property=IgnoreOnIsolate=yes", "--property=IgnoreOnIsolate=yes"),
        "--property=OOMScoreAdjust=-1000",  # what is ended half-way leaves half a tree
        *("--timer-property=AccuracySec=100ms", f"--description=Bring back the HFSC tree of {rollback.device}"),
        *inside,
        *command,
    )
    call(run, "systemctl", "is-active", "--quiet", f"{hold.unit}.timer")
