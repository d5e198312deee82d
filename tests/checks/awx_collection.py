# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put the collection awx.awx, and nothing else of the package ansible that brings it, into this virtual environment.

It lands where that package would put it, and where every Ansible tool of the environment finds it.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "ansible==12.3.0"  # for ansible-core 2.19; brings awx.awx 24.6.1
WANTED = "ansible_collections/awx/awx/"


def main() -> None:
    """Download, unpack what is wanted, and forget the rest: 1 MB of 210."""
    with tempfile.TemporaryDirectory(prefix="virtnet-qos-awx-") as scratch:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", "--dest", scratch, PACKAGE], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            names = [name for name in packed.namelist() if name.startswith(WANTED)]
            packed.extractall(sysconfig.get_path("purelib"), names)


if __name__ == "__main__":
    main()
