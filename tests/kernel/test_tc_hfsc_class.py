# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _hfsc_run
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Tc, TcError

Module = Any
Wire = Any

ROOT = "qdisc hfsc 1389: root default 1388"
LEAF = "limit 10240p flows 1024 quantum 1514 target 5ms interval 100ms memory_limit 32Mb ecn drop_batch 64"
U32 = "filter parent 1389: protocol 802.1Q pref 6040 u32 chain 0"
LIFTER = f"""\
{U32}
{U32} fh 800: ht divisor 1
{U32} fh 800::800 order 2048 key ht 800 bkt 0 terminal flowid not_in_hw
  match 00008100/0000ffff at -8
\taction order 1: vlan  push id 1 protocol 802.1Q priority 0 pipe
\taction order 2: vlan  pop continue"""
FLOWER = "filter parent 1389: protocol 802.1Q pref 6958 flower chain 0"


def flower(vlan: int) -> str:
    return f"{FLOWER} handle 0x{vlan:x} classid 1389:{vlan:x}\n  vlan_id {vlan}\n  not_in_hw"


def four_ways(module: Module, **options: Any) -> dict[str, Any]:
    predicted, applied, again, predicted_again = (module(check=check, **options) for check in (1, 0, 0, 1))
    assert predicted == applied, predicted.get("msg", applied.get("msg"))
    assert applied["changed"]
    for silent in (again, predicted_again):
        assert not silent["changed"]
        assert silent["actions"] == []
        assert silent["diff"] == {"before": "", "after": ""}
        assert silent["script"] == applied["script"]
    return applied


def leaf(minor: int) -> str:
    return f"qdisc fq_codel {minor:x}: parent 1389:{minor:x} {LEAF}"


def test_a_life(wire: Wire, module: Module) -> None:
    four_ways(module, vlan=100, ls="10mbit", ul={"m1": "20mbit", "d": "10ms", "m2": "15mbit"})
    limited = "class hfsc 1389:64 parent 1389: leaf 64: ls m1 0bit d 0us m2 10Mbit ul m1 20Mbit d 10ms m2 15Mbit"
    implicit = "class hfsc 1389:1388 parent 1389: leaf 1388: ls m1 0bit d 0us m2 10Mbit"
    root_class = "class hfsc 1389: root"
    assert wire.tree().splitlines() == [
        *(ROOT, leaf(0x64), leaf(0x1388)),
        *(*LIFTER.splitlines(), FLOWER, *flower(100).splitlines()),
        *(f"{root_class} ", f"{implicit} ", f"{limited} "),
    ]

    # In place: added to, and changed
    four_ways(module, vlan=100, ls="20mbit", rt="8bit", ul={"m1": "20mbit", "d": "10ms", "m2": "15mbit"})
    assert "1389:64 parent 1389: leaf 64: rt m1 0bit d 0us m2 8bit ls m1 0bit d 0us m2 20Mbit ul" in wire.tree()

    # Made anew, with and without a leaf
    assert four_ways(module, vlan=100, rt="1gbit")["actions"][0]["op"] == "recreate"
    assert "class hfsc 1389:64 parent 1389: leaf 64: rt m1 0bit d 0us m2 1Gbit " in wire.tree()
    four_ways(module, vlan=100, rt="1gbit", leaf="none")
    assert "class hfsc 1389:64 parent 1389: rt m1 0bit d 0us m2 1Gbit " in wire.tree()
    assert four_ways(module, vlan=100, share=3, leaf="none")["actions"][0]["op"] == "recreate"
    assert "class hfsc 1389:64 parent 1389: ls m1 0bit d 0us m2 3Mbit " in wire.tree()
    assert implicit in wire.tree()

    # The default class
    four_ways(module, default=True, share=40, ul="5gbit")
    assert "1389:1388 parent 1389: leaf 1388: ls m1 0bit d 0us m2 40Mbit ul m1 0bit d 0us m2 5Gbit " in wire.tree()
    assert four_ways(module, default=True, share=40)["actions"][0]["op"] == "recreate"
    assert "1389:1388 parent 1389: leaf 1388: ls m1 0bit d 0us m2 40Mbit " in wire.tree()
    assert wire.tree().splitlines()[0] == ROOT

    # The smallest and the largest of everything
    four_ways(module, vlan=1, ls={"m1": "0bit", "d": "1us", "m2": "8bit"})
    four_ways(module, vlan=4094, ls="34359738360bit", rt={"m1": "8bit", "d": "4294967295us", "m2": "34359738352bit"})
    four_ways(module, vlan=200, share=34359)
    assert flower(4094) in wire.tree()

    for vlan in (1, 100, 200, 4094):
        four_ways(module, vlan=vlan, state="absent")
    assert wire.tree().splitlines() == [
        *(ROOT, leaf(0x1388)),
        *(f"{root_class} ", "class hfsc 1389:1388 parent 1389: leaf 1388: ls m1 0bit d 0us m2 40Mbit "),
    ]
    four_ways(module, default=True, state="absent")
    assert wire.tree() == "qdisc noqueue 0: root"


