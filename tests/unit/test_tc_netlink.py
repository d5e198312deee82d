# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Tc, TcError


@pytest.mark.parametrize(
    ("error", "number"),
    [(socket.timeout("timed out"), errno.ETIMEDOUT), (OSError(errno.ENOBUFS, "full"), errno.ENOBUFS)],
)
def test_a_socket_that_fails_is_an_error_that_says_what_was_tried(error: OSError, number: int) -> None:
    class Failing:
        def send(self, data: bytes) -> None:
            pass

        def recv(self, size: int) -> bytes:
            raise error

    door: Any = Tc.__new__(Tc)
    door.device, door.index, door.major, door._sequence, door._socket = "eth0", 2, 0x1389, 0, Failing()
    step = Step("qdisc", 0x1389, None, 1)
    with pytest.raises(TcError) as raised:
        door.send([step])
    assert (raised.value.number, raised.value.unclear, raised.value.step) == (number, True, step)
