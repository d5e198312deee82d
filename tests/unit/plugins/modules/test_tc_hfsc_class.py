# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtnet.qos.plugins.module_utils import _hfsc_run, _netns, _tc_lock
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    Curve,
    Foreign,
    ForeignFilter,
    HfscClass,
    Leaf,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step, applied
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError
from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_class

MAJOR = 0x1389


class Tc:
    """The door, with a tree behind it instead of a kernel."""

    tree = Tree()
    refuses = 0
    meddled = False
    link = Link()
    index = 2

    def __init__(self, device: str, index: int, major: int) -> None:
        self.device = device
        self.major = major

    def read(self) -> Tree:
        if Tc.refuses == errno.ENODEV:
            raise TcError(errno.ENODEV)
        return Tree() if Tc.meddled else Tc.tree

    def read_again(self, steps: Iterable[Step]) -> Tree:
        return self.read()

    def send(self, steps: list[Step]) -> None:
        if Tc.refuses:
            raise TcError(Tc.refuses, step=steps[0])
        Tc.tree = applied(Tc.tree, steps)

    def drain(self, minors: Iterable[int], seconds: float) -> dict[int, int]:
        return {}


@pytest.fixture(autouse=True)
def door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Tc]:
    monkeypatch.setattr(_hfsc_run, "Tc", Tc)
    monkeypatch.setattr(_hfsc_run, "may_change", lambda: True)
    monkeypatch.setattr(_tc_lock, "FOLDER", str(tmp_path))
    monkeypatch.setattr(_hfsc_run, "devices", lambda: {"lo": 1, "eth0": 2, "bond0": 3, "we#ird": 4})
    Tc.tree, Tc.refuses, Tc.meddled, Tc.link = Tree(), 0, False, Link()
    return Tc


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        args = {"device": "eth0", **options, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(args), pytest.raises(SystemExit):
            tc_hfsc_class.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


TENANT: list[dict[str, Any]] = [
    {"classid": ":2000", "share": 20, "ul": "2gbit"},
    {"classid": ":2001", "parent": ":2000", "sc": "500mbit", "match": [{"src": "192.0.2.0/24"}, {"fwmark": "1/0xf"}]},
    {
        "classid": ":2002",
        "parent": "1389:2000",
        "ls": "100mbit",
        "match": [{"vlan": 30, "ip_proto": "tcp", "dst_port": "8000-8999"}, {"dscp": "cs1"}],
        "leaf": {"kind": "sfq", "perturb": "10s"},
    },
]
CHANGES: list[dict[str, Any]] = [
    {"vlan": 100, "share": 60, "rt": "1gbit"},
    {"vlan": 100, "share": 60},
    {"vlan": 20, "ls": "1mbit", "rt": {"m1": "2mbit", "d": "10ms", "m2": "1mbit"}, "leaf": "none"},
    {"default": True, "share": 40, "ul": "5gbit"},
    {"default": True, "rt": "12.5MB/s"},
    {"classes": TENANT},
    {"vlan": 100, "share": 60, "leaf": {"kind": "fq_codel", "target": "2ms", "ecn": False}},
    {"vlan": 20, "share": 1, "parent": ":2000"},
    {
        "classes": [{"vlan": 100, "share": 1}, *({"classid": f":200{n}", "ignore": True} for n in range(3))],
        "prune": True,
    },
    {"classes": TENANT[1:], "state": "absent"},
    {"classid": ":2000", "state": "absent"},
    {"vlan": 100, "state": "absent"},
    {"default": True, "state": "absent"},
    {"classes": TENANT, "prune": True},
    {"state": "absent"},
]


def test_every_change_predicts_applies_and_then_is_silent(run: Any) -> None:
    for options in CHANGES:
        predicted, applied_now, again, predicted_again = (run(check=check, **options) for check in (1, 0, 0, 1))
        assert predicted["changed"]
        assert predicted == applied_now
        assert predicted["actions"]
        for silent in (again, predicted_again):
            assert not silent["changed"]
            assert silent["actions"] == []
            assert silent["diff"] == {"before": "", "after": ""}
            assert silent["script"] == applied_now["script"]
    assert Tc.tree == Tree()


def test_check_mode_changes_nothing(run: Any) -> None:
    assert run(check=True, vlan=1, ls="1mbit")["changed"]
    assert Tc.tree == Tree()


def test_a_share_is_a_megabit(run: Any) -> None:
    run(vlan=1, share=34359)
    assert Tc.tree.classes[1] == HfscClass(ls=Curve(34359 * 125_000))


def test_what_is_printed_can_be_pasted_back(run: Any) -> None:
    first = run(vlan=1, ls={"m1": "800bit", "d": "1500us", "m2": "12.5MB/s"})
    line = next(line for line in first["diff"]["after"].splitlines() if line.startswith("  ls "))
    assert line == "  ls m1 800bit d 1.5ms m2 100mbit"
    assert not run(vlan=1, ls={"m1": "800bit", "d": "1.5ms", "m2": "100mbit"})["changed"]


TOO_FAST = "from 8bit to 34359738360bit"


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"ls": "5"}, ["ls '5': a number without a unit is ambiguous"]),
        ({"ls": 5}, ["ls '5': a number without a unit is ambiguous"]),
        ({"ls": True}, ["ls 'True': not a rate"]),
        ({"ls": ["1mbit"]}, ["not a rate"]),
        ({"ls": "5furlongs"}, ["ls '5furlongs': 'furlongs' is not a unit"]),
        ({"ls": "100Mbps"}, ["100mbit for megabits, or 100MB/s for megabytes"]),
        ({"ls": "-1mbit"}, ["ls '-1mbit': a rate cannot be negative"]),
        ({"ls": "0mbit"}, ["ls '0mbit': a rate cannot be zero"]),
        ({"ls": "34359738361bit"}, [TOO_FAST, "the largest is"]),
        ({"ls": "40gbit"}, [TOO_FAST]),
        ({"ls": "7bit"}, [TOO_FAST, "the smallest is 8bit"]),
        ({"ls": "1001bit"}, ["the nearest two are 1kbit or 1.008kbit"]),
        ({"rt": {"m1": "1mbit", "m2": "1mbit"}}, ["rt.d: missing"]),
        ({"rt": {"d": "1ms", "m2": "1mbit"}}, ["rt.m1: missing"]),
        ({"rt": {"m1": "1mbit", "d": "1ms"}}, ["rt.m2: missing"]),
        ({"rt": {}}, ["rt.m2: missing"]),
        ({"rt": {"m1": "1Mb", "d": "1m", "m2": "0bit"}}, ["rt.m1 '1Mb'", "rt.d '1m'", "rt.m2 '0bit'"]),
        ({"rt": {"m1": "1mbit", "d": "0ms", "m2": "1mbit"}}, ["rt.d '0ms': a time cannot be zero"]),
        ({"rt": {"m2": "1mbit", "umax": 1500, "dmax": "1ms"}}, ["rt.umax: a curve has no such part", "rt.dmax"]),
        ({"ul": "1mbit", "rt": "1mbit"}, ["ul '1mbit': an upper limit limits what ls gives, and there is no ls"]),
        ({"ls": "1mbit", "ul": "1mbit", "rt": "2mbit"}, ["ul '1mbit': the limit is below the guarantee (rt 2mbit);"]),
        (
            {"ls": "1mbit", "ul": "2mbit", "rt": {"m1": "3mbit", "d": "1ms", "m2": "1mbit"}},
            ["below the guarantee (rt m1 3mbit d 1ms m2 1mbit) at the start of a backlog"],
        ),
        ({}, ["ls: a class needs a part of the link"]),
        ({"share": 1, "ls": "1mbit"}, ["share 1: share and ls are two ways to say the same"]),
        ({"vlan": True, "ls": "1mbit"}, ["vlan True: not a number"]),
        ({"share": True}, ["share True", "write a number"]),
        ({"share": -1}, ["the smallest is 1"]),
        ({"share": 0}, ["share 0: a share is a whole number from 1 to 34359"]),
        ({"share": 34360}, ["share 34360"]),
        ({"vlan": 0, "ls": "1mbit"}, ["vlan 0: a VLAN's id is its class's minor number, and 0 is the root's"]),
        ({"vlan": 4095, "ls": "1mbit"}, ["vlan 4095: a VLAN id is from 0 to 4094"]),
        ({"vlan": None, "ls": "1mbit"}, ["vlan: nothing says which class this is"]),
        ({"classid": 70, "ls": "1mbit"}, ["YAML reads 1:10 without quotes as the number 70"]),
        ({"classid": "1388:10", "ls": "1mbit"}, ["classid '1388:10': the class is below the root qdisc 1389:"]),
        ({"sc": "1mbit", "rt": "1mbit"}, ["sc '1mbit': sc is rt and ls in one, and there is rt too"]),
        ({"ls": "1mbit", "leaf": {"kind": "sfq", "limit": 1}}, ["leaf.limit 1: not a whole number from 2 to 16256"]),
        ({"ls": "1mbit", "match": [{"vlan": 5}, {"src": "10.0.0.1/8"}]}, ["match[1].src '10.0.0.1/8'"]),
        ({"ls": "1mbit", "match": [{"mark": 5}]}, ["Unsupported parameters", "mark"]),
        ({"ls": "1mbit", "ignore": True}, ["Unsupported parameters", "ignore"]),
        ({"ls": "1mbit", "prune": True}, ["prune True: without classes"]),
        ({"classes": []}, ["vlan 1: with classes, what is declared of a class is written in its element"]),
        ({"vlan": None, "classes": [{"vlan": 5, "ls": "x"}, {"vlan": 5}]}, ["classes[0].ls 'x'", "classes[1]: class"]),
        ({"handle": "0:", "ls": "1mbit"}, ["handle '0:': not the handle of a root qdisc"]),
        ({"handle": "ffff:", "ls": "1mbit"}, ["handle 'ffff:'"]),
        ({"handle": "1389:1", "ls": "1mbit"}, ["handle '1389:1'"]),
        ({"handle": "12345:", "ls": "1mbit"}, ["handle '12345:'"]),
        ({"device": "eth9", "ls": "1mbit"}, ["device 'eth9': no such device; there are bond0, eth0, lo"]),
        ({"device": "we#ird", "ls": "1mbit"}, ["tc -batch cannot read this name"]),
        ({"vlan": 9999, "ls": "x", "ul": "1Mbps", "handle": "-"}, ["handle", "vlan 9999", "ls 'x'", "ul '1Mbps'"]),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    run: Any, options: dict[str, Any], fragments: list[str]
) -> None:
    for state in ("present",) if options.get("vlan", 1) == 1 else ("present", "absent"):
        result = run(**{"vlan": 1, "state": state, **options})
        assert result["failed"]
        for fragment in fragments:
            assert fragment in result["msg"]
    assert Tc.tree == Tree()


