# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What the next boot brings: a tc batch a device, and a systemd unit that the device starts when it appears."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.virtnet.qos.plugins.module_utils._files import make_folder, read, try_to_write, write
from ansible_collections.virtnet.qos.plugins.module_utils._restore import PROGRAM, UNIT
from ansible_collections.virtnet.qos.plugins.module_utils._systemd import Run, call, escape

FOLDER = Path("/etc/virtnet-qos")
UNITS = Path("/etc/systemd/system")
NAME = "virtnet-qos@"
UNIT_MODE = 0o644
# In words that complete "the next boot brings"
NOTHING, SOME, OTHER, THIS = "nothing", "a tree", "another tree", "this tree"
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
            return NOTHING
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
        try_to_write(UNITS / f"{NAME}.service", _unit())

    def differs(self, script: str) -> bool:
        """Whether the next boot brings something else than this tree; an empty script is none."""
        return self.brings(script) != (THIS if script else NOTHING)

    def keep(self, script: str, run: Run) -> None:
        """Have the next boot bring this tree; none, and nothing of ours stays. Raises OSError and `CommandFailed`."""
        if not self.differs(script):
            return
        if not script:
            self._forget(run)
            return
        make_folder(FOLDER)
        write(FOLDER / "restore", PROGRAM)
        self._tidy()
        write(self.batch, script)
        if self._is_enabled():
            return
        write(UNITS / f"{NAME}.service", _unit(), UNIT_MODE)
        call(run, "systemctl", "daemon-reload")
        call(run, "systemctl", "enable", "--quiet", self.unit)
        if self._is_physical():
            # Not network-pre.target's: that one is in a boot only if somebody wants it, as the unit then does.
            call(run, "systemctl", "add-wants", "--quiet", "multi-user.target", self.unit)

    def is_mended(self, run: Run) -> None:
        """Have the unit not be called failed for what it could not do before."""
        run(["systemctl", "reset-failed", self.unit])  # refused where it has not failed, or was never there

    def _forget(self, run: Run) -> None:
        template = UNITS / f"{NAME}.service"
        if template.exists():
            call(run, "systemctl", "disable", "--quiet", "--now", self.unit)
        last = list(FOLDER.glob("*.tc")) == [self.batch]
        if last:
            for path in (FOLDER / "restore", template):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
            call(run, "systemctl", "daemon-reload")
        self.batch.unlink()  # at last, since a run after one that was interrupted looks for it
        self._tidy()
        if last:
            for path in [*FOLDER.glob(".*"), *UNITS.glob(f".{NAME}.service.*")]:
                path.unlink()
            FOLDER.rmdir()

    def _tidy(self) -> None:
        """Remove what a run left that was ended while it wrote."""
        for path in FOLDER.glob(f".{self.batch.name}.*"):
            path.unlink()

    def _is_enabled(self) -> bool:
        wants = [f"sys-subsystem-net-devices-{escape(self.device)}.device.wants"]
        if self._is_physical():
            wants.append("multi-user.target.wants")
        return (
            read(FOLDER / "restore") == PROGRAM
            and read(UNITS / f"{NAME}.service") == _unit()
            and all((UNITS / each / self.unit).is_symlink() for each in wants)
        )

    def _is_physical(self) -> bool:
        """Whether it is there before the network is set up, so that the network can wait for it.

        Virtual functions are often made by the network.
        """
        there = Path("/sys/class/net", self.device, "device")
        return there.exists() and not Path(there, "physfn").exists()


def _unit() -> str:
    return UNIT.format(folder=FOLDER)
