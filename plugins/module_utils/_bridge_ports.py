# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What is plugged into a bridge, and plugging it in again after the bridge was made anew."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Request
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import devices
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import attribute
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError, carry_out

# linux/rtnetlink.h, linux/if_link.h
SETLINK, MASTER = 19, 10
_DEVICES = Path("/sys/class/net")

# The settings of a port, such as isolated and learning, by their names in sysfs (net/bridge/br_sysfs_if.c).
Settings = Mapping[str, str]


def ports(bridge: str) -> dict[str, Settings]:
    """Return the settings of what is plugged into a bridge, by the name of the device."""
    there = _DEVICES / bridge / "brif"
    return {port.name: _settings(port) for port in there.iterdir()} if there.is_dir() else {}


def sorting(bridge: str, network_xml: str) -> str | None:
    """Return what of a network sorts frames by the NICs that libvirt plugged in, so that it is lost with the bridge."""
    filtering = _DEVICES / bridge / "bridge/vlan_filtering"
    if filtering.exists() and filtering.read_text(encoding="ascii").strip() != "0":  # Open vSwitch has no such file
        return "VLANs"
    return "macTableManager='libvirt'" if "macTableManager='libvirt'" in network_xml else None


def _settings(port: Path) -> Settings:
    # What can be read and written; `bridge` is the bridge itself.
    files = [file for file in port.iterdir() if file.stat().st_mode & 0o600 == 0o600 and file.is_file()]
    return {file.name: file.read_text(encoding="ascii") for file in files}


def plug(bridge: str, wanted: Mapping[str, Settings]) -> list[str]:
    """Plug these devices into a bridge, with these settings, and return what the kernel refused.

    What is there no more, or was plugged into something else meanwhile, is left out.
    """
    refused = []
    for name, settings in wanted.items():
        try:
            _plug(bridge, name, settings)
        except (TcError, OSError) as error:
            if name in devices():
                refused.append(f"{name}: {error}")
    return refused


def _plug(bridge: str, name: str, settings: Settings) -> None:
    there = devices()
    if name in there and not (_DEVICES / name / "master").exists():
        if bridge not in there:
            raise OSError(errno.ENODEV, f"there is no bridge {bridge}")
        body = struct.pack("=BxHiII", 0, 0, there[name], 0, 0) + attribute(MASTER, struct.pack("=I", there[bridge]))
        carry_out([Request(f"plugging it into {bridge}", SETLINK, 0, body)])
    port = _DEVICES / bridge / "brif" / name
    now = _settings(port) if port.is_dir() else settings
    for setting, value in settings.items():
        if now.get(setting, value) != value:
            (port / setting).write_text(value, encoding="ascii")