def test_libvirts_root_is_refused_and_left_alone(wire: Wire, module: Module) -> None:
    wire.run("tc", "qdisc", "add", "dev", "near", "root", "handle", "1:", "htb", "default", "1")
    wire.run("tc", "class", "add", "dev", "near", "parent", "1:", "classid", "1:1", "htb", "rate", "1mbit")
    before = wire.tree()
    for check in (True, False):
        result = module(vlan=100, share=10, check=check)
        assert result["failed"]
        assert "its root qdisc is htb 1:" in result["msg"]
    assert not module(vlan=100, state="absent")["changed"]
    assert wire.tree() == before
    four_ways(module, vlan=100, share=10, replace_root=True)
    assert "htb" not in wire.tree()
    assert ROOT in wire.tree()


NESTED = """\
qdisc add dev near root handle 1: htb default 1
class add dev near parent 1: classid 1:1 htb rate 1mbit
qdisc add dev near parent 1:1 handle 1389: hfsc default 1
"""


@pytest.mark.parametrize(
    ("batch", "handle"),
    [
        (NESTED, "1389:"),
        (NESTED, "1:"),
        (NESTED.replace("1389: hfsc default 1", "1389: fq_codel"), "1389:"),
        ("qdisc add dev near root handle 1389: htb\n", "1389:"),
        ("qdisc add dev near root handle 1: hfsc default 2\n", "1389:"),
    ],
)
def test_a_root_is_replaced_whatever_has_the_handle(wire: Wire, module: Module, batch: str, handle: str) -> None:
    wire.run("tc", "-batch", "-", batch=batch)
    result = four_ways(module, vlan=100, share=10, handle=handle, replace_root=True)
    assert (result["actions"][0]["op"], result["actions"][0]["object"]) == ("delete", "qdisc")
    assert f"qdisc hfsc {handle} root" in wire.tree()
    assert "htb" not in wire.tree()


