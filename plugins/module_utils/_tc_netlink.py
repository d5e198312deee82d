# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The only file that talks to netlink: reads a device's tree or its limits, and carries out the steps of a plan.

The socket is our own. Those of pyroute2 0.7 to 0.9 are too different (one repeats EBUSY for nine seconds, another runs
an event loop, all drop answers of a batch that fails in the middle), and importing it takes longer than all else here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Bridge, Request, bridge_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step
from ansible_collections.virtnet.qos.plugins.module_utils._tc_counters import Counters, counters_of
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import GETLINK, Link, devices, link_of
from ansible_collections.virtnet.qos.plugins.module_utils._tc_filters import lifter
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    ACK,
    DUMP,
    ECHO,
    GETQDISC,
    GETTCLASS,
    GETTFILTER,
    INGRESS_FILTERS,
    ROOT,
    Message,
    attributes,
    request,
    split,
    tc_body,
    tc_message,
    text,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_leaves import packet_of
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits, Roots, limits_of, roots_by_device
from ansible_collections.virtnet.qos.plugins.module_utils._tc_messages import (
    as_made,
    counters_by_class,
    questions_of,
    request_of,
    roots_of,
    tree_of,
)

# linux/netlink.h
ERROR, DONE = 2, 3
DUMP_INTERRUPTED, ACK_TLVS = 0x10, 0x200
SOL_NETLINK, CAP_ACK, EXT_ACK = 270, 10, 11
ACK_TEXT = 1
ANSWER_SECONDS = 30
SO_RCVBUFFORCE = 33
# One receive gives up to 32 KiB of a dump (netlink_dump()); the answers to a whole send wait in the socket, about
# 1 KiB each (struct sk_buff included), and are lost where they do not fit.
RECEIVED_BYTES = 1 << 16
WAITING_BYTES = 1 << 20
NOT_THERE = (errno.ENOENT, errno.EINVAL)  # a qdisc's parent that is not there is EINVAL
MESSAGES_A_SEND = 100
DUMPED_FROM = 200  # steps; the kernel tells whoever listens of each thing that is asked for, which takes its time
DRAIN_PAUSE = 0.005


class TcError(Exception):
    """The kernel refused: its error number and words, the step, and the steps that it did carry out.

    ``sent`` are the requests that it did carry out, where they are none of steps.
    ``unclear``: it did not answer, so that nobody knows which of the other steps were carried out.
    """

    def __init__(
        self, number: int, text: str = "", step: Step | None = None, done: Iterable[Step] = (), unclear: bool = False
    ) -> None:
        super().__init__(f"[Errno {number}] {os.strerror(number)}" + (f": {text}" if text else ""))
        self.number = number
        self.step = step
        self.done = list(done)
        self.sent: list[Request] = []
        self.unclear = unclear


class Route:
    """A netlink socket to the kernel's routing family, and requests numbered one after the other."""

    def __init__(self) -> None:
        self.sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.setsockopt(SOL_NETLINK, EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING_BYTES)
        with contextlib.suppress(OSError):  # not limited by net.core.rmem_max, but not for everybody
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, WAITING_BYTES)
        self._socket.bind((0, 0))

    def next(self) -> int:
        """Return the number for the next request."""
        self.sequence += 1
        return self.sequence

    def answers(self, requests: bytes, waiting: Collection[int]) -> Iterator[tuple[int, int, int, bytes]]:
        """Send requests; yield what comes (number, flags, sequence, body) until each of those waiting had its last."""
        left = set(waiting)
        try:
            self._socket.send(requests)
            while left:
                for answer in split(self._socket.recv(RECEIVED_BYTES)):
                    if answer[2] in left:
                        yield answer
                        if answer[0] in (ERROR, DONE):
                            left.remove(answer[2])
        except OSError as error:
            late = isinstance(error, socket.timeout)
            said = f"no answer within {ANSWER_SECONDS} s" if late else "talking to the kernel failed"
            number = errno.ETIMEDOUT if late else error.errno or errno.EIO
            raise TcError(number, said, unclear=True) from error

    def dump(self, number: int, index: int | None = None, parent: int = 0, info: int = 0) -> list[Message]:
        """Return what there is of a kind: on one device, below one qdisc, at one preference; or all."""
        for _attempt in range(5):
            found: list[Message] = []
            asked = self.next()
            interrupted = False
            ask = request(number, DUMP, asked, tc_body(index or 0, parent=parent, info=info))
            for kind, flags, _sequence, body in self.answers(ask, (asked,)):
                interrupted = interrupted or bool(flags & DUMP_INTERRUPTED)
                if kind not in (ERROR, DONE):
                    # Of qdiscs, the kernel always tells those of all devices.
                    message = tc_message(body, index)
                    if message:
                        found.append(message)
                elif refusal := acknowledgement(kind, flags, body):
                    raise TcError(*refusal)
            if not interrupted:
                return found
        raise TcError(errno.EINTR, "the tree changed each time it was read")

    def link(self, index: int) -> bytes:
        """Return what the kernel says of a device (struct ifinfomsg and attributes)."""
        asked, said = self.next(), b""
        ask = request(GETLINK, ACK, asked, struct.pack("=BxHiII", 0, 0, index, 0, 0))
        for kind, flags, _sequence, body in self.answers(ask, (asked,)):
            if kind not in (ERROR, DONE):
                said = body
            elif refusal := acknowledgement(kind, flags, body):
                raise TcError(*refusal)
        return said