@pytest.mark.parametrize(
    ("root", "remedy"),
    [
        ("htb 1:", "set replace_root: true to replace it with all that is below it (libvirt keeps"),
        ("hfsc 1:", "set handle: '1:' to manage that one, or set replace_root: true"),
        ("mq 8001:", "set replace_root: true"),
    ],
)
def test_somebody_elses_root_is_refused_and_replaced_on_demand(run: Any, root: str, remedy: str) -> None:
    Tc.tree = Tree(foreign=Foreign(root=root))
    for check in (True, False):
        result = run(vlan=1, ls="1mbit", check=check)
        assert f"device 'eth0': its root qdisc is {root}, not hfsc 1389:" in result["msg"]
        assert remedy in result["msg"]
    if not root.startswith("hfsc"):
        assert not run(vlan=1, state="absent")["changed"]
        assert not run(default=True, state="absent")["changed"]
    replaced = run(vlan=1, ls="1mbit", replace_root=True, check=True)
    assert replaced["diff"]["before"] == f"qdisc {root}, and all below it\n"


def test_a_filter_that_points_to_the_class_keeps_it(run: Any) -> None:
    run(vlan=1, ls="1mbit")
    before = Tc.tree = Tree(
        **{part: getattr(Tc.tree, part) for part in ("qdisc", "classes", "leaves", "lifts", "filters")},
        foreign=Foreign(filters=(ForeignFilter("fw filter 0x1 at preference 7", 7, 1),)),
    )
    assert "fw filter 0x1 at preference 7 points to class 1" in run(vlan=1, state="absent")["msg"]
    assert Tc.tree == before


