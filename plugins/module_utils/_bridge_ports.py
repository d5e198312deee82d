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
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import carry_out

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
    if (_DEVICES / bridge / "bridge/vlan_filtering").read_text(encoding="ascii").strip() != "0":
        return "VLANs"
    return "macTableManager='libvirt'" if "macTableManager='libvirt'" in network_xml else None


def _settings(port: Path) -> Settings:
    # What can be read and written; `bridge` is the bridge itself.
    files = [file for file in port.iterdir() if file.stat().st_mode & 0o600 == 0o600 and file.is_file()]
    return {file.name: file.read_text(encoding="ascii") for file in files}


def plug(bridge: str, wanted: Mapping[str, Settings]) -> None:
    """Plug these devices into a bridge, with these settings. Raises `TcError` and OSError.

    What is there no more, or was plugged into something else meanwhile, is left out.
    """
    there, now = devices(), ports(bridge)
    if bridge not in there:
        raise OSError(errno.ENODEV, f"there is no bridge {bridge}")
    master = attribute(MASTER, struct.pack("=I", there[bridge]))
    carry_out(
        Request(f"plugging {name} into {bridge}", SETLINK, 0, struct.pack("=BxHiII", 0, 0, there[name], 0, 0) + master)
        for name in wanted
        if name in there and name not in now and not (_DEVICES / name / "master").exists()
    )
    for name, settings in ports(bridge).items():
        for setting, value in wanted.get(name, settings).items():
            if settings.get(setting, value) != value:
                (_DEVICES / bridge / "brif" / name / setting).write_text(value, encoding="ascii")
