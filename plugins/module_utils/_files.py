# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Files that are there whole or not at all, for root alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MODE, FOLDER_MODE = 0o600, 0o700


def write(path: Path, text: str, mode: int = MODE) -> None:
    """Write a file so that whoever reads it, also after a power cut, finds the old text or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(temporary, text, mode)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def try_to_write(path: Path, text: str) -> None:
    """Raise OSError where `write` would: the folder, its file system, its space."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(temporary, text, MODE)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def read(path: Path) -> str | None:
    """Return what a file says; None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def make_folder(path: Path) -> None:
    """Make a folder that only root looks into, unless it is there."""
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)


def _write(path: Path, text: str, mode: int) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask took away
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
