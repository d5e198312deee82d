# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in the lab, said in one sentence."""

from __future__ import annotations

import shutil

PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


class LabError(Exception):
    """A failure that the user can act on; its text says how."""


def require(*programs: str) -> None:
    missing = sorted({PACKAGES[program] for program in programs if shutil.which(program) is None})
    if missing:
        raise LabError(f"missing programs of the Debian packages {', '.join(missing)}: apt install {' '.join(missing)}")
