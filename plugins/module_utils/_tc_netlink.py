# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The only file that talks to netlink: reads a device's tree, and carries out the steps of a plan.

The socket is our own, since those of pyroute2 0.7 to 0.9 are too different: one repeats EBUSY for nine seconds,
another runs an event loop, and all drop answers of a batch that fails in the middle.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_messages import (
    ACK,
    DUMP,
    ECHO,
    GETQDISC,
    GETTCLASS,
    GETTFILTER,
    REQUEST,
    TcMessage,
    attributes,
    backlog,
    message,
    message_of,
    tree_of,
)

# linux/netlink.h
ERROR, DONE = 2, 3
DUMP_INTERRUPTED, ACK_TLVS = 0x10, 0x200
SOL_NETLINK, CAP_ACK, EXT_ACK = 270, 10, 11
ACK_TEXT = 1
ANSWER_SECONDS = 30
# linux/rtnetlink.h, linux/if_link.h
GETLINK, LINK_BELOW, LINK_INFO, INFO_KIND = 18, 5, 18, 1
LOOPBACK = 8
CAP_NET_ADMIN = 12


NAMES_SHOWN = 20


class TcError(Exception):
    """The kernel refused: its error number and words, the step, and the steps of the same send it did carry out.

    ``unclear``: it did not answer, so that nobody knows which of the steps were carried out.
    """

    def __init__(
        self, number: int, text: str = "", step: Step | None = None, done: Iterable[Step] = (), unclear: bool = False
    ) -> None:
        super().__init__(f"[Errno {number}] {os.strerror(number)}" + (f": {text}" if text else ""))
        self.number = number
        self.step = step
        self.done = list(done)
        self.unclear = unclear


@dataclass(frozen=True)
class Link:
    """What a device is: its kind in ip-link(8), which a NIC has not, and the name of the device it is on."""

    kind: str = ""
    below: str = ""


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


class Tc:
    """The tree of one device below the root qdisc with handle ``major``:, in the kernel. Raises `TcError`."""

    def __init__(self, device: str, index: int, major: int) -> None:
        self.device = device
        self.index = index
        self.major = major
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.setsockopt(SOL_NETLINK, EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)
        self._socket.bind((0, 0))

    def read(self) -> Tree:
        """Return the device's tree, and what else is on it."""
        qdiscs = self._dump(GETQDISC)
        if devices().get(self.device) != self.index:
            raise TcError(errno.ENODEV)
        return tree_of(self.major, qdiscs, self._dump(GETTCLASS), self._dump(GETTFILTER, self.major << 16))

    def link(self) -> Link:
        """Return what the device is. Asked of netlink, since /sys may be another network namespace's."""
        self._sequence += 1
        body = struct.pack("=BxHiII", 0, 0, self.index, 0, 0)  # struct ifinfomsg
        answer = b""
        self._socket.send(struct.pack("=IHHII", 16 + len(body), GETLINK, REQUEST, self._sequence, 0) + body)
        while not answer:
            for number, _flags, sequence, data in _split(self._socket.recv(1 << 18)):
                if sequence == self._sequence:
                    if number == ERROR:
                        raise TcError(*_acknowledgement(number, 0, data))
                    answer = data[16:]
        found = attributes(answer[16:])
        kind = attributes(found.get(LINK_INFO)).get(INFO_KIND, b"").rstrip(b"\0").decode(errors="replace")
        if struct.unpack_from("=I", answer, 8)[0] & LOOPBACK:
            kind = "loopback"
        below = int.from_bytes(found.get(LINK_BELOW, b""), sys.byteorder)
        return Link(kind, {index: name for name, index in devices().items()}.get(below, ""))

    def send(self, steps: list[Step]) -> None:
        """Carry the steps out, all in one send, so that as little as can be comes between them."""
        messages = [message_of(step, self.index, self.major) for step in steps]
        try:
            errors = [refusal for refusal, replies in self._exchange(messages)]
        except TcError as unclear:
            unclear.step = steps[0]
            raise
        done = [step for step, error in zip(steps, errors) if not error]
        for step, error in zip(steps, errors):
            if error:
                raise TcError(*error, step=step, done=done)

    def drain(self, minor: int, seconds: float) -> int:
        """Wait for a class that gets no more traffic to send what it has; return the packets left after ``seconds``."""
        # Without NLM_F_ECHO the kernel tells everybody who listens, but not who asked (rtnetlink_send()).
        ask = message(GETTCLASS, ACK | ECHO, self.index, handle=self.major << 16 | minor)
        end = time.monotonic() + seconds
        while True:
            left = sum(backlog(reply) for error, replies in self._exchange([ask]) for reply in replies)
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.005)

    def _dump(self, number: int, parent: int = 0) -> list[Any]:
        for _attempt in range(5):
            ((error, replies),) = self._exchange([message(number, DUMP, self.index, parent=parent)])
            if not error:
                return [reply for reply in replies if reply["index"] == self.index]
            if error[0] != errno.EINTR:
                raise TcError(*error)
        raise TcError(errno.EINTR, "the tree changed each time it was read")

    def _exchange(self, messages: list[Any]) -> list[tuple[tuple[int, str] | None, list[Any]]]:
        """Send messages and return, for each, the error if there was one, and the replies."""
        first = self._sequence + 1
        for each in messages:
            self._sequence += 1
            each["header"]["sequence_number"] = self._sequence
            each.reset()
            each.encode()
        errors: dict[int, tuple[int, str]] = {}
        replies: dict[int, list[Any]] = {number: [] for number in range(first, self._sequence + 1)}
        waiting = set(replies)
        for answer in self._answers(b"".join(bytes(each.data) for each in messages), waiting):
            for number, flags, sequence, data in _split(answer):
                if sequence not in waiting:
                    continue
                if flags & DUMP_INTERRUPTED:
                    errors[sequence] = (errno.EINTR, "")
                if number in (ERROR, DONE):
                    waiting.remove(sequence)
                    code, text = _acknowledgement(number, flags, data)
                    if code:
                        errors[sequence] = (code, text)
                else:
                    reply = TcMessage(data)
                    reply.decode()
                    replies[sequence].append(reply)
        return [(errors.get(sequence), found) for sequence, found in replies.items()]

    def _answers(self, data: bytes, waiting: set[int]) -> Iterator[bytes]:
        try:
            self._socket.send(data)
            while waiting:
                yield self._socket.recv(1 << 18)
        except OSError as error:
            late = isinstance(error, socket.timeout)
            text = f"no answer within {ANSWER_SECONDS} s" if late else "talking to the kernel failed"
            number = errno.ETIMEDOUT if late else error.errno or errno.EIO
            raise TcError(number, text, unclear=True) from error


def _split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, number, flags, sequence = struct.unpack_from("=IHHI", data, offset)
        yield number, flags, sequence, data[offset : offset + length]
        offset += length + 3 & ~3


def _acknowledgement(number: int, flags: int, data: bytes) -> tuple[int, str]:
    """Return the error number and the kernel's own words; an answer that is capped has no copy of the request."""
    code = -struct.unpack_from("=i", data, 16)[0] if len(data) >= 20 else 0
    text = attributes(data[20 if number == DONE else 36 :]).get(ACK_TEXT, b"") if flags & ACK_TLVS else b""
    return code, text.rstrip(b"\0").decode(errors="replace")
