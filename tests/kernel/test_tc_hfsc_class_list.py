# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole trees: lists, prune, hierarchies, vdsm's layout, network namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtnet.qos.tests.kernel.stream import Stream

Module = Any
Wire = Any

LINE = {"classid": ":10", "share": 50, "ul": "900mbit"}
STORAGE = {"vlan": 100, "parent": ":10", "share": 3, "rt": "1mbit"}
VOICE = {"classid": ":11", "parent": ":10", "share": 1, "match": [{"dscp": "ef"}, {"fwmark": "7"}], "leaf": "pfifo"}
REST = {"default": True, "share": 10, "leaf": {"kind": "fq_codel", "limit": 500, "ecn": False}}
TREE = [REST, LINE, STORAGE, VOICE]


def changed(module: Module, **options: Any) -> list[tuple[str, str, str]]:
    """Check, apply, apply again, check again; return what was done."""
    predicted, applied, again, predicted_again = (module(check=check, **options) for check in (1, 0, 0, 1))
    assert "msg" not in applied, applied["msg"]
    assert predicted == applied
    assert not again["changed"], again["actions"]
    assert not predicted_again["changed"]
    return [(action["op"], action["object"], action["id"]) for action in applied["actions"]]


def test_a_list_makes_a_tree_and_prune_what_is_left_of_it(wire: Wire, module: Module) -> None:
    assert ("add", "class", "1389:11") in changed(module, classes=TREE)
    assert "class hfsc 1389:11 parent 1389:10 leaf 11: ls" in wire.tree()
    assert "qdisc fq_codel 1388: parent 1389:1388 limit 500p" in wire.tree()
    assert changed(module, classes=[{"vlan": 200, "share": 1}])[0] == ("add", "class", "1389:c8")
    pruned = changed(module, classes=[*TREE[:3], {"classid": ":11", "ignore": True}], prune=True)
    assert set(pruned) == {("delete", "class", "1389:c8"), ("delete", "filter", "VLAN 200")}
    assert "fw chain 0 handle 0x7" in wire.tree()
    pruned = changed(module, classes=TREE[:3], prune=True)
    assert ("delete", "class", "1389:11") in pruned
    assert "fw" not in wire.tree()
    assert changed(module, classes=[{"vlan": 100}], state="absent") == [
        ("delete", "class", "1389:64"),
        ("delete", "filter", "tags inside frames"),
        ("delete", "filter", "VLAN 100"),
    ]
    changed(module, state="absent")
    assert wire.tree() == "qdisc noqueue 0: root"


def test_a_class_that_moves_or_gets_children_keeps_its_traffic(wire: Wire, module: Module) -> None:
    changed(module, classes=[REST, {"vlan": 100, "share": 3}, {"vlan": 200, "share": 1}])
    streams = {vlan: Stream(wire, vlan) for vlan in (0, 100, 200)}
    moved = [REST, LINE, {**STORAGE, "vlan": 100}, {"vlan": 200, "share": 1}]
    below = [REST, LINE, {"classid": ":12", "parent": ":10", "share": 9}, {**STORAGE, "parent": ":12"}, moved[-1]]
    inner = [REST, {"classid": ":64", "share": 3}, {"classid": ":65", "parent": ":64", "share": 1}, moved[-1]]
    inner[2]["match"] = [{"vlan": 100}]
    for classes in (moved, below, inner, moved):
        assert "recreate" in [op for op, _object, _id in changed(module, classes=classes, prune=True)]
    assert {vlan: each.lost() for vlan, each in streams.items()} == {0: 0, 100: 0, 200: 0}
    assert wire.sent()["c8"] == streams[200].count


