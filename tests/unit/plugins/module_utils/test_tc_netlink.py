# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _tc_netlink
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import HfscClass, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    GETQDISC,
    GETTFILTER,
    attribute,
    split,
    tc_body,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Route, Tc, TcError
from ansible_collections.virtnet.qos.tests.kernel.scenarios import MAJOR, SCENARIOS
from ansible_collections.virtnet.qos.tests.unit.recordings import recorded

ERROR, DONE, MULTI, INTERRUPTED, TLVS = 2, 3, 0x2, 0x10, 0x200


def answer(number: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), number, flags, sequence, 0) + body + bytes(-len(body) % 4)


class Kernel:
    """A socket whose other end answers with what a test puts there: for each request, by its sequence number."""

    def __init__(self, answers: Any) -> None:
        self.answers = answers
        self.sent: list[list[tuple[int, int, int, bytes]]] = []
        self.waiting: list[bytes | OSError] = []

    def send(self, data: bytes) -> None:
        self.sent.append(list(split(data)))
        for request in self.sent[-1]:
            self.waiting += self.answers(*request)

    def recv(self, _size: int) -> bytes:
        first = self.waiting.pop(0)
        if isinstance(first, OSError):
            raise first
        return first


def door(answers: Any) -> tuple[Tc, Kernel]:
    route: Any = Route.__new__(Route)
    route.sequence, route._socket = 0, Kernel(answers)
    tc: Any = Tc.__new__(Tc)
    tc.device, tc.index, tc.major, tc._route, tc.link = "lo", 1, MAJOR, route, Link()
    return tc, route._socket


def acknowledged(_number: int, _flags: int, sequence: int, _body: bytes) -> list[bytes]:
    return [answer(ERROR, 0x100, sequence, bytes(20))]


STEPS = [Step("classes", minor, None, HfscClass()) for minor in range(1, 251)]


def test_steps_go_out_in_few_sends() -> None:
    tc, kernel = door(acknowledged)
    tc.send(STEPS)
    assert [len(each) for each in kernel.sent] == [100, 100, 50]
    assert [request[2] for sent in kernel.sent for request in sent] == [*range(1, 251)]
    tc.send([])
    assert len(kernel.sent) == 3


def test_nothing_goes_out_after_a_send_in_which_one_failed() -> None:
    def answers(number: int, flags: int, sequence: int, body: bytes) -> list[bytes]:
        if sequence not in (120, 150):
            return acknowledged(number, flags, sequence, body)
        said = struct.pack("=i16x", -errno.EEXIST) + attribute(1, b"no\0")
        # An answer to a question nobody asked comes in between.
        return [answer(ERROR, 0, 9999, bytes(20)), answer(ERROR, TLVS, sequence, said)]

    tc, kernel = door(answers)
    with pytest.raises(TcError, match=r"File exists: no$") as raised:
        tc.send(STEPS)
    error = raised.value
    assert (error.number, error.step, error.unclear) == (errno.EEXIST, STEPS[119], False)
    assert error.done == [step for step in STEPS[:200] if step not in (STEPS[119], STEPS[149])]
    assert len(kernel.sent) == 2


@pytest.mark.parametrize(
    ("error", "number"),
    [(socket.timeout("timed out"), errno.ETIMEDOUT), (OSError(errno.ENOBUFS, "full"), errno.ENOBUFS)],
)
def test_a_socket_that_fails_is_an_error_that_says_what_was_tried(error: OSError, number: int) -> None:
    def answers(number: int, flags: int, sequence: int, body: bytes) -> list[Any]:
        return [error] if sequence == 101 else acknowledged(number, flags, sequence, body)

    tc, _kernel = door(answers)
    with pytest.raises(TcError) as raised:
        tc.send(STEPS)
    found = raised.value
    assert (found.number, found.unclear, found.step, found.done) == (number, True, STEPS[100], STEPS[:100])


