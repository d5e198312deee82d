# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The form of the kernel's tc messages: a header, struct tcmsg, and attributes. Nothing of what is in them.

Numbers are in the machine's byte order. Sources: linux/netlink.h, linux/rtnetlink.h, linux/pkt_sched.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

NEWQDISC, DELQDISC, GETQDISC = 36, 37, 38
NEWTCLASS, DELTCLASS, GETTCLASS = 40, 41, 42
NEWTFILTER, DELTFILTER, GETTFILTER = 44, 45, 46
REQUEST, ACK, ECHO, EXCLUSIVE, DUMP, CREATE = 0x1, 0x4, 0x8, 0x200, 0x300, 0x400
ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
INGRESS_FILTERS = 0xFFFFFFF2  # the parent of filters of ingress and of clsact alike (ingress_tcf_block())
KIND, OPTIONS, STATS, STATS2, CHAIN = 1, 2, 3, 7, 11

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_TC = struct.Struct("=BxxxiIII")  # struct tcmsg
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr


class Message(NamedTuple):
    """What the kernel tells of a qdisc, a class or a filter: struct tcmsg, and the attributes as they came."""

    device: int  # its index
    handle: int
    parent: int
    info: int
    data: bytes


def request(number: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return a request of any kind."""
    return _HEADER.pack(16 + len(body), number, REQUEST | flags, sequence, 0) + body


def tc_body(  # noqa: PLR0913
    index: int, *, parent: int = 0, handle: int = 0, info: int = 0, kind: str = "", options: bytes | None = None
) -> bytes:
    """Return what a tc message says, without its header."""
    said = _TC.pack(0, index, handle, parent, info)
    if kind:
        said += attribute(KIND, kind.encode() + b"\0")
    return said if options is None else said + attribute(OPTIONS, options)


def split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Take apart what came in one piece: the number, flags, sequence number and body of each message."""
    offset = 0
    while offset + 16 <= len(data):
        length, number, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < 16:  # or it would never end
            break
        yield number, flags, sequence, data[offset + 16 : offset + length]
        offset += length + 3 & ~3


def tc_message(body: bytes, device: int | None = None) -> Message | None:
    """Return the body of a tc message, read; None where it is too short, or about another device than this index."""
    if len(body) < 20:
        return None
    _family, index, handle, parent, info = _TC.unpack_from(body)
    return Message(index, handle, parent, info, body[20:]) if device in (None, index) else None


def attribute(number: int, content: bytes) -> bytes:
    """Return a netlink attribute."""
    return _ATTRIBUTE.pack(4 + len(content), number) + content + bytes(-len(content) % 4)


def nested(contents: Mapping[int, bytes] | Iterable[tuple[int, bytes]]) -> bytes:
    """Return attributes, one after the other."""
    pairs = contents.items() if isinstance(contents, Mapping) else contents
    return b"".join(attribute(number, content) for number, content in pairs)


def attributes(data: bytes | None) -> dict[int, bytes]:
    """Return netlink attributes by their numbers; what is cut off or malformed is left out."""
    found: dict[int, bytes] = {}
    if not data:
        return found
    offset, end = 0, len(data) - 4
    while offset <= end:
        length, number = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end + 4:
            break
        found[number & 0x3FFF] = data[offset + 4 : offset + length]  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
        offset += length + 3 & ~3
    return found


def text(content: bytes | None) -> str:
    """Return a string that ends with a zero, whatever is in it."""
    return (content or b"").rstrip(b"\0").decode(errors="replace")
