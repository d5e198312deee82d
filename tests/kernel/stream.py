# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Traffic of which every packet is known."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

Wire = Any
SO_RCVBUFFORCE = 33

SENDER = """\
import select, socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect((sys.argv[1], 5000))
count = 0
while not select.select([0], [], [], float(sys.argv[2]))[0]:
    sender.send(count.to_bytes(8, "big"))
    count += 1
print(count)
"""


class Stream:
    """Numbered datagrams through a VLAN, some thousand a second, and what of them arrives.

    A process of its own sends them, so that they also go between any two steps of the module.
    """

    def __init__(self, wire: Wire, vlan: int, interval: float = 0.0005) -> None:
        address = f"10.0.{vlan % 256}.2"
        self.receiver = wire.far(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 27)
        self.receiver.bind((address, 5000))
        self.receiver.settimeout(10)  # to start, on a busy machine
        command = [sys.executable, "-IS", "-c", SENDER, address, str(interval)]
        self.sender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.arrived = [self.receiver.recv(100)]
        self.receiver.settimeout(1)
        self.count = 0

    def stop(self) -> None:
        self.count = int(self.sender.communicate("stop")[0])
        while len(self.arrived) < self.count:
            try:
                self.arrived.append(self.receiver.recv(100))
            except TimeoutError:
                break

    def lost(self) -> int:
        """Return how many did not arrive. None arrives twice, or before one that was sent earlier."""
        if not self.count:
            self.stop()
        numbers = [int.from_bytes(each, "big") for each in self.arrived]
        assert numbers == sorted(set(numbers))
        return self.count - len(numbers)
