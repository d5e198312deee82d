# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import builtins
import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _tc_device
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link, check_name, enter, link_of, speed
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import attribute


def test_a_link_is_read_as_a_kernel_told_it() -> None:
    text = (Path(__file__).parents[2] / "recorded/nothing.hex").read_text(encoding="ascii")
    (line,) = (line for line in text.splitlines() if line.startswith("link "))
    link = link_of(bytes.fromhex(line[5:]), "none")
    assert (link.kind, link.packet, link.queue, link.speed) == ("veth", 1514, 1000, None)


def test_a_link_in_another_namespace_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tc_device, "speed", lambda device: 125)
    info = attribute(18, attribute(1, b"vlan\0"))
    head = struct.pack("=BxHiII", 0, 1, 5, 0, 0) + attribute(4, struct.pack("=I", 1496)) + info
    loopback = struct.pack("=I", 1)
    assert link_of(head + attribute(5, loopback), "a") == Link("vlan", "lo", 1510, 0, 125)
    assert link_of(head + attribute(5, loopback) + attribute(37, bytes(4)), "a").below == ""
    assert link_of(head + attribute(5, struct.pack("=I", 2**31 - 1)), "a").below == ""
    assert link_of(b"", "a") == Link("", "", 0, 0, 125)


def test_a_link_that_is_no_ethernet_has_no_header() -> None:
    said = struct.pack("=BxHiII", 0, 65534, 5, 0, 0) + attribute(4, struct.pack("=I", 1420))
    assert link_of(said, "none").packet == 1420


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(1000, 0, 125_000_000), (0x86A0, 1, 12_500_000_000), (0xFFFF, 0xFFFF, None), (0xFFFF, 0, None), (0, 0, None)],
)
def test_a_speed_is_in_two_halves(monkeypatch: pytest.MonkeyPatch, low: int, high: int, found: int | None) -> None:
    def ioctl(_socket: Any, _number: int, ask: bytes) -> None:
        import ctypes  # noqa: PLC0415

        (address,) = struct.unpack_from("P", ask, 16)
        assert ctypes.string_at(address, 44) == b"\1" + bytes(43)
        struct.pack_into("=H14xH", (ctypes.c_char * 44).from_address(address), 12, low, high)

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    assert speed("eth0") == found


def test_a_device_without_a_speed_has_none() -> None:
    assert speed("none") is None


def test_names_that_tc_cannot_read_are_refused() -> None:
    problems = Problems()
    check_name("eth0", {"eth0": 2}, problems)
    assert problems.found == []
    check_name("e\\h", {"e\\h": 2}, problems)
    check_name("eth1", {f"eth{number}": number for number in range(30, 60)}, problems)
    assert "tc -batch cannot read this name" in problems.found[0]
    assert problems.found[1].endswith("and 10 more.")


def test_a_namespace_needs_pyroute2(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "pyroute2":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError):
        enter("x")


def test_a_namespace_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tc_device, "NAMESPACES", str(tmp_path))
    for name in ("x", f"{tmp_path}/x"):
        with pytest.raises(FileNotFoundError):
            enter(name)
    assert not list(tmp_path.iterdir())
