# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What the next boot brings: a tc batch a device, and a udev rule and a unit that apply it when the device appears."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.virtnet.qos.plugins.module_utils._files import MODE, make_folder, read, try_to_write, write
from ansible_collections.virtnet.qos.plugins.module_utils._restore import APPEARED, PROGRAM, RULE, UNIT
from ansible_collections.virtnet.qos.plugins.module_utils._systemd import Run, call, escape

FOLDER = Path("/etc/virtnet-qos")
UNITS = Path("/etc/systemd/system")
RUNTIME_UNITS = Path("/run/systemd/system")
RULES = Path("/etc/udev/rules.d")
NAME = "virtnet-qos@"
PUBLIC = 0o644
# In words that complete "the next boot brings"
NOTHING, SOME, OTHER, THIS = "nothing", "a tree", "another tree", "this tree"
LEFT = "nothing, but a run that was ended left files"
STALE = "nothing, since its unit is not as it should be"


def same(batch: str, other: str) -> bool:
    """Whether two batches make the same tree. Comments name what is somebody else's, too, which comes and goes."""
    return _lines(batch) == _lines(other)


def _lines(batch: str) -> list[str]:
    return [line for line in batch.splitlines() if not line.startswith("#")]


@dataclass(frozen=True)
class Boot:
    """What of one device's tree is kept for the next boot."""

    device: str

    @property
    def batch(self) -> Path:
        """The file with the tree."""
        return FOLDER / f"{self.device}.tc"

    @property
    def unit(self) -> str:
        """The name of the unit that makes the tree of it."""
        return f"{NAME}{escape(self.device)}.service"

    def brings(self, script: str) -> str:
        """Return what the next boot brings, in words, where ``script`` is the tree that it should bring, if any."""
        there = read(self.batch)
        if there is None:
            return LEFT if self._has_left() else NOTHING
        if not same(there, script):
            return OTHER if script else SOME
        return THIS if self._is_enabled() else STALE

    def check_writable(self, script: str) -> None:
        """Raise OSError where `keep` would."""
        made = not FOLDER.exists()
        make_folder(FOLDER)
        try:
            try_to_write(self.batch, script)
        finally:
            if made:
                FOLDER.rmdir()
        for path, (text, _mode) in _common().items():
            if path.parent != FOLDER:
                try_to_write(path, text)

    def differs(self, script: str) -> bool:
        """Whether the next boot brings something else than this tree; an empty script is none."""
        return self.brings(script) != (THIS if script else NOTHING)

    def major(self) -> int | None:
        """Return the major number of the root qdisc that the next boot brings, if any."""
        found = re.search(r"^qdisc add dev \S+ root handle ([0-9a-f]+): ", read(self.batch) or "", re.MULTILINE)
        return int(found[1], 16) if found else None

    def keep(self, script: str, run: Run) -> None:
        """Have the next boot bring this tree; none, and nothing of ours stays. Raises OSError and `CommandFailed`."""
        if not self.differs(script):
            return
        if not script:
            self._forget(run)
            return
        make_folder(FOLDER)
        self._tidy()
        whole = self._is_enabled()
        write(self.batch, script)  # first, since it is by this file that a run after one that was ended knows of it
        for path, (text, mode) in _common().items():
            if read(path) != text:
                write(path, text, mode)
        if whole:
            return
        call(run, "systemctl", "daemon-reload")
        run(["udevadm", "control", "--reload"])  # which happens by itself too, but some seconds later
        call(run, "systemctl", "enable", "--quiet", self.unit)
        if self._is_physical():
            # Not network-pre.target's: that one is in a boot only if somebody wants it, as the unit then does.
            call(run, "systemctl", "add-wants", "--quiet", "multi-user.target", self.unit)

    def reset_failed(self, run: Run) -> None:
        """Have the unit not be called failed for what it could not do before."""
        run(["systemctl", "reset-failed", self.unit])  # refused where it has not failed, or was never there

    def _forget(self, run: Run) -> None:
        if (UNITS / f"{NAME}.service").exists():
            call(run, "systemctl", "disable", "--quiet", "--now", self.unit)
        for link in list(self._links()):  # which it leaves where the unit is masked
            link.unlink()
        last = not set(FOLDER.glob("*.tc")) - {self.batch}
        if last:
            for path in _common():
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
            call(run, "systemctl", "daemon-reload")
        with contextlib.suppress(FileNotFoundError):
            self.batch.unlink()  # at last, since a run after one that was interrupted looks for it
        self._tidy()
        if last:
            for left in {*FOLDER.glob(".*"), *(each for path in _common() for each in _unfinished(path))}:
                left.unlink()
            with contextlib.suppress(OSError):  # somebody else's files are in it
                FOLDER.rmdir()

    def _tidy(self) -> None:
        """Remove what a run left that was ended while it wrote."""
        for path in _unfinished(self.batch):
            path.unlink()

    def _links(self) -> Iterator[Path]:
        """Return what has the unit started."""
        return UNITS.glob(f"*.wants/{self.unit}")

    def _has_left(self) -> bool:
        """Whether there are files of a run that was ended while it wrote, where there is no tree."""
        if any(_unfinished(self.batch)) or any(self._links()):
            return True
        if any(FOLDER.glob("*.tc")) or not FOLDER.exists():
            return False
        ours = any(path.exists() for path in _common()) or any(FOLDER.glob(".*"))
        return ours or not any(FOLDER.iterdir())

    def _is_enabled(self) -> bool:
        wants = [f"sys-subsystem-net-devices-{escape(self.device)}.device.wants"]
        if self._is_physical():
            wants.append("multi-user.target.wants")
        return (
            not self.is_masked
            and all(read(path) == text for path, (text, _mode) in _common().items())
            and all((UNITS / each / self.unit).is_symlink() for each in wants)
        )

    @property
    def is_masked(self) -> bool:
        """Whether somebody has forbidden the unit (systemctl mask)."""
        return any(path.resolve() == Path("/dev/null") for path in (UNITS / self.unit, RUNTIME_UNITS / self.unit))

    def _is_physical(self) -> bool:
        """Whether it is there before the network is set up, so that the network can wait for it.

        Virtual functions are often made by the network.
        """
        there = Path("/sys/class/net", self.device, "device")
        return there.exists() and not Path(there, "physfn").exists()


def _unfinished(path: Path) -> Iterator[Path]:
    return path.parent.glob(f".{path.name}.*")


def _common() -> dict[Path, tuple[str, int]]:
    """Return what all devices share: the text and the mode of each file."""
    return {
        FOLDER / "restore": (PROGRAM, MODE),
        FOLDER / "appeared": (APPEARED, MODE),
        UNITS / f"{NAME}.service": (UNIT.format(folder=FOLDER), PUBLIC),
        RULES / "90-virtnet-qos.rules": (RULE.format(folder=FOLDER), PUBLIC),
    }