class Tc:
    """The tree of one device below the root qdisc with handle ``major``:, in the kernel. Raises `TcError`."""

    def __init__(self, device: str, index: int, major: int) -> None:
        self.device = device
        self.index = index
        self.major = major
        self._route = Route()
        self.link: Link = link_of(self._route.link(index), device)

    def read(self) -> Tree:
        """Return the device's tree, and what else is on it."""
        tree = self._read()
        # A NIC's header is the usual one.
        packet = packet_of(tree.leaves.values(), self.link.packet) if self.link.kind else self.link.packet
        if packet == self.link.packet:
            return tree
        self.link = replace(self.link, packet=packet)
        return self._read()

    def _read(self) -> Tree:
        qdiscs = self._qdiscs()
        if roots_of(qdiscs).get(self.index) != ("hfsc", self.major):
            return tree_of(self.major, self.link, qdiscs, (), ())
        classes = self._classes()
        # A dump has the filters of one class. hfsc_classify() never comes to those of a class without children.
        parents = dict.fromkeys([self.major << 16, *(each.parent for each in classes if each.parent != ROOT)])
        filters = [each for parent in parents for each in self._route.dump(GETTFILTER, self.index, parent)]
        return tree_of(self.major, self.link, qdiscs, classes, filters)

    def read_again(self, steps: Collection[Step]) -> Tree:
        """Return what the steps touched of the tree, as it is now; all of it where that is faster than to ask."""
        if len(steps) > DUMPED_FROM:
            return as_made(self._read(), steps)
        root = (GETQDISC, tc_body(self.index, parent=ROOT))
        asked = list(
            dict.fromkeys([root, *(ask for step in steps for ask in questions_of(step, self.index, self.major))])
        )
        found: dict[int, list[Message]] = {GETQDISC: [], GETTCLASS: [], GETTFILTER: []}
        for start in range(0, len(asked), MESSAGES_A_SEND):
            numbered = {self._route.next(): ask for ask in asked[start : start + MESSAGES_A_SEND]}
            # Without ECHO the kernel tells everybody who listens, but not who asked (rtnetlink_send()).
            requests = [request(kind, ACK | ECHO, number, body) for number, (kind, body) in numbered.items()]
            for kind, flags, sequence, body in self._route.answers(b"".join(requests), numbered):
                if kind not in (ERROR, DONE):
                    found[numbered[sequence][0]] += filter(None, [tc_message(body, self.index)])
                elif (refusal := acknowledgement(kind, flags, body)) and refusal[0] not in NOT_THERE:
                    raise TcError(*refusal)
        if any(step.part == "lifts" for step in steps):
            found[GETTFILTER] += self._route.dump(GETTFILTER, self.index, self.major << 16, lifter().info)
        return as_made(tree_of(self.major, self.link, *found.values()), steps)

    def statistics(self) -> dict[int, Counters]:
        """Return what was counted for each class, by its minor."""
        return counters_by_class(self.major, self._classes(), self._qdiscs())

    def send(self, steps: list[Step]) -> None:
        """Carry the steps out, as many in one send as is safe, so that as little as can be comes between them.

        Of a send in which one fails, the kernel carries out the rest; nothing of those after it goes out.
        """
        done: list[Step] = []
        start = 0
        while start < len(steps):
            end = start + MESSAGES_A_SEND
            if end < len(steps) and steps[end].part == "leaves":
                end -= 1  # no class is left without its leaf, which tells a temporary one, if we end in between
            self._send(steps[start:end], done)
            start = end

    def _send(self, steps: list[Step], done: list[Step]) -> None:
        numbered = {self._route.next(): step for step in steps}
        requests = [request_of(step, self.index, self.major, self.link, number) for number, step in numbered.items()]
        refusals: dict[int, tuple[int, str]] = {}
        try:
            for kind, flags, sequence, body in self._route.answers(b"".join(requests), numbered):
                refusal = acknowledgement(kind, flags, body) if kind == ERROR else None
                if refusal:
                    refusals[sequence] = refusal
        except TcError as unclear:
            unclear.step, unclear.done = steps[0], done
            raise
        done += [step for number, step in numbered.items() if number not in refusals]
        if refusals:
            first = min(refusals)
            raise TcError(*refusals[first], step=numbered[first], done=done)

    def drain(self, minors: Iterable[int], seconds: float) -> dict[int, int]:
        """Wait for classes that get no more traffic to send what they have.

        Returns those that still have some after ``seconds``, and their packets.
        """
        handles = {self.major << 16 | minor for minor in minors}
        end = time.monotonic() + seconds
        while handles:
            waiting = {
                each.handle & 0xFFFF: counters_of(each).queue for each in self._classes() if each.handle in handles
            }
            left = {minor: packets for minor, packets in waiting.items() if packets}
            if not left or time.monotonic() > end:
                return left
            time.sleep(DRAIN_PAUSE)
        return {}

    def _qdiscs(self) -> list[Message]:
        found = self._route.dump(GETQDISC, self.index)
        # The name may be another device's by now, and a dump says nothing of a device that is gone.
        with contextlib.suppress(OSError):
            if socket.if_nametoindex(self.device) == self.index:
                return found
        raise TcError(errno.ENODEV)

    def _classes(self) -> list[Message]:
        # Named, so that the kernel does not look into each queue of each leaf, too.
        return self._route.dump(GETTCLASS, self.index, self.major << 16)