def test_the_default_class_goes_last(run: Any) -> None:
    run(vlan=100, ls="1mbit")
    assert "these still need it: class 1389:64" in run(default=True, state="absent")["msg"]
    run(vlan=100, state="absent")
    result = run(default=True, state="absent")
    assert result["actions"] == [
        {"op": "delete", "object": "qdisc", "id": "1389:", "before": "hfsc, default class 1389:1388"}
    ]
    assert result["script"] == ""


def test_no_permission_is_explained(run: Any) -> None:
    Tc.refuses = errno.EPERM
    message = run(vlan=1, ls="1mbit")["msg"]
    assert message == (
        "eth0: could not add qdisc 1389: (hfsc, default class 1389:1388): [Errno 1] Operation not permitted."
        " Changing qdiscs needs CAP_NET_ADMIN: run the task with become: true. Nothing was changed."
    )


def test_a_device_that_vanishes_is_no_traceback(run: Any) -> None:
    Tc.refuses = errno.ENODEV
    assert run(vlan=1, ls="1mbit")["msg"] == "eth0: could not read its tree: [Errno 19] No such device."


def test_somebody_who_changes_it_meanwhile_is_noticed(run: Any) -> None:
    Tc.meddled = True
    result = run(vlan=1, ls="1mbit")
    assert result["changed"]
    assert result["msg"].startswith(
        "eth0: something else changes it too. This would have to be done still:"
        " add qdisc 1389: (hfsc, default class 1389:1388); add class 1389:1388 (ls 1mbit); add leaf"
    )


