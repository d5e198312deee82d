# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commit-confirm on a host without systemd: changes that are confirmed, that are not, and runs killed on their way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _boot, _guard, _hold, _tc_netlink
from ansible_collections.virtnet.qos.plugins.module_utils._boot import Boot
from ansible_collections.virtnet.qos.plugins.module_utils._hold import Hold, place_of
from ansible_collections.virtnet.qos.plugins.module_utils._restore import APPEARED, PATH
from ansible_collections.virtnet.qos.plugins.module_utils._tc_lock import only_run

from .conftest import Module, Wire, run

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"
OLD = {"classes": [{"vlan": 100, "ls": "10mbit"}, {"default": True, "ls": "20mbit"}], "prune": True}
NEW = {"classes": [{"vlan": 200, "ls": "10mbit"}, {"default": True, "ls": "20mbit", "ul": "8bit"}], "prune": True}
MANY = {"classes": [{"vlan": vlan, "ls": "10mbit"} for vlan in range(1, 200)], "prune": True}


WAIT = 2  # seconds; less than the module allows, which has people wait


def stage(name: str, token: str = TOKEN) -> dict[str, Any]:
    return {"_confirm": {"stage": name, "token": token, "by": "ann@control"}}


def arm(seconds: int = WAIT, token: str = TOKEN, **options: Any) -> dict[str, Any]:
    return {**options, "confirm_timeout": seconds, **stage("arm", token)}


def hold(token: str = TOKEN) -> Hold:
    return Hold(place_of("near") / token)


def shape() -> str:
    """Return the device's tree without what was counted."""
    # In an order of our own: the kernel's is that in which they came.
    shown = [sorted(run("tc", each, "show", "dev", "near").splitlines()) for each in ("qdisc", "class", "filter")]
    return "\n".join(line for lines in shown for line in lines)


def wait_for(state: str, seconds: float, token: str = TOKEN) -> float:
    begun = time.monotonic()
    while hold(token).state != state:
        assert time.monotonic() - begun < seconds, hold(token).state
        time.sleep(0.02)
    return time.monotonic() - begun


def end(said: str) -> bool:
    """End what waits to undo a change, as somebody might: by its id, which its command tells."""
    found = False
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if said in Path(process, "cmdline").read_text(encoding="ascii"):
                os.killpg(int(process.name), signal.SIGKILL)
                found = True
    return found


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_guard, "SECONDS", range(WAIT, 3601))
    yield
    end("/run/virtnet-qos/")
    for each in Path("/run/virtnet-qos").glob("*/*"):
        Hold(each).remove()


def once_armed(monkeypatch: pytest.MonkeyPatch, happens: Callable[[Hold], Any]) -> None:
    """Have something happen between the arming and the change."""
    begin = Hold.begin

    def then(each: Hold) -> None:
        begin(each)
        happens(each)

    monkeypatch.setattr(Hold, "begin", then)


@pytest.fixture
def old(wire: Wire, module: Module) -> str:
    module(**OLD)
    return shape()


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


def test_a_file_that_makes_no_whole_tree_has_failed(module: Module, old: str, tmp_path: Path) -> None:
    """As the boot's unit does it. Half a tree drops all that comes to it."""
    lines = module(**OLD)["script"].splitlines(keepends=True)
    program, batch = tmp_path / "restore", tmp_path / "near.tc"
    program.write_text(_hold.PROGRAM, encoding="ascii")
    for text in ("", "# nothing\n", "".join(lines[:2]), "".join(line for line in lines if "1389:1388" not in line)):
        batch.write_text(text, encoding="ascii")
        done = subprocess.run(["/bin/sh", program, "near", batch], capture_output=True, text=True, check=False)
        assert done.returncode == 1, text
        assert "The tree of near could not be made." in done.stderr
        assert "hfsc" not in shape()
    batch.write_text("".join(lines), encoding="ascii")
    subprocess.run(["/bin/sh", program, "near", batch], check=True)
    assert shape() == old