def replayed(name: str) -> Any:
    """Answer as a kernel did of a scenario, as if on the device 1, with another device's qdiscs between."""
    parts = {38: recorded(name)["qdisc"], 42: recorded(name)["class"], 46: recorded(name)["filter"]}

    def answers(number: int, _flags: int, sequence: int, body: bytes) -> list[bytes]:
        asked = struct.unpack_from("=4xiII", body)
        assert number == GETTFILTER or asked[2] == (0 if number == GETQDISC else MAJOR << 16)
        told = []
        for each in parts[number]:
            if number == GETTFILTER and each.parent != asked[2]:
                continue
            for device in (1, 2) if number == GETQDISC else (1,):
                head = tc_body(device, handle=each.handle, parent=each.parent, info=each.info)
                told.append(answer(number - 2, MULTI, sequence, head + each.data))
        return [b"".join(told), answer(DONE, MULTI, sequence, bytes(4))]

    return answers


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_tree_is_read(name: str) -> None:
    tc, kernel = door(replayed(name))
    assert tc.read() == SCENARIOS[name].tree
    # Without our root, nothing below it is asked for; classes without others below are not asked for filters.
    inner = SCENARIOS[name].tree.offspring.keys() - {0}
    assert len(kernel.sent) == (3 + len(inner) if SCENARIOS[name].tree.qdisc else 1)
    assert tc.statistics().keys() >= SCENARIOS[name].tree.classes.keys()


def test_a_longer_header_is_learned_from_the_leaves() -> None:
    tc, kernel = door(replayed("classes"))
    tc.link = Link("bond", packet=1500)
    assert tc.read() == SCENARIOS["classes"].tree
    assert tc.link == Link("bond", packet=1514)
    sent = len(kernel.sent)
    assert tc.read() == SCENARIOS["classes"].tree
    assert len(kernel.sent) == sent + sent // 2


def test_a_dump_that_was_interrupted_is_asked_for_again() -> None:
    times = []

    def answers(_number: int, _flags: int, sequence: int, _body: bytes) -> list[bytes]:
        times.append(sequence)
        flags = INTERRUPTED if len(times) < 5 else 0
        return [answer(36, MULTI | flags, sequence, tc_body(1)), answer(DONE, MULTI, sequence, bytes(4))]

    tc, _kernel = door(answers)
    assert tc.read() == Tree()
    assert times == [1, 2, 3, 4, 5]
    tc, _kernel = door(lambda number, flags, sequence, body: [answer(DONE, INTERRUPTED, sequence, bytes(4))])
    with pytest.raises(TcError, match="changed each time") as raised:
        tc.read()
    assert raised.value.number == errno.EINTR


@pytest.mark.parametrize("number", [ERROR, DONE])
def test_a_dump_that_is_refused_is_an_error(number: int) -> None:
    said = struct.pack("=i", -errno.EPERM) + (bytes(16) if number == ERROR else b"") + attribute(1, b"no\0")
    tc, _kernel = door(lambda _number, flags, sequence, body: [answer(number, TLVS, sequence, said)])
    with pytest.raises(TcError, match=r"Operation not permitted: no$"):
        tc.read()


def test_a_device_that_has_another_index_by_now_is_gone() -> None:
    tc, _kernel = door(replayed("nothing"))
    for device, index in (("lo", 2), ("none", 1)):
        tc.device, tc.index = device, index
        with pytest.raises(TcError) as raised:
            tc.read()
        assert raised.value.number == errno.ENODEV


def test_classes_are_waited_for_until_all_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tc_netlink, "DRAIN_PAUSE", 0)
    queues = {1: [3, 2, 1, 0, 0], 2: [1, 0, 0, 0, 0], 3: [9] * 5}

    def answers(_number: int, _flags: int, sequence: int, _body: bytes) -> list[bytes]:
        told = b""
        for minor, left in queues.items():
            queue = attribute(7, attribute(3, struct.pack("=IIIII", left.pop(0), 0, 0, 0, 0)))
            told += answer(40, MULTI, sequence, tc_body(1, handle=MAJOR << 16 | minor) + queue)
        return [told + answer(DONE, MULTI, sequence, bytes(4))]

    tc, kernel = door(answers)
    assert tc.drain([], 1) == {}
    assert tc.drain([3, 2], 0) == {3: 9, 2: 1}
    assert tc.drain(iter([1, 2, 77]), 60) == {}
    assert len(kernel.sent) == 4
