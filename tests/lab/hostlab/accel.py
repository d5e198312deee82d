# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which acceleration works here. /dev/kvm may exist and yet no kernel may boot on it: only a boot tells."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import paths, progress
from .image import Image
from .locks import held

DEVICE = Path("/dev/kvm")
PROBE_TIMEOUT = 10.0
# One thread: on two (QEMU 7.2) kernels died of an int3 or hung when a hook in their code came and went under traffic,
# apparently because a processor ran what the other had just replaced.
ARGUMENTS = {"kvm": ["-accel", "kvm", "-cpu", "host"], "tcg": ["-accel", "tcg,thread=single", "-cpu", "max"]}


def choose(image: Image) -> str:
    """kvm or tcg; probed once for each boot of this machine."""
    if not DEVICE.exists():
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    file = paths.cache() / "accel"
    with held(file.with_name("accel.lock"), "another process probes KVM", 2 * PROBE_TIMEOUT):
        if file.exists() and file.read_text().startswith(boot):
            return file.read_text().split()[1]
        progress.say("KVM is probed by booting a kernel on it")
        found = "kvm" if _boots(image) else "tcg"
        file.write_text(f"{boot} {found}\n")
    progress.say("KVM works" if found == "kvm" else "KVM does not work here: hosts are emulated (tcg), which is slower")
    return found


def _boots(image: Image) -> bool:
    """The guest's initramfs, given no NIC, says that it is up and powers off."""
    command = [
        *("qemu-system-x86_64", *ARGUMENTS["kvm"], "-m", "256", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-serial", "stdio", "-kernel", str(image.kernel), "-initrd", str(image.guest_initramfs)),
        *("-append", "console=ttyS0 quiet panic=-1"),
    ]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return b"lab: guest is up" in result.stdout
