# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small second disk that makes one image many hosts: a tar file with the host's name and keys."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from . import ssh


def write(host_directory: Path, name: str) -> Path:
    """Makes the host's key, notes it as known, and packs what the host needs to be itself."""
    host_key = host_directory / "host_key"
    ssh.generate(host_key, name)
    public = host_key.with_suffix(".pub").read_text()
    (host_directory / "known_hosts").write_text(f"{name} {public}")
    files = {
        "etc/hostname": (0o644, f"{name}\n"),
        "etc/hosts": (0o644, f"127.0.0.1 localhost\n127.0.1.1 {name}\n"),
        "etc/ssh/ssh_host_ed25519_key": (0o600, host_key.read_text()),
        "etc/ssh/ssh_host_ed25519_key.pub": (0o644, public),
        "root/.ssh/authorized_keys": (0o600, ssh.lab_key().with_suffix(".pub").read_text()),
    }
    disk = host_directory / "seed.tar"
    with tarfile.open(disk, "w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo("root/.ssh")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for path, (mode, text) in files.items():
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = mode, len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    disk.chmod(0o600)
    return disk