def roots() -> dict[int, tuple[str, int]]:
    """Return the kind and the major of the root qdisc of each device that was given one, by the device's index."""
    return roots_of(Route().dump(GETQDISC))


def limits(names: Collection[str], bridges: Collection[str]) -> dict[str, Limits]:
    """Return what limits these devices, by their names; those that are not there, or not all the time, are left out.

    One dump gives the qdiscs of all devices. Classes and filters the kernel tells only of the device that is named
    (tc_dump_tclass(), tc_dump_tfilter()), so they are asked for only where a qdisc has some. The filters of what is
    sent are of interest on ``bridges`` only.
    """
    route, found = Route(), {}
    there = {name: index for name, index in devices().items() if name in names or name in bridges}
    roots = roots_by_device(route.dump(GETQDISC))
    for name, index in there.items():
        root = roots.get(index, Roots())
        # Named, so that the kernel does not look into the queue below the class, too.
        classes = route.dump(GETTCLASS, index, root.htb) if root.htb else []
        sent = route.dump(GETTFILTER, index, root.htb) if root.htb and name in bridges else []
        received = route.dump(GETTFILTER, index, INGRESS_FILTERS) if root.ingress else []
        found[name] = limits_of(root, classes, sent, received)
    # The name may be another device's by now, and a dump says nothing of a device that is gone.
    still = devices()
    return {name: each for name, each in found.items() if still.get(name) == there[name]}


def bridge(name: str) -> Bridge | None:
    """Return what is on the bridge of a network; None where there is no such device."""
    index = devices().get(name)
    if index is None:
        return None
    route = Route()
    qdiscs = route.dump(GETQDISC, index)
    root = roots_by_device(qdiscs).get(index, Roots())
    classes = route.dump(GETTCLASS, index, root.htb) if root.htb else []
    sent = route.dump(GETTFILTER, index, root.htb) if root.htb else []
    received = route.dump(GETTFILTER, index, INGRESS_FILTERS) if root.ingress else []
    # The name may be another device's by now, and a dump says nothing of a device that is gone.
    return bridge_of(index, qdiscs, classes, sent, received) if devices().get(name) == index else None


def carry_out(requests: Iterable[Request]) -> None:
    """Send these requests, one after the other, up to the first that the kernel refuses."""
    route = Route()
    sent: list[Request] = []
    for each in requests:
        try:
            _ask(route, each)
        except TcError as error:
            error.sent = sent
            raise
        sent.append(each)


def _ask(route: Route, asked: Request) -> None:
    number = route.next()
    message = request(asked.number, ACK | asked.flags, number, asked.body)
    for kind, flags, _number, body in route.answers(message, (number,)):
        if kind == ERROR and (refusal := acknowledgement(kind, flags, body)):
            code, words = refusal
            raise TcError(code, f"{asked.about}: {words}" if words else asked.about)


def acknowledgement(number: int, flags: int, body: bytes) -> tuple[int, str] | None:
    """Return the error number and the kernel's own words, where it refused; it copies no request (CAP_ACK)."""
    code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if not code:
        return None
    words = attributes(body[4 if number == DONE else 20 :]).get(ACK_TEXT) if flags & ACK_TLVS else b""
    return code, text(words)
