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
import time
from collections.abc import Iterable, Iterator
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


class TcError(Exception):
    """The kernel refused: its error number and words, the step, and the steps of the same send it did carry out."""

    def __init__(self, number: int, text: str = "", step: Step | None = None, done: Iterable[Step] = ()) -> None:
        super().__init__(f"[Errno {number}] {os.strerror(number)}" + (f": {text}" if text else ""))
        self.number = number
        self.step = step
        self.done = list(done)


def devices() -> dict[str, int]:
    """Return the devices there are: their indexes by their names."""
    return {name: index for index, name in socket.if_nameindex()}


def check_name(device: str, there: dict[str, int], problems: Problems) -> None:
    """Refuse a device that is not there, and one whose name tc -batch would read as something else."""
    if device not in there:
        problems.add("device", device, "no such device", f"there are {', '.join(sorted(there))}")
    elif re.search(r"[\s#\"'\\]", device):
        problems.add("device", device, "tc -batch cannot read this name", "rename the device")


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

    def send(self, steps: list[Step], replace_root: bool = False) -> None:
        """Carry the steps out, all in one send, so that as little as can be comes between them."""
        messages = [message_of(step, self.index, self.major, replace_root) for step in steps]
        errors = [error for error, replies in self._exchange(messages)]
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
        self._socket.send(b"".join(bytes(each.data) for each in messages))
        errors: dict[int, tuple[int, str]] = {}
        replies: dict[int, list[Any]] = {number: [] for number in range(first, self._sequence + 1)}
        waiting = set(replies)
        while waiting:
            for number, flags, sequence, data in _split(self._socket.recv(1 << 18)):
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
