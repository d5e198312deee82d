# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network between a controller and a host, as a gate that can be shut: both ends see what a broken link does."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator


class Gate:
    """Takes connections on ``port`` and passes them on.

    ``on_connection`` is called with the number of each, before anything is passed on. While ``shut``, connections are
    refused in the way of a host whose ssh server ends at once.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.shut = False
        self.on_connection: Callable[[int], None] = lambda number: None
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def fresh(self) -> None:
        """Open the gate, and count from the beginning."""
        self.cut()
        self.shut, self.connections, self.on_connection = False, 0, lambda number: None

    def cut(self) -> None:
        """End all connections, as a firewall does that is started anew."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        while True:
            near, _address = self._listener.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(near, self.connections), daemon=True).start()

    def _serve(self, near: socket.socket, number: int) -> None:
        with near:
            self.on_connection(number)
            if self.shut:
                return
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.target)) as far,
                self._noted(near, far),
            ):
                _pass_on(near, far)

    @contextlib.contextmanager
    def _noted(self, *sockets: socket.socket) -> Iterator[None]:
        self._open.update(sockets)
        try:
            yield
        finally:
            self._open.difference_update(sockets)


def _pass_on(near: socket.socket, far: socket.socket) -> None:
    other = {near: far, far: near}
    while True:
        ready, _writable, _failed = select.select([near, far], [], [])
        for each in ready:
            data = each.recv(65536)
            if not data:
                return
            other[each].sendall(data)
