# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host keeps for its next boot, as far as that needs no systemd; that one is in the host lab."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _boot, _files
from ansible_collections.virtnet.qos.plugins.module_utils._boot import Boot
from ansible_collections.virtnet.qos.plugins.module_utils._restore import APPEARED, PROGRAM
from ansible_collections.virtnet.qos.plugins.module_utils._systemd import CommandFailed, escape

COMMON = [
    "virtnet-qos/restore",
    "virtnet-qos/appeared",
    "units/virtnet-qos@.service",
    "rules/90-virtnet-qos.rules",
]


@pytest.mark.parametrize("program", [PROGRAM, APPEARED])
def test_the_programs_are_sound(program: str) -> None:
    checked = subprocess.run(
        ["shellcheck", "-"], input=program, capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


# The right side is what systemd-escape(1) of systemd 252 says.
@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("eth0", "eth0"),
        ("eth0.100", "eth0.100"),
        ("br-lan", "br\\x2dlan"),
        (".x", "\\x2ex"),
        ("-x", "\\x2dx"),
        ("a@b", "a\\x40b"),
        ("bond0:1", "bond0:1"),
        ("a_b", "a_b"),
        ("ü0", "\\xc3\\xbc0"),
    ],
)
def test_a_name_in_a_units_name(name: str, escaped: str) -> None:
    assert escape(name) == escaped


class Systemctl:
    """Makes and removes the links that systemctl would."""

    def __init__(self, units: Path) -> None:
        self.units = units
        self.calls: list[list[str]] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        self.calls.append(command)
        wants = self.units / "sys-subsystem-net-devices-eth0.device.wants"
        if command[1] == "enable":
            wants.mkdir(exist_ok=True)
            Path(wants, command[-1]).symlink_to(self.units / "virtnet-qos@.service")
        elif command[1] == "disable":
            Path(wants, command[-1]).unlink(missing_ok=True)
            shutil.rmtree(wants, ignore_errors=True)
        return 0, "", ""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    monkeypatch.setattr(_boot, "FOLDER", tmp_path / "virtnet-qos")
    for name in ("UNITS", "RULES", "RUNTIME_UNITS"):
        monkeypatch.setattr(_boot, name, tmp_path / name.lower())
        Path(tmp_path, name.lower()).mkdir()
    monkeypatch.setattr(Boot, "_is_physical", lambda _boot: False)
    return Systemctl(tmp_path / "units")