def test_nothing_is_put_into_somebodys_tree_when_its_root_cannot_be_replaced(
    wire: Wire, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.run("tc", "-batch", "-", batch="qdisc add dev near root handle 7: htb\n")
    real = _hfsc_run.plan
    before = ""

    def late(*trees: Any) -> Any:
        nonlocal before
        wire.run("tc", "-batch", "-", batch="qdisc del dev near root\n" + NESTED)
        before = wire.tree()
        return real(*trees)

    monkeypatch.setattr(_hfsc_run, "plan", late)
    result = module(vlan=100, share=10, replace_root=True)
    assert result["msg"].endswith("Nothing was changed.")
    assert not result["changed"]
    assert wire.tree() == before


def test_a_tree_without_classes(wire: Wire, module: Module) -> None:
    wire.run("tc", "qdisc", "add", "dev", "near", "root", "handle", "1389:", "hfsc", "default", "64")
    assert not module(vlan=100, state="absent")["changed"]
    four_ways(module, vlan=200, share=1)
    assert ROOT in wire.tree()


DRIFTS = [
    f"filter del dev near parent 1389: pref 6958\nfilter add dev near parent 1389: protocol 802.1q pref 6958 {rest}\n"
    for rest in (
        "handle 100 flower vlan_id 100 vlan_prio 3 classid 1389:64",
        "handle 101 flower vlan_id 200 classid 1389:64",
        "handle 100 flower vlan_id 100 classid 1389:64 action drop",
    )
] + [
    f"filter del dev near parent 1389: pref 6040\nfilter add dev near parent 1389: protocol 802.1q pref 6040 {rest}\n"
    for rest in (
        "u32 match u32 0 0 classid 1389:1388",
        "u32 match u16 0x8100 0xffff at -6 action vlan push id 1 pipe action vlan pop pass",
        "u32 match u16 0x8100 0xffff at -6 action vlan pop continue",
    )
]


@pytest.mark.parametrize("batch", DRIFTS)
def test_a_filter_of_ours_that_somebody_changed_is_mended(wire: Wire, module: Module, batch: str) -> None:
    module(vlan=100, share=10, ul="1gbit")
    before = wire.tree()
    wire.run("tc", "-batch", "-", batch=batch)
    actions = four_ways(module, vlan=100, share=10, ul="1gbit")["actions"]
    assert {action["object"] for action in actions} == {"filter"}
    assert wire.tree() == before
    wire.run("tc", "-batch", "-", batch=batch)
    four_ways(module, vlan=100, share=10)
    wire.run("tc", "-batch", "-", batch=batch)
    four_ways(module, vlan=100, state="absent")
    assert "filter" not in wire.tree()


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("near.100", "a VLAN device, which has but one VLAN; name the NIC or bond below it, that is near."),
        ("other", "it is a bridge"),
        ("lo", "it is the loopback device"),
    ],
)
def test_devices_that_cannot_work_are_refused(wire: Wire, module: Module, device: str, words: str) -> None:
    wire.run("ip", "link", "add", "other", "type", "bridge")
    try:
        assert words in module(device=device, vlan=100, share=10)["msg"]
    finally:
        wire.run("ip", "link", "del", "other")


def test_scripts_of_check_mode_know_what_goes_and_what_stays(wire: Wire, module: Module) -> None:
    wire.run("tc", "qdisc", "add", "dev", "near", "clsact")
    assert "qdisc clsact ffff:" in four_ways(module, vlan=100, share=10)["script"]
    wire.run(
        "tc",
        "-batch",
        "-",
        batch="""\
qdisc replace dev near parent 1389:64 handle 77: tbf rate 1mbit burst 10k latency 10ms
qdisc add dev near parent 77:1 handle 78: sfq
""",
    )
    assert "sfq" not in four_ways(module, vlan=100, share=10, leaf="none")["script"]


def test_another_handle_than_the_trees_is_refused(wire: Wire, module: Module) -> None:
    module(vlan=100, share=10)
    assert "set handle: '1389:'" in module(vlan=100, state="absent", handle="1:")["msg"]


RUN = """\
import sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_class
for turn in range(6):
    options = {"default": True} if sys.argv[1] == "default" else {"vlan": int(sys.argv[1])}
    more = {"rt": "1mbit"} if turn % 2 else {}
    with patch_module_args({"device": "near", **options, "share": 10, **more}):
        try:
            tc_hfsc_class.main()
        except SystemExit as end:
            assert not end.code
"""


def test_runs_on_one_device_wait_for_each_other(wire: Wire, module: Module) -> None:
    module(default=True, share=1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", RUN, each], stdout=subprocess.PIPE, text=True, env=environment)
        for each in ("100", "200", "default")
    ]
    outputs = [each.communicate(timeout=100)[0] for each in runs]
    assert [each.returncode for each in runs] == [0, 0, 0], outputs
    assert "1389:8" not in wire.tree()
    for options in ({"vlan": 100}, {"vlan": 200}, {"default": True}):
        assert not module(**options, share=10, rt="1mbit", check=True)["changed"]


