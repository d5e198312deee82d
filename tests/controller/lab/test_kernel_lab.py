# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the kernel lab says when it cannot start; the programs it needs are pretended, so this runs anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[2] / "lab" / "kernel.py"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "tmp").mkdir()
    return folder


def pretend(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    (folder / name).chmod(0o755)


def lab(programs: Path, *arguments: str) -> tuple[int, str]:
    temporary = programs.parent / "tmp"
    done = subprocess.run(
        [sys.executable, str(KERNEL), *arguments],
        env={"PATH": str(programs), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout == ""
    assert list(temporary.iterdir()) == []
    return done.returncode, done.stderr


def test_without_uml_it_names_the_package(programs: Path) -> None:
    said = lab(programs, "--kernel", "uml", "--", "true")
    assert said == (125, "kernel lab: linux.uml is missing: apt-get install user-mode-linux\n")


def test_without_the_modules_of_uml_it_names_the_package(programs: Path) -> None:
    for name in ("ip", "modprobe"):
        pretend(programs, name, "exit 1")
    pretend(programs, "linux.uml", "echo 0.0.0")
    status, said = lab(programs, "--kernel", "uml", "--", "true")
    assert status == 125
    assert "/usr/lib/uml/modules/0.0.0" in said
    assert said.endswith("apt-get install --reinstall user-mode-linux\n")


def test_a_running_kernel_without_hfsc_is_refused(programs: Path) -> None:
    for name in ("ip", "tc"):
        pretend(programs, name, "exit 1")
    pretend(programs, "unshare", "echo 'no such qdisc' >&2; exit 2")
    said = lab(programs, "--kernel", "running", "--", "true")
    assert said == (125, "kernel lab: the running kernel will not do (ip: no such qdisc): use --kernel uml\n")


@pytest.mark.parametrize(
    "arguments",
    [(), ("--",), ("true",), ("--timeout", "0", "--", "true"), ("--memory", "much", "--", "true")],
)
def test_what_is_not_understood_is_refused(programs: Path, arguments: tuple[str, ...]) -> None:
    status, said = lab(programs, *arguments)
    assert status == 2
    assert said.startswith("usage: kernel.py [options] -- COMMAND [ARG...]\n")
