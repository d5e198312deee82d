# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commit-confirm on a host without systemd: changes that are confirmed, that are not, and runs killed on their way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _hold, _tc_netlink
from ansible_collections.virtnet.qos.plugins.module_utils._hold import Hold, place_of
from ansible_collections.virtnet.qos.tests.kernel.changes import MANY, NEW, OLD, OTHER, TOKEN, WAIT, arm, end, stage

from .conftest import Module, Wire, run, shape

pytestmark = pytest.mark.usefixtures("nothing_left")


def hold(token: str = TOKEN) -> Hold:
    return Hold(place_of("near") / token)


def wait_for(state: str, seconds: float, token: str = TOKEN) -> float:
    begun = time.monotonic()
    while hold(token).state != state:
        assert time.monotonic() - begun < seconds, hold(token).state
        time.sleep(0.02)
    return time.monotonic() - begun


def once_armed(monkeypatch: pytest.MonkeyPatch, happens: Callable[[Hold], Any]) -> None:
    """Have something happen between the arming and the change."""
    begin = Hold.begin

    def then(each: Hold) -> None:
        begin(each)
        happens(each)

    monkeypatch.setattr(Hold, "begin", then)


def test_what_is_confirmed_stands(module: Module, old: str) -> None:
    result = module(**arm(**NEW))
    assert result["changed"]
    assert 0 < result["_pending"]["seconds"] <= WAIT
    new = shape()
    assert new != old
    assert module(**stage("outcome"))["outcome"] == "pending"
    for _time in range(2):  # the first answer may be lost
        assert module(confirm_timeout=WAIT, **stage("confirm"))["confirmed"]
        assert module(**stage("outcome"))["outcome"] == "confirmed"
    time.sleep(WAIT + 1)
    assert not Path("/run/virtnet-qos").exists()
    assert shape() == new


def test_what_is_not_confirmed_is_undone_by_the_host(module: Module, old: str) -> None:
    module(**arm(**NEW))
    assert wait_for("restored", 8) > WAIT / 2
    assert shape() == old
    outcome = module(**stage("outcome"))
    assert (outcome["outcome"], outcome["log"], outcome["changed"]) == ("restored", "", False)
    assert "cannot be confirmed: it was taken back already" in module(**stage("confirm"))["msg"]
    assert module(**OLD)["actions"] == []
    assert not Path("/run/virtnet-qos").exists()


@pytest.mark.usefixtures("wire")
def test_where_there_was_no_tree_none_is_left(module: Module) -> None:
    before = shape()
    module(**arm(**NEW))
    wait_for("restored", 8)
    assert shape() == before


def test_nothing_is_armed_where_nothing_is_changed(module: Module, old: str) -> None:
    for options in ({**OLD, "check": True}, OLD, {**NEW, "check": True}):
        assert "_pending" not in module(**arm(**options))
        assert not Path("/run/virtnet-qos").exists()