@pytest.mark.parametrize("position", range(1, 6))
def test_an_answer_that_does_not_come_is_undone(
    wire: Wire, module: Module, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    module(vlan=100, share=10, ul="1gbit")
    before = wire.tree()
    real, count = Tc._send, 0

    def late(self: Tc, steps: list[Step], done: list[Step]) -> None:
        nonlocal count
        count += 1
        before_this = list(done)
        real(self, steps, done)
        if count == position:
            raise TcError(110, "no answer", steps[0], before_this, unclear=True)

    monkeypatch.setattr(Tc, "_send", late)
    result = module(vlan=100, share=10)
    assert "[Errno 110] Connection timed out" in result["msg"]
    assert result["msg"].endswith("What had been done was undone.")
    assert not result["changed"]
    assert wire.tree() == before


def test_another_hfsc_is_taken_over_by_its_handle(wire: Wire, module: Module) -> None:
    wire.run(
        "tc",
        "-batch",
        "-",
        batch="""\
qdisc add dev near root handle 1: hfsc default 2
class add dev near parent 1: classid 1:2 hfsc ls m2 8mbit
""",
    )
    assert "set handle: '1:'" in module(vlan=100, share=10)["msg"]
    four_ways(module, vlan=100, share=10, handle="1:")
    four_ways(module, vlan=1, share=10, handle="1:")  # whose leaf cannot have the handle 1:
    assert "class hfsc 1:2 parent 1: ls m1 0bit d 0us m2 8Mbit " in wire.tree()
    assert "qdisc hfsc 1: root default 2" in wire.tree()
    assert "class hfsc 1:1 parent 1: leaf 7fff: ls" in wire.tree()


@pytest.mark.parametrize("kind", ["ifb numtxqueues 4", "bond"])
def test_the_kernels_own_root_is_replaced_and_comes_back(wire: Wire, module: Module, kind: str) -> None:
    name, *queues = kind.split(" ", 1)
    wire.run("ip", "link", "add", "other", *(queues[0].split() if queues else ()), "type", name)
    try:
        wire.run("ip", "link", "set", "other", "up")
        before = wire.tree("other")
        assert before.splitlines()[0] == f"qdisc {'mq' if queues else 'noqueue'} 0: root"
        four_ways(module, device="other", vlan=100, share=10)
        module(device="other", vlan=100, state="absent")
        module(device="other", default=True, state="absent")
        assert wire.tree("other") == before
    finally:
        wire.run("ip", "link", "del", "other")


FOREIGN = """\
qdisc add dev near root handle 1389: hfsc default 1388
class add dev near parent 1389: classid 1389:1388 hfsc ls m2 8mbit
class add dev near parent 1389: classid 1389:10 hfsc ls m2 8mbit
class add dev near parent 1389: classid 1389:2000 hfsc ls m2 8mbit
class add dev near parent 1389:2000 classid 1389:2001 hfsc ls m2 8mbit
qdisc add dev near parent 1389:2001 handle 64: prio
qdisc add dev near parent 64:1 handle 65: sfq
filter add dev near parent 1389: protocol all pref 16 basic match 'meta(vlan eq 17)' flowid 1389:10
filter add dev near parent 1389: protocol all pref 7 handle 3 fw classid 1389:2000
filter add dev near parent 1389: protocol ip pref 9 chain 3 matchall classid 1389:1388
filter add dev near parent 1389: protocol all pref 5000 u32 match u8 0 0 flowid 1389:10
filter add dev near parent 1389:2000 protocol all pref 1 matchall classid 1389:2001
qdisc add dev near clsact
filter add dev near egress protocol ip matchall action ok
"""


def test_what_others_put_there_stays(wire: Wire, module: Module) -> None:
    wire.run("tc", "-batch", "-", batch=FOREIGN)
    before = wire.tree().splitlines()
    result = four_ways(module, vlan=100, share=10)
    assert set(before) <= set(wire.tree().splitlines())
    assert "leaf 7fff: ls" in wire.tree()  # 64: is somebody's
    assert "# Not of virtnet.qos, and not here: fw filter 0x3 at preference 7" in result["script"]
    four_ways(module, vlan=100, share=10, rt="1mbit")
    four_ways(module, vlan=100, share=10)
    assert "basic filter 0x1 at preference 16 points to class 1389:10" in module(vlan=16, state="absent")["msg"]
    four_ways(module, vlan=100, state="absent")
    assert wire.tree().splitlines() == before
    assert (
        "these still need it: class 1389:10, class 1389:2000, class 1389:2001, fw filter"
        in module(default=True, state="absent")["msg"]
    )


IN_A_CLASS = """\
qdisc add dev near root handle 1: hfsc default 30
class add dev near parent 1: classid 1:2 hfsc ls m2 20mbit ul m2 30mbit
class add dev near parent 1:2 classid 1:20 hfsc ls m2 8mbit
class add dev near parent 1:2 classid 1:21 hfsc ls m2 8mbit
class add dev near parent 1: classid 1:30 hfsc ls m2 8mbit
filter add dev near parent 1: protocol all pref 1 matchall flowid 1:2
filter add dev near parent 1:2 protocol ip pref 2 handle 5 fw flowid 1:20
filter add dev near parent 1:2 protocol ip pref 3 matchall action drop
"""


def test_what_others_attached_to_a_class_is_not_lost(wire: Wire, module: Module) -> None:
    wire.run("tc", "-batch", "-", batch=IN_A_CLASS)
    tree = wire.tree(), wire.run("tc", "filter", "show", "dev", "near", "parent", "1:2")
    where = "at preference {} of class 1:2"
    for options, words in (
        ({"classid": ":20", "state": "absent"}, [f"fw filter 0x5 {where.format(2)} points to class 1:20"]),
        ({"classid": ":2", "ls": "10mbit"}, [f"matchall filter 0x1 {where.format(3)} would be lost", "fw filter 0x5"]),
        ({"classes": [{"classid": ":30", "default": True, "share": 1}], "prune": True}, ["matchall", "fw filter 0x5"]),
    ):
        said = [module(check=check, handle="1:", **options)["msg"] for check in (True, False)]
        assert said[0] == said[1]
        assert all(each in said[0] for each in words), said[0]
    assert (wire.tree(), wire.run("tc", "filter", "show", "dev", "near", "parent", "1:2")) == tree
    four_ways(module, handle="1:", classid=":2", ls="10mbit", ul="30mbit")
    four_ways(module, handle="1:", classid=":21", state="absent")
    assert wire.run("tc", "filter", "show", "dev", "near", "parent", "1:2") == tree[1]
    assert module(handle="1:", state="absent")["changed"]
    assert wire.tree() == "qdisc noqueue 0: root"


@pytest.mark.parametrize(
    "said",
    [
        "protocol all pref 4 handle 1 bpf bytecode '1,6 0 0 4294967295,' flowid 1389:64",
        "protocol all pref 4 handle 1 flow map key priority baseclass 1389:64",
    ],
)
def test_a_filter_of_any_kind_keeps_its_class(wire: Wire, module: Module, said: str) -> None:
    module(vlan=100, share=1)
    wire.run("tc", "-batch", "-", batch=f"filter add dev near parent 1389: {said}\n")
    kind = said.split()[6]
    message = module(check=True, vlan=100, state="absent")["msg"]
    assert f"{kind} filter 0x1 at preference 4 points to class 1389:64" in message


def test_a_device_with_a_longer_header(wire: Wire, module: Module) -> None:
    links = ["add d0 up type dummy", "add link d0 name d0.9 type vlan id 9", "add b0 type bond", "set d0.9 master b0"]
    try:
        wire.run("ip", "-batch", "-", batch="".join(f"link {each}\n" for each in links))
        four_ways(module, device="b0", vlan=9, share=1)
        tree = wire.tree("b0")
        assert tree.count("quantum 1518") == 2
        four_ways(module, device="b0", vlan=9, share=1, leaf={"kind": "fq_codel", "quantum": "3000B"})
        assert wire.tree("b0").count("quantum 3000") == 1
        four_ways(module, device="b0", vlan=9, share=1)
        assert wire.tree("b0") == tree
    finally:
        for device in ("b0", "d0"):
            subprocess.run(["ip", "link", "del", device], check=False)


def refuse_at(monkeypatch: pytest.MonkeyPatch, position: int) -> list[Step]:
    """Have the kernel refuse the step at this position, and none after it."""
    sent: list[Step] = []
    real = Tc.send

    def refusing(self: Tc, steps: list[Step]) -> None:
        before = len(sent)
        sent.extend(steps)
        if not before <= position < before + len(steps):
            return real(self, steps)
        first = steps[: position - before]
        if first:
            real(self, first)
        raise TcError(12, "injected", steps[position - before], first)

    monkeypatch.setattr(Tc, "send", refusing)
    return sent


CHANGES: list[dict[str, Any]] = [
    {"vlan": 300, "share": 1},
    {"vlan": 100, "share": 7, "ul": "1gbit", "rt": "1mbit", "leaf": "none"},
    {"vlan": 100, "share": 7},
    {"default": True, "rt": "1mbit"},
    {"vlan": 200, "state": "absent"},
]


@pytest.mark.parametrize("options", CHANGES)
def test_a_failure_at_any_step_is_undone(wire: Wire, module: Module, options: dict[str, Any]) -> None:
    module(vlan=100, share=10, ul="1gbit")
    module(vlan=200, share=10)
    before = wire.tree()
    for position in range(20):
        with pytest.MonkeyPatch.context() as patch:
            sent = refuse_at(patch, position)
            result = module(**options)
        if len(sent) <= position:
            break
        assert "[Errno 12] Cannot allocate memory: injected." in result["msg"]
        assert result["msg"].endswith("Nothing was changed." if position == 0 else "What had been done was undone.")
        assert wire.tree() == before
    assert position > 1
    assert result["changed"]


def test_a_failure_on_a_fresh_device_brings_its_own_qdisc_back(wire: Wire, module: Module) -> None:
    for position in range(7):
        with pytest.MonkeyPatch.context() as patch:
            refuse_at(patch, position)
            assert "injected" in module(vlan=100, share=10)["msg"]
        assert wire.tree() == "qdisc noqueue 0: root"
    assert module(vlan=100, share=10)["changed"]


def test_what_an_interrupted_run_left_is_put_right(wire: Wire, module: Module) -> None:
    module(vlan=100, share=10, ul="1gbit")
    before = wire.tree()
    for position in range(2, 8):
        with pytest.MonkeyPatch.context() as patch:
            refuse_at(patch, position)
            patch.setattr(
                "ansible_collections.virtnet.qos.plugins.module_utils._hfsc_apply._undo", lambda *_: ("killed", True)
            )
            assert "killed" in module(vlan=100, share=10)["msg"]
        four_ways(module, vlan=100, share=10, ul="1gbit")
        assert wire.tree() == before


def test_the_script_makes_the_same_tree(wire: Wire, module: Module) -> None:
    module(vlan=100, ls={"m1": "80bit", "d": "33us", "m2": "34359738360bit"}, rt="8bit", ul="34359738352bit")
    module(vlan=4094, rt={"m1": "0bit", "d": "4294967295us", "m2": "12345680bit"}, leaf="none")
    module(vlan=1, share=3)
    script = module(default=True, ls="123456792bit")["script"]
    before = wire.tree()
    dumped = Tc("near", socket.if_nametoindex("near"), 0x1389).read()
    wire.run("tc", "qdisc", "del", "dev", "near", "root")
    wire.run("tc", "-batch", "-", batch=script)
    assert wire.tree() == before
    assert Tc("near", socket.if_nametoindex("near"), 0x1389).read() == dumped
    again = module(vlan=1, share=3)
    assert not again["changed"]
    assert again["script"] == script


@contextlib.contextmanager
def without_net_admin() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)  # capset(2)
    assert libc.capget(header, sets) == 0
    effective, *others = struct.unpack("=6I", sets.raw)
    assert libc.capset(header, struct.pack("=6I", effective & ~(1 << 12), *others)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, sets) == 0


def test_without_permission(wire: Wire, module: Module) -> None:
    with without_net_admin():
        messages = [module(vlan=100, share=10, check=check)["msg"] for check in (True, False)]
    words = "device 'near': changing its qdiscs needs CAP_NET_ADMIN; run the task with become: true."
    assert messages == [words, words]
    assert wire.tree() == "qdisc noqueue 0: root"


def test_a_device_that_vanishes(wire: Wire, module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _hfsc_run.plan

    def late(*trees: Any) -> Any:
        subprocess.run(["ip", "link", "del", "near"], check=True)
        return real(*trees)

    monkeypatch.setattr(_hfsc_run, "plan", late)
    message = module(vlan=100, share=10)["msg"]
    assert "[Errno 19] No such device" in message
    assert "The device is gone, and its tree with it." in message
    assert "device 'near': no such device; there are lo" in module(vlan=100, share=10)["msg"]