def there(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_a_tree_is_kept_changed_and_forgotten(systemctl: Systemctl, tmp_path: Path) -> None:
    eth0, eth1 = Boot("eth0"), Boot("eth1")
    assert eth0.brings("one\n") == "nothing"
    eth0.check_writable("one\n")
    assert not there(tmp_path)
    eth0.keep("one\n", systemctl)
    assert eth0.brings("one\n") == "this tree"
    assert eth0.brings("two\n") == "another tree"
    assert (tmp_path / "virtnet-qos").stat().st_mode & 0o777 == 0o700
    assert eth0.batch.stat().st_mode & 0o777 == 0o600
    before = len(systemctl.calls)
    eth0.keep("one\n", systemctl)
    eth0.keep("two\n", systemctl)
    assert len(systemctl.calls) == before
    assert eth0.batch.read_text(encoding="ascii") == "two\n"
    eth1.batch.write_text("three\n", encoding="ascii")
    eth0.keep("", systemctl)
    assert there(tmp_path) == {"virtnet-qos/eth1.tc", *COMMON}
    (tmp_path / "units/sys-subsystem-net-devices-eth0.device.wants").mkdir()
    (tmp_path / "units/sys-subsystem-net-devices-eth0.device.wants/virtnet-qos@eth1.service").touch()
    eth1.keep("", systemctl)
    assert not list(tmp_path.glob("virtnet-qos"))
    assert there(tmp_path) == set()


@pytest.mark.parametrize("lost", [*COMMON, "units/*.wants/virtnet-qos@eth0.service"])
def test_what_somebody_took_away_is_seen_and_comes_back(systemctl: Systemctl, tmp_path: Path, lost: str) -> None:
    Boot("eth0").keep("one\n", systemctl)
    whole = there(tmp_path)
    next(tmp_path.glob(lost)).unlink()
    assert Boot("eth0").brings("one\n") == "nothing, since its unit is not as it should be"
    if not lost.endswith("eth0.service"):
        next(tmp_path.glob("units/*.wants/*")).unlink()  # systemctl enable takes one that is there for granted
    Boot("eth0").keep("one\n", systemctl)
    assert there(tmp_path) == whole


def test_a_unit_that_cannot_be_enabled_is_an_error(systemctl: Systemctl) -> None:
    with pytest.raises(CommandFailed, match=r"^systemctl daemon-reload: no bus$"):
        Boot("eth0").keep("one\n", lambda _command: (1, "", "no bus\n"))


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "eth0.tc"
    _files.write(path, "old")

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        _files.write(path, "new")
    assert [(each.name, each.read_text(encoding="ascii")) for each in tmp_path.iterdir()] == [("eth0.tc", "old")]


def test_what_a_run_left_that_was_ended_while_it_wrote_goes(systemctl: Systemctl, tmp_path: Path) -> None:
    eth0 = Boot("eth0")
    eth0.keep("one\n", systemctl)
    left = [
        tmp_path / each
        for each in ("virtnet-qos/.eth0.tc.123", "units/.virtnet-qos@.service.123", "rules/.90-virtnet-qos.rules.123")
    ]
    for path in left:
        path.touch()
    eth0.keep("two\n", systemctl)
    assert [path.exists() for path in left] == [False, True, True]
    left[0].touch()
    eth0.keep("", systemctl)
    assert there(tmp_path) == set()
    assert not list(tmp_path.glob("virtnet-qos"))


def test_what_is_somebody_elses_makes_no_other_tree(systemctl: Systemctl) -> None:
    eth0 = Boot("eth0")
    eth0.keep("one\n", systemctl)
    assert not eth0.differs("one\n# Not of virtnet.qos, and not here: qdisc clsact ffff:\n")


class Killed(BaseException):
    """Nothing that could be handled."""


@pytest.mark.parametrize("writes", range(6))
def test_a_first_run_that_was_ended_while_it_wrote_leaves_nothing(
    systemctl: Systemctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    count = iter(range(writes))

    def write(*arguments: Any) -> None:
        if next(count, None) is None:
            raise Killed
        _files.write(*arguments)

    eth0 = Boot("eth0")
    with monkeypatch.context() as patch:
        patch.setattr(_boot, "write", write)
        with contextlib.nullcontext() if writes == 5 else pytest.raises(Killed):
            eth0.keep("one\n", systemctl)
    assert eth0.differs("")
    eth0.keep("", systemctl)
    assert not eth0.differs("")
    assert there(tmp_path) == set()
    assert not list(tmp_path.glob("virtnet-qos"))


@pytest.mark.parametrize("where", ["units", "runtime_units"])
def test_a_unit_that_is_masked_brings_nothing(systemctl: Systemctl, tmp_path: Path, where: str) -> None:
    eth0 = Boot("eth0")
    eth0.keep("one\n", systemctl)
    Path(tmp_path, where, eth0.unit).symlink_to("/dev/null")
    assert eth0.is_masked
    assert eth0.brings("one\n") == "nothing, since its unit is not as it should be"


def test_a_unit_that_is_masked_goes_all_the_same(systemctl: Systemctl, tmp_path: Path) -> None:
    """systemctl disable ignores it, and says so to nobody."""
    eth0 = Boot("eth0")
    eth0.keep("one\n", systemctl)
    eth0.keep("", lambda _command: (0, "", ""))
    assert there(tmp_path) == set()
    assert not eth0.differs("")


def test_somebody_elses_file_is_left_alone(systemctl: Systemctl, tmp_path: Path) -> None:
    eth0 = Boot("eth0")
    eth0.keep("one\n", systemctl)
    Path(tmp_path, "virtnet-qos/eth0.tc.orig").touch()
    eth0.keep("", systemctl)
    assert there(tmp_path) == {"virtnet-qos/eth0.tc.orig"}
    assert not eth0.differs("")
    assert not Boot("eth7").differs("")


def test_the_handle_of_what_is_kept(systemctl: Systemctl) -> None:
    eth0 = Boot("eth0")
    assert eth0.major() is None
    eth0.keep("# a tree\nqdisc add dev eth0 root handle 2a: hfsc default 1388\n", systemctl)
    assert eth0.major() == 0x2A