def test_a_refusal_of_the_kernel_leaves_nothing_armed(
    module: Module, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two qdiscs with one handle: the leaf's is free when the tree is read, and not any more when it is sent.
    def taken(_hold: Hold) -> None:
        run("tc", "qdisc", "add", "dev", "near", "parent", "1389:64", "handle", "c8:", "pfifo")

    once_armed(monkeypatch, taken)
    run("tc", "qdisc", "del", "dev", "near", "parent", "1389:64")
    result = module(**arm(classes=[{"vlan": 200, "ls": "10mbit"}]))
    assert "What had been done was undone." in result["msg"], result
    assert "_pending" not in result
    assert not Path("/run/virtnet-qos").exists()


def test_another_run_is_told_who_holds_the_device(module: Module, old: str) -> None:
    module(**arm(60, **NEW))
    stands = shape()
    for options in (OLD, arm(token=OTHER, **OLD), {"state": "absent"}):
        message = module(**options)["msg"]
        assert message.startswith("near: a change by ann@control of 20"), message
        assert " s unless it is; run again after that" in message
    assert shape() == stands
    assert module(check=True, **OLD)["changed"]
    assert "cannot be confirmed" in module(**stage("confirm", OTHER))["msg"]
    assert module(**stage("confirm"))["confirmed"]
    assert module(**OLD)["changed"]


def test_a_stale_hold_is_undone_by_the_next_run(module: Module, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module(**arm(**NEW))
    while not end(TOKEN):
        time.sleep(0.1)
    monkeypatch.setattr(_hold, "GRACE_SECONDS", 0.0)
    time.sleep(WAIT + 0.5)
    result = module(**OLD)
    assert "taken back in time: the tree from before it was brought back now" in str(result.get("warnings")), result
    assert not result["changed"]
    assert shape() == old
    assert not Path("/run/virtnet-qos").exists()


def test_a_tree_that_cannot_be_made_leaves_the_device_open(wire: Wire, module: Module, old: str) -> None:
    """And says so: half a tree could be one without a default class."""
    module(**arm(**NEW))
    batch = hold().path / "before.tc"
    lines = batch.read_text(encoding="utf-8").splitlines()
    batch.write_text(
        "\n".join([lines[0], lines[1], "class add dev near parent 1389: classid 1389:1 hfsc nonsense", ""])
    )
    wait_for("failed", 8)
    assert "hfsc" not in shape()
    outcome = module(**stage("outcome"))
    assert outcome["outcome"] == "failed"
    assert "The tree of near could not be made. What it has now, without limits: qdisc noqueue" in outcome["log"]
    assert "nonsense" in outcome["log"]
    receiver = wire.far(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind(("10.0.100.2", 5000))
    receiver.settimeout(5)
    wire.send(100, 1)
    assert receiver.recv(100)


# What is called at each step of the protocol, and the process is killed after, or before.
STEPS: dict[str, tuple[str, str, str]] = {
    "before arming": ("before", "_guard.Guard", "arm"),
    "while arming": ("after", "_hold", "_start"),
    "armed, nothing changed": ("before", "_hold.Hold", "begin"),
    "armed": ("after", "_hold.Hold", "begin"),
    "half changed": ("half", "_tc_netlink.Tc", "_send"),
    "changed": ("after", "_hfsc_apply", "carry_out"),
}
KILLER = """
import json, os, signal, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.virtnet.qos.plugins.module_utils import _guard, _hfsc_apply, _hold, _tc_netlink
from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_class
when, place, name, arguments = sys.argv[1:]
place = eval(place)
real, calls = getattr(place, name), []

def killing(*args, **options):
    calls.append(name)
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **options)
    if when == "after" or len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(place, name, killing)
_guard.SECONDS = range(1, 3601)
with patch_module_args(json.loads(arguments)):
    tc_hfsc_class.main()
"""


def killed(step: tuple[str, str, str], **options: Any) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLER, *step, json.dumps({"device": "near", **options})],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stdout + ended.stderr


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_run_killed_before_it_is_confirmed_is_undone(
    module: Module, old: str, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    killed(STEPS[step], **arm(**MANY))
    state = hold().state
    with capsys.disabled():
        print(f"killed {step}: {state}, {'the old tree' if shape() == old else 'another tree'}")
    if state == "pending":
        wait_for("restored", 20)
    assert shape() == old
    assert module(**MANY)["changed"]
    assert not Path("/run/virtnet-qos").exists()


CONFIRMING = {
    "before confirming": ("before", "_hold", "confirm"),
    "confirmed": ("after", "_hold", "confirm"),
}


@pytest.mark.parametrize("step", CONFIRMING, ids=str)
def test_a_confirmation_that_is_killed_is_whole_or_not_at_all(module: Module, old: str, step: str) -> None:
    module(**arm(10, **NEW))  # the process that is killed takes some of them
    new = shape()
    killed(CONFIRMING[step], **stage("confirm"))
    if step == "confirmed":
        time.sleep(11)
        assert shape() == new
    else:
        wait_for("restored", 15)
        assert shape() == old
    module(**OLD)
    assert shape() == old
    assert not Path("/run/virtnet-qos").exists()


def test_a_tree_that_does_not_go_is_not_called_restored(
    module: Module, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there was none before, nothing is made, so nothing would fail."""
    text = 'tc() { [ $2 = del ] || command tc "$@"; }\n'
    monkeypatch.setattr(_hold, "PROGRAM", _hold.PROGRAM.replace("made() {", f"{text}made() {{"))
    module(**arm(**NEW))
    wait_for("failed", 8)
    assert "What it has now, without limits: qdisc hfsc 1389:" in module(**stage("outcome"))["log"]


def test_a_device_that_was_made_anew_is_not_confirmed(module: Module, wire: Wire) -> None:
    module(**arm(10, **NEW))
    wire.cut()
    wire.lay()
    assert "the device was taken away and made anew meanwhile" in module(**stage("confirm"))["msg"]


def test_a_run_that_was_overtaken_does_not_say_it_succeeded(
    module: Module, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program waits for the lock, but not for ever."""
    once_armed(monkeypatch, lambda each: Path(each.path, "pending").rename(Path(each.path, "restored")))
    result = module(**arm(**NEW))
    assert result["failed"]
    assert "the change took longer than confirm_timeout" in result["msg"]
    assert "_pending" in result


def test_what_comes_after_the_old_tree_is_taken_back_too(
    module: Module, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that hangs for longer than the program waits for it, and then goes on."""
    monkeypatch.setattr(_hold, "PROGRAM", _hold.PROGRAM.replace("-ge 30", "-ge 1"))
    send, phases = _tc_netlink.Tc.send, []

    def hangs(tc: _tc_netlink.Tc, steps: list[Any]) -> None:
        phases.append(len(steps))
        if len(phases) == 2:
            wait_for("restored", 20)
            assert shape() == old
        send(tc, steps)

    monkeypatch.setattr(_tc_netlink.Tc, "send", hangs)
    result = module(**arm(**NEW))
    assert len(phases) == 2
    assert "the change took longer than confirm_timeout" in result["msg"]
    assert shape() == old


def test_a_device_that_is_renamed_is_found(module: Module, old: str) -> None:
    def rename(before: str, after: str) -> None:
        run("ip", "link", "set", before, "down")
        run("ip", "link", "set", before, "name", after, "up")

    module(**arm(**NEW))
    rename("near", "neu")
    try:
        wait_for("restored", 10)
    finally:
        rename("neu", "near")
    assert shape() == old


def test_another_device_of_the_name_is_left_alone(module: Module, wire: Wire) -> None:
    module(**OLD)
    module(**arm(**NEW))
    wire.cut()
    wire.lay()
    wait_for("restored", 10)
    assert "hfsc" not in shape()


def test_what_somebody_mended_meanwhile_is_not_confirmed(module: Module, old: str) -> None:
    """The tree that would be kept is the one that had to be mended."""
    module(**arm(10, **NEW))
    run("tc", "qdisc", "del", "dev", "near", "root")
    assert "cannot be confirmed: somebody else has changed the tree meanwhile" in module(**stage("confirm"))["msg"]
    wait_for("restored", 15)
    assert shape() == old


def test_what_no_batch_makes_is_named(module: Module, old: str) -> None:
    words = "protocol ip prio 9 u32 match ip dst 10.9.9.9/32 classid 1389:64"
    run("tc", "filter", "add", "dev", "near", "parent", "1389:", *words.split())
    run("tc", "qdisc", "add", "dev", "near", "clsact")
    module(**arm(classes=[{"vlan": 200, "ls": "10mbit"}]))
    wait_for("restored", 8)
    (lost,) = module(**stage("outcome"))["lost"]
    assert "u32" in lost
    assert "clsact" in shape()


def test_what_could_not_be_taken_back_is_told_by_the_next_run(module: Module, old: str) -> None:
    module(**arm(**NEW))
    Path(hold().path, "before.tc").write_text("nonsense\n", encoding="ascii")
    wait_for("failed", 8)
    result = module(**OLD)
    assert "was to be taken back, which failed" in str(result["warnings"])
    assert "nonsense" in str(result["warnings"])


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps_changes_nothing(module: Module, old: str, hours: int) -> None:
    module(**arm(**NEW))
    time.clock_settime(time.CLOCK_REALTIME, time.time() + hours * 3600)
    assert "waits to be confirmed, and is taken back in" in module(**OLD)["msg"]
    assert wait_for("restored", 8) > WAIT / 2
    assert shape() == old


@pytest.mark.parametrize("command", ["missing", "systemd-run", "systemctl"])
def test_nothing_is_changed_where_systemd_refuses(module: Module, old: str, systemd: Path, command: str) -> None:
    """Either says so, or the timer is not there afterwards."""
    if command != "missing":
        for each in ("systemd-run", "systemctl"):
            text = f"#!/bin/sh\necho refused >&2\nexit {int(each == command)}\n"
            Path(systemd, each).write_text(text, encoding="ascii")
            Path(systemd, each).chmod(0o755)
    result = module(**arm(**NEW))
    assert result["failed"]
    message = f"confirm_timeout {WAIT}: the host could not be made to undo the change by itself: "
    assert message in result["msg"]
    assert "mend that; nothing was changed" in result["msg"]
    assert ("refused" in result["msg"]) == (command != "missing"), result["msg"]
    assert shape() == old
    assert not Path("/run/virtnet-qos").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confirm_timeout": 1}, "confirm_timeout 1: not from 2 to 3600 seconds; write a number from 2 to 3600."),
        ({"confirm_timeout": 3601}, "confirm_timeout 3601: not from 2 to 3600 seconds"),
        ({"confirm_timeout": 30}, "confirm_timeout 30: nobody would confirm it"),
    ],
    ids=str,
)
def test_what_cannot_be_safe_is_refused(module: Module, old: str, options: dict[str, Any], message: str) -> None:
    assert message in module(**NEW, **options)["msg"]
    assert shape() == old
