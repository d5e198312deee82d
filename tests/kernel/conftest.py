# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtnet.qos.plugins.module_utils import _guard
from ansible_collections.virtnet.qos.plugins.module_utils._hold import Hold
from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_class
from ansible_collections.virtnet.qos.tests.kernel.changes import OLD, WAIT, end

T = TypeVar("T")
VLANS = (100, 200, 300)
CLONE_NEWNET = 0x40000000


@pytest.fixture(scope="session", autouse=True)
def in_the_lab() -> None:
    if os.environ.get("VIRTNET_QOS_KERNEL_LAB") != "1":
        pytest.fail("run this in the kernel lab: python3 tests/lab/kernel.py -- COMMAND")


def run(*command: str, batch: str | None = None) -> str:
    done = subprocess.run(command, input=batch, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def shape() -> str:
    """Return the tree of ``near`` without what was counted."""
    # In an order of our own: the kernel's is that in which they came.
    shown = [sorted(run("tc", each, "show", "dev", "near").splitlines()) for each in ("qdisc", "class", "filter")]
    return "\n".join(line for lines in shown for line in lines)


class Wire:
    """The device ``near``, whose traffic is shaped, and ``far``, in a namespace of its own, where it arrives.

    VLAN devices are on both. Addresses are 10.0.VLAN.1 and .2, and 10.0.0.1 and .2 without a VLAN.
    """

    run = staticmethod(run)

    def lay(self) -> None:
        near = [
            "link add near type veth peer name far netns far",
            "link set near up address 02:00:00:00:00:01",
            "addr add 10.0.0.1/24 dev near",
            "neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev near",
        ]
        far = ["link set far up address 02:00:00:00:00:02", "addr add 10.0.0.2/24 dev far"]
        far += ["neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev far"]
        for vlan in VLANS:
            for side, number, other in ((near, 1, 2), (far, 2, 1)):
                name = ("near", "far")[number - 1]
                side += [
                    f"link add link {name} name {name}.{vlan} type vlan id {vlan}",
                    f"link set {name}.{vlan} up",
                    f"addr add 10.0.{vlan % 256}.{number}/24 dev {name}.{vlan}",
                    f"neigh add 10.0.{vlan % 256}.{other} lladdr 02:00:00:00:00:0{other} dev {name}.{vlan}",
                ]
        # Nothing is sent that no test sends: no IPv6, and no ARP.
        ipv6 = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
        if ipv6.exists():
            ipv6.write_text("1")
        run("ip", "netns", "add", "far")
        run("ip", "-batch", "-", batch="\n".join(near))
        run("ip", "-netns", "far", "-batch", "-", batch="\n".join(far))

    def cut(self) -> None:
        subprocess.run(["ip", "link", "del", "near"], check=False, capture_output=True)
        run("ip", "netns", "del", "far")

    def tree(self, device: str = "near") -> str:
        """Return what tc shows of a device, less what differs from one time to the next."""
        shown = run("tc", "-batch", "-", batch="".join(f"{each} show dev {device}\n" for each in ("qdisc", "filter")))
        classes = sorted(re.findall("^class hfsc .*", run("tc", "class", "show", "dev", device), re.MULTILINE))
        shown = re.sub(r"\s*index \d+ ref 1 bind 1", "", shown)
        shown = re.sub(r"refcnt \d+ ", "", shown)
        return "\n".join([*(line.rstrip() for line in shown.splitlines() if line.strip()), *classes])

    def packets(self, device: str = "near") -> dict[str, tuple[int, int]]:
        """Return how many packets each class sent and dropped, by its minor number in hexadecimal."""
        shown = run("tc", "-s", "class", "show", "dev", device)
        found = re.findall(r"class hfsc 1389:(\w+) .*?\n Sent \d+ bytes (\d+) pkt \(dropped (\d+)", shown)
        return {minor: (int(sent), int(dropped)) for minor, sent, dropped in found}

    def sent(self) -> dict[str, int]:
        """Return how many packets each class sent, where any."""
        return {minor: sent for minor, (sent, _dropped) in self.packets().items() if sent}

    def send(self, vlan: int, number: int, payload: bytes = b"x") -> None:
        """Send datagrams to ``far`` through a VLAN, 0 for none."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _time in range(number):
                sender.sendto(payload, (f"10.0.{vlan % 256}.2", 5000))

    def frame(self, vlan: int, priority: int = 0) -> bytes:
        """Return a whole frame with a tag inside: an empty UDP datagram."""
        addresses = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2")
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + addresses + struct.pack("!HHHH", 1, 2, 8, 0)
        macs = bytes.fromhex("020000000002" + "020000000001")
        return macs + struct.pack("!HHH", 0x8100, priority << 13 | vlan, 0x0800) + packet

    def far(self, function: Callable[[], T]) -> T:
        """Run a function in the namespace of ``far``; a socket that it makes stays there."""
        results: list[T] = []

        def there() -> None:
            with Path("/run/netns/far").open() as namespace:
                assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) == 0
            results.append(function())

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        return results[0]


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    try:
        wire.lay()
        yield wire
    finally:
        wire.cut()


Module = Callable[..., dict[str, Any]]


@pytest.fixture
def module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Module:
    """Run the module's main() in this process; a new one takes a second in User-Mode Linux."""

    # Where a test has imported what is the controller's, such as a filter, warnings would be shown instead of returned.
    monkeypatch.setattr(_internal, "is_controller", False)

    def module(check: bool = False, **options: Any) -> dict[str, Any]:
        warnings._global_warnings.clear()  # which a process of the module's own begins without
        args = {"device": "near", **options, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(args), pytest.raises(SystemExit):
            tc_hfsc_class.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return module


@pytest.fixture
def old(wire: Wire, module: Module) -> str:
    module(**OLD)
    return shape()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have what looks like systemd, and a folder in PATH for its commands. The real one is in the host lab."""
    Path("/run/systemd/system").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(_guard, "UDEV", tmp_path)
    yield tmp_path
    shutil.rmtree("/run/systemd")


@pytest.fixture
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_guard, "SECONDS", range(WAIT, 3601))
    yield
    end("/run/virtnet-qos/")
    for each in Path("/run/virtnet-qos").glob("*/*"):
        Hold(each).remove()
