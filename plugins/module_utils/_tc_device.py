# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What a device is: its name, its link, and the network namespace it is in. /sys may be another namespace's."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import re
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import attributes, text

# linux/rtnetlink.h, linux/if_link.h, linux/if_arp.h
GETLINK = 18
MTU, BELOW, QUEUE, LINK_INFO, BELOW_NAMESPACE, INFO_KIND, INFO_PORT_KIND = 4, 5, 13, 18, 37, 1, 4
LOOPBACK = 8
ETHERNET_LIKE = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK
ETHERNET_HEADER = 14
# linux/ethtool.h
SIOCETHTOOL, ETHTOOL_GSET = 0x8946, 1
UNKNOWN_SPEEDS = (0, 0xFFFF, 0xFFFFFFFF)
INVENTED_SPEEDS = ("tun", "veth")  # 10 and 10000, whatever they can do
CAP_NET_ADMIN = 12
NAMESPACES = "/run/netns"
NAMES_SHOWN = 20


@dataclass(frozen=True)
class Link:
    """What a device is: its kind in ip-link(8), which a NIC has not, and the name of the device it is on.

    ``packet`` is the kernel's psched_mtu() in bytes, with the usual header for such a link; see packet_of().
    ``queue`` is the txqueuelen, ``speed`` in bytes/s where it is known, and ``port_of`` the kind of the device that it
    is a port of.
    """

    kind: str = ""
    below: str = ""
    packet: int = 1514
    queue: int = 1000
    speed: int | None = None
    port_of: str = ""


def devices() -> dict[str, int]:
    """Return the devices there are: their indexes by their names."""
    return {name: index for index, name in socket.if_nameindex()}


def check_name(device: str, there: dict[str, int], problems: Problems) -> None:
    """Refuse a device that is not there, and one whose name tc -batch would read as something else."""
    if device not in there:
        some = ", ".join(sorted(there)[:NAMES_SHOWN])
        more = f" and {len(there) - NAMES_SHOWN} more" if len(there) > NAMES_SHOWN else ""
        problems.add("device", device, "no such device", f"there are {some}{more}")
    elif re.search(r"[\s#\"'\\]", device):
        problems.add("device", device, "tc -batch cannot read this name", "rename the device")


def may_change() -> bool:
    """Whether this process has CAP_NET_ADMIN; where that cannot be read, the kernel will say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return not found or bool(int(found.group(1), 16) >> CAP_NET_ADMIN & 1)


def path_of(namespace: str) -> Path:
    """Return the file of a network namespace, from its name in ip-netns(8) or an absolute path."""
    return Path(NAMESPACES, namespace)


def enter(namespace: str) -> None:
    """Go to a network namespace, by its name in ip-netns(8) or an absolute path, for good.

    Raises ImportError without pyroute2, and OSError where there is no such namespace or it may not be entered.
    """
    from pyroute2 import netns  # noqa: PLC0415 - slow to import, and needed for nothing else

    # Opened here, since pyroute2 makes the namespaces that it does not find.
    try:
        opened = os.open(path_of(namespace), os.O_RDONLY | os.O_CLOEXEC)
    except ValueError as error:  # a null byte
        raise OSError(errno.EINVAL, str(error)) from error
    try:
        netns.setns(opened)
    finally:
        os.close(opened)


def link_of(body: bytes, device: str) -> Link:
    """Return what a device is, from the kernel's answer to GETLINK (struct ifinfomsg and attributes)."""
    _family, hardware, _index, flags, _change = struct.unpack_from("=BxHiII", body.ljust(16, b"\0"))
    found = attributes(body[16:])
    numbers = {key: int.from_bytes(found.get(key, b""), sys.byteorder) for key in (MTU, BELOW, QUEUE)}
    kind = "loopback" if flags & LOOPBACK else text(attributes(found.get(LINK_INFO)).get(INFO_KIND))
    below = ""
    if numbers[BELOW] and BELOW_NAMESPACE not in found:
        with contextlib.suppress(OSError):
            below = socket.if_indextoname(numbers[BELOW])
    header = ETHERNET_HEADER if hardware in ETHERNET_LIKE else 0
    known = None if kind in INVENTED_SPEEDS else speed(device)
    port_of = text(attributes(found.get(LINK_INFO)).get(INFO_PORT_KIND))
    return Link(kind, below, numbers[MTU] + header, numbers[QUEUE], known, port_of)


def speed(device: str) -> int | None:
    """Return how fast a device says it is, in bytes/s."""
    answer = array.array("B", struct.pack("=I40x", ETHTOOL_GSET))  # struct ethtool_cmd
    ask = struct.pack("16sP16x", device.encode(), answer.buffer_info()[0])  # struct ifreq
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, SIOCETHTOOL, ask)
        except OSError:
            return None
    low, high = struct.unpack_from("=H14xH", answer, 12)
    megabits = high << 16 | low
    return None if megabits in UNKNOWN_SPEEDS else megabits * 125_000