def test_without_the_capability_both_modes_say_so(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hfsc_run, "may_change", lambda: False)
    for check in (True, False):
        assert run(vlan=1, ls="1mbit", check=check)["msg"] == (
            "device 'eth0': changing its qdiscs needs CAP_NET_ADMIN; run the task with become: true."
        )


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (Link("vlan", "bond0"), "a VLAN device, which has but one VLAN; name the NIC or bond below it, that is bond0."),
        (Link("vlan"), "name the NIC or bond below it."),
        (Link("bridge"), "it is a bridge"),
        (Link("loopback"), "it is the loopback device"),
        (Link("tun"), "use virt_iface_bandwidth"),
    ],
)
def test_devices_that_cannot_work_are_refused(run: Any, link: Link, words: str) -> None:
    Tc.link = link
    assert words in run(vlan=1, ls="1mbit")["msg"]
    assert not run(vlan=1, state="absent")["changed"]


def test_another_run_on_the_device_is_waited_for(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(vlan=1, ls="1mbit")
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(_tc_lock, "WAIT_SECONDS", 0.1)
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = run(vlan=2, ls="1mbit")
        whose = f"another run, process {os.getpid()} since "
        assert result["msg"].startswith(f"eth0: {whose}")
        assert result["msg"].endswith(f", still changes it after 0.1 s (it holds the lock {path}).")
        assert run(vlan=2, ls="1mbit", check=True)["changed"]
    assert run(vlan=2, ls="1mbit")["changed"]


def test_a_lock_that_is_a_symlink_is_not_followed(run: Any, tmp_path: Path) -> None:
    run(vlan=1, ls="1mbit")
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.symlink_to(tmp_path / "other")
    assert "could not open the lock" in run(vlan=2, ls="1mbit")["msg"]
    assert not (tmp_path / "other").exists()


def test_another_hfsc_is_not_taken_for_one_without_the_class(run: Any) -> None:
    Tc.tree = Tree(foreign=Foreign(root="hfsc 1389:"))
    for which in ({"vlan": 1}, {"default": True}):
        assert "set handle: '1389:'" in run(**which, handle="1:", state="absent")["msg"]


def test_a_temporary_class_that_was_left_does_not_hold_the_default_class(run: Any) -> None:
    run(default=True, ls="1mbit")
    left = {0x9388: HfscClass(ls=Curve(1))}, {0x9388: Leaf("fq_codel", 0xD388)}
    Tc.tree = replace(Tc.tree, classes={**Tc.tree.classes, **left[0]}, leaves={**Tc.tree.leaves, **left[1]})
    assert run(default=True, state="absent")["changed"]


def test_long_lists_and_values_are_cut(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hfsc_run, "devices", lambda: {f"eth{number:03}": number for number in range(200)})
    message = run(device="x" * 500, vlan=1, ls="y" * 500)["msg"]
    assert "eth019 and 180 more" in message
    assert len(message) < 600


def test_a_network_namespace_is_entered(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    monkeypatch.setattr(_netns, "enter", entered.append)
    assert run(vlan=1, ls="1mbit", netns="blue")["changed"]
    assert entered == ["blue"]


def test_a_missing_library_or_namespace_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(namespace: str) -> None:
        raise ImportError if namespace == "blue" else FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(_netns, "enter", enter)
    assert "pyroute2 >= 0.7.2" in run(vlan=1, ls="1mbit", netns="blue")["msg"]
    assert run(vlan=1, ls="1mbit", netns="red")["msg"].startswith("netns 'red': cannot be entered: No such file")


def test_guarantees_are_held_against_the_link(run: Any) -> None:
    Tc.link = Link(speed=125_000)
    assert "all guarantees together come to 2mbit, and eth0 has 1mbit" in run(vlan=1, rt="2mbit")["msg"]
    assert run(vlan=1, rt="2mbit", allow_overcommit=True)["changed"]
