# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is made of, and the name that changes whenever that does."""

from __future__ import annotations

import hashlib
from pathlib import Path

FILES = Path(__file__).parent / "files"
HOOK = FILES / "customize"
DISK_SIZE = "4G"

# What a host has before any role runs.
PACKAGES = (
    *("linux-image-cloud-amd64", "systemd", "systemd-sysv", "udev", "dbus", "kmod", "procps"),
    # These unpack the kernel and its modules, each release's in its own way.
    *("lz4", "zstd", "xz-utils"),
    *("openssh-server", "sudo", "python3", "python3-apt", "busybox-static"),
    *("iproute2", "iputils-ping", "ethtool", "iperf3", "tcpdump"),
    *("libvirt-daemon-system", "libvirt-clients", "libvirt-daemon-driver-qemu", "qemu-system-x86"),
    *("dnsmasq-base", "iptables"),
    # Its program goes into the guest; on the host nothing starts it.
    "qemu-guest-agent",
    # What a daemon needs that asks who one is (SASL); until a test configures it, none does.
    *("libsasl2-modules", "sasl2-bin"),
    # The hosts' network is systemd-networkd's; these are there to be enabled beside it.
    *("ifupdown", "network-manager"),
)
# What the role "prepare" installs: in the image as packages only, so that it has something to do, without a network.
OFFLINE_PACKAGES = ("python3-libvirt", "python3-lxml", "python3-pyroute2")

# The Release file of testing is past its date on some mirrors.
RELEASES: dict[str, tuple[str, ...]] = {
    "bookworm": (),
    "trixie": (),
    "forky": ('--aptopt=Acquire::Check-Valid-Until "false"',),
}


def digest(release: str) -> str:
    """Twelve hex digits over everything that decides how the image comes out."""
    total = hashlib.sha256(repr((release, PACKAGES, OFFLINE_PACKAGES, RELEASES[release], DISK_SIZE)).encode())
    for path in sorted(path for path in FILES.rglob("*") if path.is_file()):
        content = path.read_bytes()
        total.update(f"{path.relative_to(FILES)} {path.stat().st_mode & 0o111:o} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()[:12]


def name(release: str) -> str:
    return f"{release}-{digest(release)}"