def test_an_answer_that_was_lost_does_not_undo_what_came_since(
    module: Module, old: str, systemd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    monkeypatch.setattr(Boot, "differs", lambda _boot, _script: True)
    monkeypatch.setattr(Boot, "check_writable", lambda _boot, _script: None)
    monkeypatch.setattr(Boot, "keep", lambda _boot, script, _run: kept.append(script))
    for each in ("systemd-run", "systemctl"):
        Path(systemd, each).symlink_to("/bin/true")
    first = module(**arm(60, **NEW), persistent=True)
    confirm = {"confirm_timeout": 60, "persistent": True, **stage("confirm")}
    assert module(**confirm)["confirmed"]
    second = module(**MANY, persistent=True)
    assert module(**confirm)["confirmed"]
    assert kept == [first["script"], second["script"]]


def test_a_masked_unit_is_refused(module: Module, old: str, systemd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_boot, "UNITS", systemd)
    (systemd / Boot("near").unit).symlink_to("/dev/null")
    result = module(**arm(**NEW), persistent=True)
    assert "persistent True: the unit virtnet-qos@near.service is masked; systemctl unmask" in result["msg"]
    assert shape() == old


@pytest.mark.parametrize("kept", ["2a", "2b"])
def test_a_tree_that_is_kept_goes_whatever_its_handle(
    module: Module, wire: Wire, systemd: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """Unless it is another one that stands."""
    monkeypatch.setattr(_boot, "FOLDER", systemd)
    module(**OLD, handle="2a:")
    batch = systemd / "near.tc"
    batch.write_text(module(**OLD, handle="2a:")["script"].replace(" 2a:", f" {kept}:"), encoding="ascii")
    result = module(state="absent", persistent=True, check=True)
    assert ("actions" in result) == (kept == "2a"), result
    if kept == "2b":
        assert "set handle: '2a:'" in result["msg"]


def test_a_tree_that_goes_is_confirmed_where_there_is_no_systemd(module: Module, old: str) -> None:
    module(**arm(state="absent", persistent=True))
    assert "hfsc" not in shape()
    assert module(confirm_timeout=WAIT, persistent=True, **stage("confirm"))["confirmed"]


@pytest.fixture
def appeared(module: Module, old: str, tmp_path: Path) -> Callable[..., int]:
    """Have the device appear without a tree, as udev or its unit say; return how that ended.

    What systemd says comes from files. The real one is in the host lab.
    """
    commands = {
        "systemctl": 'for last do :; done; [ -e "$(dirname "$0")/${last##*.}" ]',
        "systemd-escape": 'for last do :; done; echo "$last"',
    }
    for name, text in commands.items():
        Path(tmp_path, name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        Path(tmp_path, name).chmod(0o755)
    Path(tmp_path, "service").touch()  # is enabled
    for name, text in {"restore": _hold.PROGRAM, "appeared": APPEARED.replace(PATH, f"{tmp_path}:{PATH}")}.items():
        Path(tmp_path, name).write_text(text, encoding="ascii")
    Path(tmp_path, "near.tc").write_text(module(**OLD)["script"], encoding="ascii")

    def appear(said_by: str) -> int:
        return subprocess.run(["/bin/sh", tmp_path / "appeared", said_by, "near"], check=False).returncode

    return appear


def bare() -> None:
    run("tc", "qdisc", "replace", "dev", "near", "root", "pfifo")


def test_udev_makes_the_tree_and_the_unit_does_not_do_it_twice(
    appeared: Callable[..., int], old: str, tmp_path: Path
) -> None:
    """Nor does whoever can read a lock get hold of it."""
    for lock in Path("/run").glob("virtnet-qos-*.lock"):
        lock.unlink()
    bare()
    assert appeared("udev") == 0
    assert shape() == old
    assert [lock.stat().st_mode & 0o777 for lock in Path("/run").glob("virtnet-qos-*.lock")] == [0o600]
    bare()
    without = shape()
    assert appeared("unit") == 0
    assert shape() == without
    assert not list(Path("/run").glob("virtnet-qos-made-*"))
    assert appeared("unit") == 0
    assert shape() == old


def test_what_udev_made_of_an_older_file_is_made_anew(appeared: Callable[..., int], old: str, tmp_path: Path) -> None:
    bare()
    assert appeared("udev") == 0
    time.sleep(0.05)
    batch = tmp_path / "near.tc"
    batch.write_text(batch.read_text(encoding="ascii").replace(" 1389:64 ", " 1389:65 "), encoding="ascii")
    assert appeared("unit") == 0
    assert shape() != old


@pytest.mark.parametrize("why", ["disabled", "known already", "at work", "has a tree", "spoilt"])
def test_udev_leaves_a_device_alone(appeared: Callable[..., int], old: str, tmp_path: Path, why: str) -> None:
    if why != "has a tree":
        bare()
    with contextlib.ExitStack() as until:
        if why == "disabled":
            Path(tmp_path, "service").unlink()
        elif why == "known already":
            Path(tmp_path, "device").touch()
        elif why == "at work":
            until.enter_context(only_run(socket.if_nametoindex("near")))
        elif why == "has a tree":
            Path(tmp_path, "near.tc").write_text("qdisc add dev near root pfifo\n", encoding="ascii")
        else:
            Path(tmp_path, "near.tc").write_text("nonsense\n", encoding="ascii")
        assert appeared("udev") == (1 if why == "spoilt" else 0)
    assert (shape() == old) == (why == "has a tree")
    assert not list(Path("/run").glob("virtnet-qos-made-*"))


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


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have what looks like systemd, and a folder in PATH for its commands. The real one is in the host lab."""
    Path("/run/systemd/system").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(_guard, "UDEV", tmp_path)
    yield tmp_path
    shutil.rmtree("/run/systemd")


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


@pytest.mark.parametrize("fault", ["full", "read-only", "no units", "no rules"])
def test_nothing_is_changed_where_the_next_boot_could_not_be_told(
    module: Module, old: str, systemd: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc, units, rules = systemd / "etc", systemd / "units", systemd / "rules"
    monkeypatch.setattr(_boot, "FOLDER", etc / "virtnet-qos")
    monkeypatch.setattr(_boot, "UNITS", units)
    monkeypatch.setattr(_boot, "RULES", rules)
    for each in (etc, units, rules):
        each.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(etc))
    try:
        if fault == "full":
            Path(etc, "much").write_bytes(bytes(8192))
        elif fault == "read-only":
            run("mount", "-o", "remount,ro", str(etc))
        else:
            (units if fault == "no units" else rules).rmdir()
        result = module(**arm(**MANY), persistent=True)
        assert result["failed"]
        assert result["msg"].startswith("persistent True: what the next boot brings cannot be written to "), result
        assert shape() == old
        assert list(etc.iterdir()) == ([etc / "much"] if fault == "full" else [])
    finally:
        run("umount", str(etc))
    assert not Path("/run/virtnet-qos").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confirm_timeout": 1}, "confirm_timeout 1: not from 2 to 3600 seconds; write a number from 2 to 3600."),
        ({"confirm_timeout": 3601}, "confirm_timeout 3601: not from 2 to 3600 seconds"),
        ({"confirm_timeout": 30}, "confirm_timeout 30: nobody would confirm it"),
        ({"persistent": True}, "persistent True: this host has no systemd to bring it back; leave out persistent."),
    ],
    ids=str,
)
def test_what_cannot_be_safe_is_refused(module: Module, old: str, options: dict[str, Any], message: str) -> None:
    assert message in module(**NEW, **options)["msg"]
    assert shape() == old
