# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_info

Wire = Any
Module = Any
Info = Callable[..., dict[str, Any]]


@pytest.fixture
def info(capsys: pytest.CaptureFixture[str]) -> Info:
    def info(**options: Any) -> dict[str, Any]:
        with patch_module_args(options), pytest.raises(SystemExit):
            tc_hfsc_info.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert not result.get("changed")
        return result

    return info


def pasted(module: Module, found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what tc_hfsc_class does when it is given the classes of a device, with prune."""
    options = {name: found[name] for name in ("device", "handle", "classes")}
    result = module(**options, prune=True)
    assert not result.get("failed"), result["msg"]
    assert result["changed"] == bool(result["actions"])
    return [(action["op"], action["id"]) for action in result["actions"]]


# VLANs 100 and 200 below 1389:2000, and all else in the default class
TREE = """\
qdisc add dev near root handle 1389: hfsc default 1388
class add dev near parent 1389: classid 1389:1388 hfsc ls m2 8mbit
qdisc add dev near parent 1389:1388 handle 1388: fq_codel
class add dev near parent 1389: classid 1389:2000 hfsc ls m2 80mbit ul m2 80mbit
class add dev near parent 1389:2000 classid 1389:64 hfsc rt m1 16mbit d 10ms m2 8mbit ls m2 8mbit
qdisc add dev near parent 1389:64 handle 64: fq_codel limit 20 noecn target 1ms
class add dev near parent 1389:2000 classid 1389:c8 hfsc ls m2 800kbit ul m2 800kbit
filter add dev near parent 1389: protocol 802.1q prio 6040 u32 match u16 0x8100 0xffff at -6\
 action vlan push id 1 pipe action vlan pop continue
filter add dev near parent 1389: protocol 802.1q prio 6958 handle 100 flower vlan_id 100 classid 1389:64
filter add dev near parent 1389: protocol 802.1q prio 6958 handle 200 flower vlan_id 200 classid 1389:c8
filter add dev near parent 1389: protocol all prio 6000 handle 0x10 fw classid 1389:c8
"""


@pytest.fixture
def grown(wire: Wire) -> Wire:
    wire.run("tc", "-batch", "-", batch=TREE)
    return wire


def test_what_is_there(grown: Wire, info: Info, module: Module) -> None:
    (found,) = info(device="near")["devices"]
    zero = {"bytes": 0, "packets": 0, "drops": 0, "overlimits": 0, "backlog_bytes": 0, "backlog_packets": 0}
    inside = [
        {
            "name": "VLAN 100",
            "classid": "1389:64",
            "rt": "m1 16mbit d 10ms m2 8mbit",
            "ls": "8mbit",
            "match": ["VLAN 100"],
            "leaf": "fq_codel 64: noecn limit 20 target 1000us",
            "counters": zero,
            "children": [],
        },
        {
            "name": "VLAN 200",
            "classid": "1389:c8",
            "ls": "800kbit",
            "ul": "800kbit",
            "match": ["fwmark 0x10", "VLAN 200"],
            "leaf": "none",
            "counters": zero,
            "children": [],
        },
    ]
    assert found == {
        "device": "near",
        "managed": True,
        "handle": "1389:",
        "default": "1389:1388",
        "speed": None,
        "root": None,
        "vdsm": False,
        "classes": [
            {"default": True, "ls": "8mbit", "leaf": "fq_codel"},
            {"classid": "1389:2000", "ls": "80mbit", "ul": "80mbit"},
            {
                "vlan": 100,
                "parent": "1389:2000",
                "rt": {"m1": "16mbit", "d": "10ms", "m2": "8mbit"},
                "ls": "8mbit",
                "leaf": {"kind": "fq_codel", "ecn": False, "limit": 20, "target": "1ms"},
            },
            {
                "vlan": 200,
                "parent": "1389:2000",
                "ls": "800kbit",
                "ul": "800kbit",
                "match": [{"fwmark": "0x10"}],
                "leaf": "none",
            },
        ],
        "tree": [
            {
                "name": "default",
                "classid": "1389:1388",
                "ls": "8mbit",
                "match": [],
                "leaf": "fq_codel 1388:",
                "counters": zero,
                "children": [],
            },
            {
                "name": "1389:2000",
                "classid": "1389:2000",
                "ls": "80mbit",
                "ul": "80mbit",
                "match": [],
                "counters": {"bytes": 0},
                "children": inside,
            },
        ],
        "foreign": [],
        "notes": [],
    }
    assert pasted(module, found) == []


def counted_by_tc(wire: Wire) -> dict[str, tuple[int, ...]]:
    """Return what tc says that classes sent (bytes, packets), and what is in their backlog (bytes, packets)."""
    shown = wire.run("tc", "-s", "class", "show", "dev", "near")
    pattern = r"class hfsc (1389:\w+) .*\n Sent (\d+) bytes (\d+) pkt .*\n backlog (\d+)b (\d+)p"
    return {minor: tuple(map(int, numbers)) for minor, *numbers in re.findall(pattern, shown)}


def test_counters_are_tcs(grown: Wire, info: Info) -> None:
    grown.send(100, 3)
    grown.send(200, 30, b"x" * 1400)  # which takes 0.4 s
    grown.send(0, 2)
    time.sleep(1)
    default, inner = info(device="near")["devices"][0]["tree"]
    found = {each["classid"]: each["counters"] for each in (default, *inner["children"])}
    names = ("bytes", "packets", "backlog_bytes", "backlog_packets")
    there = {minor: tuple(counters[name] for name in names) for minor, counters in found.items()}
    said = counted_by_tc(grown)
    assert there == {minor: said[minor] for minor in there}
    assert [there[minor][1] for minor in ("1389:64", "1389:c8", "1389:1388")] == [3, 30, 2]
    # What tc says of the class above is that it sent nothing.
    assert said["1389:2000"] == (0, 0, 0, 0)
    assert inner["counters"] == {"bytes": there["1389:64"][0] + there["1389:c8"][0]}


def test_rates_backlog_and_drops(grown: Wire, info: Info) -> None:
    def send() -> None:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            grown.send(200, 1, b"x" * 1000)  # some 1046 bytes each: twice what the class may
            time.sleep(0.005)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(1)
    (found,) = info(device="near", interval=2)["devices"]
    sender.join()
    default, inner = found["tree"]
    _hundred, limited = inner["children"]
    assert (default["rate"], default["packet_rate"], default["drop_rate"]) == ("0bit", 0.0, 0.0)
    assert (limited["rate"], limited["counters"]["backlog_packets"] > 0) == (inner["rate"], True)
    amount, unit = re.fullmatch(r"([0-9.]+)([kmbit]+)", limited["rate"]).groups()  # type: ignore[union-attr]
    rate = float(amount) * {"bit": 1, "kbit": 1000, "mbit": 1e6}[unit]
    assert 0.9 * 800_000 < rate < 1.1 * 800_000
    assert limited["packet_rate"] == pytest.approx(rate / 8 / 1046, rel=0.1)


def test_what_the_leaf_drops_counts(grown: Wire, info: Info) -> None:
    grown.run("tc", "-batch", "-", batch="class change dev near classid 1389:64 hfsc ls m2 8mbit ul m2 80kbit\n")
    before = info(device="near")["devices"][0]["tree"][1]["children"][0]["counters"]["drops"]
    grown.send(100, 100, b"x" * 1000)
    after = info(device="near")["devices"][0]["tree"][1]["children"][0]["counters"]["drops"]
    shown = grown.run("tc", "-s", "qdisc", "show", "dev", "near")
    (dropped,) = re.findall(r"qdisc fq_codel 64:.*\n Sent .* \(dropped (\d+),", shown)
    assert before == 0 < after <= int(dropped)


def test_looking_takes_no_privilege(grown: Wire, info: Info) -> None:
    expected = info(device="near")
    importlib.import_module("pyroute2.netns")  # which not everybody may read here
    os.seteuid(65534)
    try:
        with pytest.raises(OSError, match="not permitted"):
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        assert info(device="near") == expected
        assert "netns 'far': cannot be entered" in info(netns="far")["msg"]
    finally:
        os.seteuid(0)


def test_devices_and_handles(grown: Wire, info: Info, module: Module) -> None:
    grown.run("ip", "link", "add", "other", "type", "dummy")
    try:
        assert [each["device"] for each in info()["devices"]] == ["near"]
        grown.run("tc", "-batch", "-", batch=TREE.replace("near", "other").replace("1389:", "7:"))
        both = info(interval=0.1)["devices"]
        assert [(each["device"], each["handle"]) for each in both] == [("near", "1389:"), ("other", "7:")]
        assert both[1]["classes"][1] == {"classid": "7:2000", "ls": "80mbit", "ul": "80mbit"}
        assert [pasted(module, each) for each in both] == [[], []]
        assert [each["device"] for each in info(handle="7:")["devices"]] == ["other"]
        (another,) = info(device="near", handle="7:")["devices"]
        assert (another["managed"], another["root"], another["classes"]) == (False, "hfsc 1389:", [])
        (without,) = info(device="lo")["devices"]
        assert (without["managed"], without["handle"], without["tree"]) == (False, None, [])
        assert "device 'eth9': no such device; there are " in info(device="eth9")["msg"]
        assert ", other" in info(device="eth9")["msg"]
    finally:
        grown.run("ip", "link", "del", "other")


def test_libvirts_root(wire: Wire, info: Info) -> None:
    wire.run("tc", "qdisc", "add", "dev", "near", "root", "handle", "1:", "htb", "default", "1")
    (found,) = info(device="near")["devices"]
    assert (found["managed"], found["root"]) == (False, "htb 1:")
    assert info()["devices"] == []


def test_another_namespace(grown: Wire, info: Info) -> None:
    grown.run("tc", "-n", "far", "-batch", "-", batch=TREE.replace("near", "far"))
    found: list[dict[str, Any]] = []
    # A thread of its own, which stays there
    there = threading.Thread(target=lambda: found.extend(info(netns="far")["devices"]))
    there.start()
    there.join()
    assert [each["device"] for each in found] == ["far"]
    assert [each["device"] for each in info()["devices"]] == ["near"]
    missing = info(netns="nowhere")["msg"]
    assert missing == "netns 'nowhere': cannot be entered: No such file or directory; ip netns names those there are."


FOREIGN = """\
qdisc add dev near parent 1389:c8 handle c8: netem delay 1ms
class add dev near parent 1389: classid 1389:5 hfsc ls m2 8mbit
class add dev near parent 1389: classid 1389:8005 hfsc ls m2 8mbit
qdisc add dev near parent 1389:8005 handle c005: pfifo
filter add dev near parent 1389: protocol all pref 7 handle 3 fw classid 1389:5
filter add dev near parent 1389: protocol 802.1q prio 6958 handle 5 flower vlan_id 5 vlan_prio 1 classid 1389:5
filter add dev near parent 1389: protocol 802.1q prio 6958 handle 6 flower vlan_id 6 classid 1389:8005
qdisc add dev near clsact
"""


def test_what_is_not_ours_is_named(grown: Wire, info: Info, module: Module) -> None:
    grown.run("tc", "-batch", "-", batch=FOREIGN)
    (found,) = info(device="near")["devices"]
    assert found["foreign"] == [
        "fw filter 0x3 at preference 7",
        "qdisc clsact ffff:",
        "flower filter 0x5 at preference 6958, changed by somebody",
        "qdisc netem c8: in class 1389:c8",
    ]
    assert found["notes"] == [
        "class 1389:8005 is a temporary one for 1389:5, of a run that is under way or was interrupted"
    ]
    assert {"classid": "1389:c8", "ignore": True} in found["classes"]
    assert {"classid": "1389:5", "ls": "8mbit", "match": [{"vlan": 6}], "leaf": "none"} in found["classes"]
    before = grown.tree()
    assert pasted(module, found) == [
        ("delete", "1389:8005"),
        ("change", "VLAN 6"),
        ("delete", "flower filter 0x5 at preference 6958"),
    ]
    (after,) = info(device="near")["devices"]
    assert (after["classes"], after["notes"]) == (found["classes"], [])
    assert after["foreign"] == [each for each in found["foreign"] if "changed by somebody" not in each]
    assert pasted(module, after) == []
    kept = [line for line in before.splitlines() if "netem" in line or "clsact" in line or " fw " in line]
    assert len(kept) > 3
    assert set(kept) <= set(grown.tree().splitlines())


VDSM = """\
qdisc add dev near root handle 0x1389: hfsc default 0x1388
class add dev near parent 1389: classid 1389:10 hfsc ls m1 32000000bit d 800000us m2 24000000bit ul m2 8000000bit
class add dev near parent 1389: classid 1389:1388 hfsc ls m1 32000000bit d 800000us m2 24000000bit
filter replace dev near protocol all parent 1389: pref 5000 u32 match u8 0 0 flowid 0x1388
filter replace dev near protocol all parent 1389: pref 16 basic match meta(vlan eq 16) flowid 1389:10
qdisc add dev near parent 1389:10 handle 10: fq_codel
qdisc add dev near parent 1389:1388 handle 1388: fq_codel
"""


def test_vdsms_tree(wire: Wire, info: Info, module: Module) -> None:
    wire.run("tc", "-batch", "-", batch=VDSM)
    (found,) = info(device="near")["devices"]
    assert found["vdsm"]
    share = {"m1": "4mbit", "d": "100ms", "m2": "3mbit"}
    assert found["classes"] == [
        {"default": True, "ls": share, "leaf": "fq_codel"},
        {"vlan": 16, "ls": share, "ul": "8mbit", "leaf": "fq_codel"},
    ]
    assert [each["name"] for each in found["tree"]] == ["default", "VLAN 16"]
    assert found["foreign"] == [
        "basic filter 0x1 at preference 16, of vdsm",
        "u32 filter 0x80000800 at preference 5000, of vdsm",
    ]
    assert pasted(module, found) != []
    (after,) = info(device="near")["devices"]
    assert (after["vdsm"], after["foreign"], after["classes"]) == (False, [], found["classes"])
    assert pasted(module, after) == []


@pytest.fixture
def vanishing(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a device vanish while the module waits."""
    wire.run("ip", "link", "add", "other", "type", "dummy")
    wire.run("tc", "qdisc", "add", "dev", "other", "root", "handle", "1:", "hfsc", "default", "1")
    delete = ["ip", "link", "del", "other"]
    waiting = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: subprocess.run(delete, check=True))
    monkeypatch.setattr(tc_hfsc_info, "time", waiting)
    yield
    subprocess.run(delete, check=False, capture_output=True)


@pytest.mark.usefixtures("vanishing")
def test_a_device_that_vanishes(grown: Wire, info: Info) -> None:
    assert [each["device"] for each in info(interval=1)["devices"]] == ["near"]


@pytest.mark.usefixtures("vanishing")
def test_a_named_device_that_vanishes(grown: Wire, info: Info) -> None:
    assert info(device="other", interval=1)["msg"] == "other: could not be read: [Errno 19] No such device."
