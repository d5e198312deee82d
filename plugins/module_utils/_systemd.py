# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""systemd, as far as we need it: whether it runs here, the names of its units, its commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

RUNS = Path("/run/systemd/system")  # sd_booted(3)

Run = Callable[[list[str]], tuple[int, str, str]]  # AnsibleModule.run_command(): exit status, output, errors


class CommandFailed(Exception):
    """A command failed. The text says which, and its own words."""


def is_there() -> bool:
    """Whether systemd is this host's init."""
    return RUNS.is_dir()


def escape(name: str) -> str:
    """Return a device's name as part of a unit's name, as systemd-escape(1) does; ``/`` is in none."""
    escaped = re.sub(r"[^A-Za-z0-9:_.]", lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), name)
    return f"\\x2e{escaped[1:]}" if escaped.startswith(".") else escaped


def call(run: Run, *command: str) -> None:
    """Run a command, or raise `CommandFailed`."""
    status, output, errors = run(list(command))
    if status:
        said = (errors or output).strip() or f"exit status {status}"
        raise CommandFailed(f"{' '.join(command[:2])}: {said}")
