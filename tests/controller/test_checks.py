# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner of the checks tells the truth: green is only what ran and passed."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).resolve().parents[1] / "checks/run.py"


@pytest.fixture(scope="module")
def runner() -> Any:
    spec = importlib.util.spec_from_file_location("checks_run", RUN)
    assert spec
    assert spec.loader
    module = sys.modules["checks_run"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("output", "status", "passed"),
    [
        ("5 passed in 1s", 0, True),
        ("5 passed in 1s", 1, False),
        ("", 0, False),
        ("5 skipped in 1s", 0, False),
        ("SKIPPED [5] tests/x.py:3: no kernel\n5 passed, 5 skipped in 1s", 0, False),
    ],
)
def test_a_layer_of_tests_passes_when_all_of_it_ran(runner: Any, output: str, status: int, passed: bool) -> None:
    check = runner.pytest("unit", "pytest")
    command = (sys.executable, "-c", f"print({output!r}); raise SystemExit({status})")
    assert runner.run(dataclasses.replace(check, command=command)).passed is passed


def test_a_program_that_is_missing_is_a_failure(runner: Any) -> None:
    outcome = runner.run(runner.Check("lint", "nothing", ("/nowhere/program",)))
    assert not outcome.passed
    assert "0 passed, 1 failed" in runner.summary([outcome])


def test_a_failure_is_told_again_at_the_end(runner: Any) -> None:
    said = "\n".join([*map(str, range(100)), "fatal: [h1]: FAILED! => broken", *map(str, range(100, 200))])
    check = runner.Check("molecule", "scenario", (sys.executable, "-c", f"print({said!r}); raise SystemExit(1)"))
    lines = runner.summary([runner.run(check)]).splitlines()
    assert "fatal: [h1]: FAILED! => broken" in lines
    assert "110" in lines
    assert "111" not in lines


def test_an_unknown_layer_is_refused() -> None:
    done = subprocess.run([sys.executable, str(RUN), "nosuch"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "There are the layers lint, docs, build" in done.stderr


def test_every_layer_has_its_place(runner: Any) -> None:
    placed = [layer for line in runner.SIDE_BY_SIDE for lane in line for layer in lane]
    assert sorted(placed) == sorted({check.layer for check in runner.CHECKS})
    assert set(placed) > runner.BY_HAND