VDSM = """\
qdisc add dev near root handle 0x1389: hfsc default 0x1388
qdisc add dev near ingress
class add dev near parent 1389: classid 1389:64 hfsc ls m2 {hundred}bit ul m2 800000000bit
class add dev near parent 1389: classid 1389:c8 hfsc ls m2 {two_hundred}bit
class add dev near parent 1389: classid 1389:1388 hfsc ls m2 {two_hundred}bit
filter replace dev near protocol all parent 1389: pref 5000 u32 match u8 0 0 flowid 0x1388
filter replace dev near protocol all parent 1389: pref 5000 u32 match u8 0 0 flowid 0x1388
filter replace dev near protocol all parent 1389: pref 100 basic match meta(vlan eq 100) flowid 1389:64
filter replace dev near protocol all parent 1389: pref 200 basic match meta(vlan eq 200) flowid 1389:c8
qdisc add dev near parent 1389:64 handle 64: fq_codel
qdisc add dev near parent 1389:c8 handle c8: fq_codel
qdisc add dev near parent 1389:1388 handle 1388: fq_codel
"""


@pytest.mark.parametrize(
    ("hundred", "two_hundred", "meant"),
    [(8 * 60, 8 * 40, ("60Mbit", "40Mbit")), (8 * 3_000_000, 8 * 10_000_000, ("3Mbit", "10Mbit"))],
    ids=["shares of the engine", "rates"],
)
def test_what_vdsm_made_is_taken_over_in_place(
    wire: Wire, module: Module, hundred: int, two_hundred: int, meant: tuple[str, str]
) -> None:
    wire.run("tc", "-batch", "-", batch=VDSM.format(hundred=hundred, two_hundred=two_hundred))
    streams = {vlan: Stream(wire, vlan) for vlan in (0, 100, 200)}
    done = changed(module, vlan=300, share=5)
    lost = {vlan: each.lost() for vlan, each in streams.items()}
    assert lost == {0: 0, 100: 0, 200: 0}
    sent = wire.sent()
    assert {minor: sent[minor] for minor in ("64", "c8")} == {"64": streams[100].count, "c8": streams[200].count}
    assert ("recreate", "class", "1389:64") not in done
    tree = wire.tree()
    assert "basic" not in tree
    assert "pref 5000" not in tree
    assert (
        f"class hfsc 1389:64 parent 1389: leaf 64: ls m1 0bit d 0us m2 {meant[0]} ul m1 0bit d 0us m2 800Mbit" in tree
    )
    assert f"class hfsc 1389:c8 parent 1389: leaf c8: ls m1 0bit d 0us m2 {meant[1]} " in tree
    assert f"class hfsc 1389:1388 parent 1389: leaf 1388: ls m1 0bit d 0us m2 {meant[1]} " in tree


INTERRUPTED = """\
class add dev near parent 1389: classid 1389:8064 hfsc ls m2 8mbit
qdisc add dev near parent 1389:8064 handle c064: fq_codel
filter add dev near parent 1389: protocol 802.1q prio 6958 handle 100 flower vlan_id 100 classid 1389:8064
"""


@pytest.mark.parametrize(
    "left", [VDSM.format(hundred=480, two_hundred=320), INTERRUPTED], ids=["by vdsm", "by an interrupted run"]
)
def test_a_vlan_is_not_taken_from_whom_it_was_given(wire: Wire, module: Module, left: str) -> None:
    if left == INTERRUPTED:
        module(vlan=200, share=1)
    wire.run("tc", "-batch", "-", batch=left)
    before = wire.tree()
    assert "what matches VLAN 100 is that of class 1389:64; declare" in module(vlan=100, classid=":300", share=5)["msg"]
    assert wire.tree() == before
    changed(module, classes=[{"vlan": 100, "classid": ":300", "share": 5}, {"classid": ":64", "state": "absent"}])
    wire.send(100, 3)
    assert wire.sent() == {"300": 3}


