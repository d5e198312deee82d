# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was on a bridge is on it again after the bridge was made anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bridge_ports import plug, ports, sorting
from ansible_collections.virtnet.qos.tests.kernel.conftest import run

TAPS = ("tapa", "tapb", "tapc")


@pytest.fixture(autouse=True)
def devices() -> Iterator[None]:
    run("ip", "link", "add", "virbrp", "type", "bridge")
    for tap in TAPS:
        run("ip", "link", "add", tap, "type", "dummy")
        run("ip", "link", "set", tap, "master", "virbrp", "up")
    run("bridge", "link", "set", "dev", "tapb", "isolated", "on", "learning", "off", "flood", "off", "hairpin", "on")
    yield
    for device in (*TAPS, "virbrp", "other"):
        run("sh", "-c", f"ip link del {device} 2> /dev/null || true")


def shown() -> str:
    return run("sh", "-c", "bridge -d link show | sed 's/^[0-9]*: //'")


def test_all_is_plugged_in_again_with_its_settings() -> None:
    before, there = shown(), ports("virbrp")
    assert "isolated on" in before
    assert sorted(there) == list(TAPS)
    run("ip", "link", "del", "virbrp")
    assert ports("virbrp") == {}
    run("ip", "link", "add", "virbrp", "type", "bridge")
    for _again in range(2):
        assert plug("virbrp", there) == []
        assert shown() == before


def test_one_that_is_refused_keeps_no_other_from_its_settings() -> None:
    before, there = shown(), ports("virbrp")
    run("ip", "link", "del", "virbrp")
    run("ip", "link", "add", "virbrp", "type", "bridge")
    (told,) = plug("virbrp", {"lo": {"isolated": "1\n"}, **there})  # which no bridge takes
    assert told.startswith("lo: [Errno 22] Invalid argument: plugging it into virbrp")
    assert shown() == before


def test_what_is_gone_or_somewhere_else_by_now_stays_so() -> None:
    there = ports("virbrp")
    run("ip", "link", "del", "virbrp")
    run("ip", "link", "del", "tapa")
    run("ip", "link", "add", "other", "type", "bridge")
    run("ip", "link", "set", "tapb", "master", "other")
    assert [each.split(":")[0] for each in plug("virbrp", there)] == ["tapc"]  # there is no such bridge yet
    run("ip", "link", "add", "virbrp", "type", "bridge")
    assert plug("virbrp", there) == []
    assert list(ports("virbrp")) == ["tapc"]
    assert list(ports("other")) == ["tapb"]


def test_what_sorts_frames_by_nic_is_told() -> None:
    assert sorting("virbrp", "<bridge name='virbrp' macTableManager='kernel'/>") is None
    assert sorting("virbrp", "<bridge name='virbrp' macTableManager='libvirt'/>") == "macTableManager='libvirt'"
    run("ip", "link", "set", "virbrp", "type", "bridge", "vlan_filtering", "1")
    assert sorting("virbrp", "") == "VLANs"
