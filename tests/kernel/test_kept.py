# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept for the next boot, and what the unit and udev make of it then."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _boot, _hold
from ansible_collections.virtnet.qos.plugins.module_utils._boot import Boot
from ansible_collections.virtnet.qos.plugins.module_utils._restore import APPEARED, PATH
from ansible_collections.virtnet.qos.plugins.module_utils._tc_lock import only_run
from ansible_collections.virtnet.qos.tests.kernel.changes import MANY, NEW, OLD, WAIT, arm, stage

from .conftest import Module, Wire, run, shape

pytestmark = pytest.mark.usefixtures("nothing_left")


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


def test_nothing_is_kept_where_there_is_no_systemd(module: Module, old: str) -> None:
    message = "persistent True: this host has no systemd to bring it back; leave out persistent."
    assert message in module(**NEW, persistent=True)["msg"]
    assert shape() == old


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


@pytest.fixture
def appeared(module: Module, old: str, tmp_path: Path) -> Callable[..., int]:
    """Have the device appear without a tree, as udev or its unit say; return how that ended.

    What systemd says comes from files. The real one is in the host lab.
    """
    commands = {
        "systemctl": 'for last do :; done; [ -e "$(dirname "$0")/${last##*.}" ] ',
        "systemd-escape": 'for last do :; done; echo "$last"',
    }
    for name, text in commands.items():
        Path(tmp_path, name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        Path(tmp_path, name).chmod(0o755)
    Path(tmp_path, "service").touch()  # is enabled
    for name, text in {"restore": _hold.PROGRAM, "appeared": APPEARED.replace(PATH, f"{tmp_path}:{PATH}")}.items():
        Path(tmp_path, name).write_text(text, encoding="ascii")
    Path(tmp_path, "near.tc").write_text(module(**OLD)["script"], encoding="ascii")

    def appear(said_by: str, replayed: bool = True) -> int:
        said = {**os.environ, **({"SYNTH_UUID": "0"} if replayed else {})}
        return subprocess.run(["/bin/sh", tmp_path / "appeared", said_by, "near"], check=False, env=said).returncode

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


def test_a_device_that_systemd_takes_for_the_former_one(appeared: Callable[..., int], old: str, tmp_path: Path) -> None:
    """Its unit may not be started then, and must not take what udev noted for it for new when it is."""
    bare()
    Path(tmp_path, "device").touch()
    assert appeared("udev", replayed=False) == 0
    assert shape() == old
    (noted,) = Path("/run").glob("virtnet-qos-made-*")
    bare()
    os.utime(noted, (time.time() - 180,) * 2)
    os.utime(tmp_path / "near.tc", (time.time() - 360,) * 2)
    assert appeared("unit") == 0
    assert shape() == old
    assert not noted.exists()


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