def test_a_class_that_somebodys_filter_feeds_gets_no_children(wire: Wire, module: Module) -> None:
    changed(module, default=True, share=1)
    classes = [{"classid": ":2000", "share": 1}, {"classid": ":2001", "share": 1, "parent": ":2000"}]
    fw = "parent 1389: protocol all pref 7 handle 5 fw classid 1389:2000"
    wire.run("tc", "filter", "add", "dev", "near", *fw.split())
    before = wire.tree()
    for _time in range(2):
        refused = module(classes=classes)["msg"]
        assert "classes[1].parent '1389:2000': that class has the fw filter 0x5 at preference 7, whose" in refused
        assert wire.tree() == before
        # Also once the class is there
        module(classes=classes[:1])
        before = wire.tree()
    wire.run("tc", "filter", "del", "dev", "near", *fw.split())
    changed(module, classes=classes)


RUN = """\
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_class
with patch_module_args(json.loads(sys.argv[1])):
    tc_hfsc_class.main()
"""


def in_namespace(pyroute2: str = "", **options: Any) -> dict[str, Any]:
    """Run the module in a process of its own, which goes to the namespace for good."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, [pyroute2]), *sys.path])}
    command = [sys.executable, "-c", RUN, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# "" is the newest; `make venv` installs the others beside it.
@pytest.mark.parametrize("version", ["0.7.2", "0.8.1", ""])
def test_a_device_in_another_namespace(wire: Wire, version: str) -> None:
    there = f"{sys.prefix}/pyroute2-{version}" if version else ""
    assert not version or Path(there, f"pyroute2-{version}.dist-info").is_dir()
    first, second = (in_namespace(there, device="far", netns="far", vlan=100, share=1) for _time in range(2))
    assert first["changed"], first
    assert not second["changed"]
    assert "class hfsc 1389:64" in wire.run("tc", "-n", "far", "class", "show", "dev", "far")
    assert "hfsc" not in wire.tree()
    by_path = in_namespace(device="far", netns="/run/netns/far", state="absent")
    assert by_path["changed"], by_path
    assert "hfsc" not in wire.run("tc", "-n", "far", "qdisc", "show", "dev", "far")
    assert "netns 'nowhere': cannot be entered" in in_namespace(device="far", netns="nowhere", vlan=1, share=1)["msg"]
    assert not wire.run("ip", "netns", "list").count("nowhere")


SCRIPT = """\
qdisc add dev near root handle 1: hfsc default 1
class add dev near parent 1: classid 1:1 hfsc ls m2 10mbit
class add dev near parent 1: classid 1:10 hfsc ls m2 10mbit
qdisc add dev near parent 1:10 handle 20: fq_codel
"""


def test_handles_that_are_taken_are_not_taken_again(wire: Wire, module: Module) -> None:
    wire.run("tc", "-batch", "-", batch=SCRIPT)
    changed(module, handle="1:", classes=[{"classid": ":10", "state": "absent"}, {"classid": ":20", "share": 5}])
    wire.run("tc", "qdisc", "add", "dev", "near", "clsact")  # whose handle a temporary leaf would get
    changed(module, handle="c064:", replace_root=True, classes=[{"classid": ":3fff", "share": 3, "rt": "1mbit"}])
    changed(
        module, handle="c064:", classes=[{"classid": ":3fff", "share": 3}, {"vlan": 100, "share": 3, "rt": "1mbit"}]
    )
    changed(module, handle="c064:", classes=[{"vlan": 100, "share": 3}])
    wire.run("tc", "qdisc", "del", "dev", "near", "clsact")


def test_a_default_class_with_children_is_none(wire: Wire, module: Module) -> None:
    """The kernel drops what would be its."""
    inner = SCRIPT.replace("default 1\n", "default 10\n").replace("1:10 handle", "1:1 handle")
    wire.run("tc", "-batch", "-", batch=f"{inner}class add dev near parent 1:10 classid 1:11 hfsc ls m2 10mbit\n")
    changed(module, handle="1:", classes=[{"vlan": 100, "share": 5}])
    stream = Stream(wire, 0)
    assert (stream.lost(), stream.count > 0) == (0, True)
