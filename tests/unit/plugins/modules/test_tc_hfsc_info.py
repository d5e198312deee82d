# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import builtins
import errno
import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtnet.qos.plugins.module_utils import _netns
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Curve, Foreign, HfscClass, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._tc_counters import Counters
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError
from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_info

THERE = {"lo": 1, "bond0": 2, "eth0": 3, "eth1": 4}
ROOTS = {2: ("hfsc", 0x1389), 3: ("htb", 1), 4: ("hfsc", 7)}


class Tc:
    """The door, with a clock behind it: each class sends 125 bytes a second."""

    link = Link()
    now = 1000.0
    fails: dict[str, list[int]]

    def __init__(self, device: str, index: int, major: int) -> None:
        self.device = device
        self.index = index
        self.major = major

    def read(self) -> Tree:
        kind, major = ROOTS.get(self.index, ("", 0))
        if (kind, major) != ("hfsc", self.major):
            return Tree(foreign=Foreign(root=f"{kind} {major:x}:" if kind else None))
        return Tree(qdisc={major: 0x1388}, classes={0x1388: HfscClass(ls=Curve(1))})

    def statistics(self) -> dict[int, Counters]:
        failing = self.fails.get(self.device, [])
        number = failing.pop(0) if failing else 0
        if number:
            raise TcError(number)
        return {0x1388: Counters(bytes=int(125 * Tc.now))}


@pytest.fixture(autouse=True)
def door(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        Tc.now += seconds

    Tc.fails = {}
    monkeypatch.setattr(tc_hfsc_info, "Tc", Tc)
    monkeypatch.setattr(tc_hfsc_info, "devices", lambda: THERE)
    monkeypatch.setattr(tc_hfsc_info, "roots", lambda: ROOTS)
    monkeypatch.setattr(tc_hfsc_info, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: Tc.now))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(**options: Any) -> dict[str, Any]:
        with patch_module_args(options), pytest.raises(SystemExit):
            tc_hfsc_info.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def names(result: dict[str, Any]) -> list[str]:
    return [each["device"] for each in result["devices"]]


def test_all_devices_with_hfsc(run: Any) -> None:
    result = run()
    assert result["changed"] is False
    assert [(each["device"], each["handle"]) for each in result["devices"]] == [("bond0", "1389:"), ("eth1", "7:")]
    assert names(run(handle="7:")) == ["eth1"]
    assert names(run(handle="8:")) == []
    assert run(_ansible_check_mode=True)["devices"] == result["devices"]


def test_one_device(run: Any) -> None:
    (bond,) = run(device="bond0")["devices"]
    assert (bond["managed"], bond["tree"][0]["name"]) == (True, "default")
    for device, root in (("lo", None), ("eth0", "htb 1:")):
        (found,) = run(device=device)["devices"]
        assert (found["managed"], found["classes"], found["tree"], found["root"]) == (False, [], [], root)
    (other,) = run(device="eth1", handle="1389:")["devices"]
    assert (other["managed"], other["root"]) == (False, "hfsc 7:")


def test_rates_come_with_an_interval(run: Any) -> None:
    for each in run(interval=2)["devices"]:
        assert each["tree"][0]["rate"] == "1kbit"
    assert "rate" not in run()["devices"][0]["tree"][0]


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"device": "eth9"}, ["device 'eth9': no such device; there are bond0, eth0, eth1, lo."]),
        ({"interval": 0}, ["interval 0.0: an interval is from 0.1 to 3600 seconds"]),
        ({"interval": 3601}, ["interval 3601.0"]),
        ({"interval": "nan"}, ["interval nan"]),
        ({"handle": "0:", "device": "", "interval": -1}, ["handle '0:'", "device '': no such device", "interval -1.0"]),
    ],
)
def test_what_cannot_be_is_refused(run: Any, options: dict[str, Any], fragments: list[str]) -> None:
    result = run(**options)
    assert result["failed"]
    for fragment in fragments:
        assert fragment in result["msg"]


@pytest.mark.parametrize("when", [[errno.ENODEV], [0, errno.ENODEV]])
def test_a_device_that_vanishes(run: Any, when: list[int]) -> None:
    Tc.fails = {"bond0": when.copy()}
    assert names(run(interval=1)) == ["eth1"]
    Tc.fails = {"bond0": when.copy()}
    assert run(device="bond0", interval=1)["msg"] == "bond0: could not be read: [Errno 19] No such device."


def test_a_kernel_that_refuses(run: Any) -> None:
    Tc.fails = {"bond0": [errno.EPERM]}
    assert run()["msg"] == "The qdiscs: could not be read: [Errno 1] Operation not permitted."


def test_another_namespace(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    monkeypatch.setattr(_netns, "enter", entered.append)
    assert names(run(netns="tenant")) == ["bond0", "eth1"]
    assert entered == ["tenant"]


def test_no_such_namespace(run: Any) -> None:
    message = run(netns="/nowhere")["msg"]
    assert message == "netns '/nowhere': cannot be entered: No such file or directory; ip netns names those there are."


def test_without_pyroute2_there_are_no_namespaces(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name == "pyroute2":
            raise ImportError
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert "pyroute2 >= 0.7.2" in run(netns="tenant")["msg"]
    assert names(run()) == ["bond0", "eth1"]
