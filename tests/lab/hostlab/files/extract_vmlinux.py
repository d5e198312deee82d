# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacks the kernel proper from a bzImage: QEMU starts it as it is, which saves an emulated processor the unpacking.

usage: extract_vmlinux.py BZIMAGE OUTPUT (run inside the image, which has the decompressors)
"""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

UNPACKERS = {
    b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"],
    b"\xfd7zXZ": ["xz", "-dcq", "--single-stream"],
    b"\x02\x21\x4c\x18": ["lz4", "-dcq"],
}


def payload(image: bytes) -> bytes:
    """The compressed kernel, found by the boot protocol's header; its last four bytes are the unpacked size."""
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    return image[start : start + length - 4]


def main(source: str, target: str) -> None:
    packed = payload(Path(source).read_bytes())
    command = next(command for magic, command in UNPACKERS.items() if packed.startswith(magic))
    with Path(target).open("wb") as out:
        subprocess.run(command, input=packed, stdout=out, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
