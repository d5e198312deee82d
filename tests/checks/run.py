# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the layers of checks named as arguments (all without any) and print what ran and what was skipped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COLLECTIONS = ROOT / ".venv/collections"
PYTHON = sys.executable
LAB = (PYTHON, "tests/lab/kernel.py", "--timeout", "900", "--")


@dataclass(frozen=True)
class Check:
    """One command of a layer. ``ran`` and ``skipped`` find in its output what it says of itself."""

    layer: str
    name: str
    command: tuple[str, ...]
    ran: str = ""
    skipped: str = ""
    cwd: Path = ROOT


def pytest(layer: str, name: str, *arguments: str, inside: tuple[str, ...] = ()) -> Check:
    """Return a check that runs pytest, ``inside`` a lab or not."""
    command = (*inside, PYTHON, "-m", "pytest", "-q", *arguments)
    return Check(layer, name, command, ran=r"(\d+ passed)", skipped=r"^SKIPPED (.*)|(\d+ (?:skipped|xfailed))")


MYPY = (str(BIN / "mypy"), "--cache-dir", ".cache/mypy")
CHECKS = [
    Check("lint", "ruff check", ("ruff", "check", "--no-cache", "."), ran=r"(All checks passed)"),
    Check("lint", "ruff format", ("ruff", "format", "--no-cache", "--check", "."), ran=r"(\d+ files) already"),
    Check(
        "lint", "mypy plugins", (*MYPY, "-p", "ansible_collections.virtnet.qos.plugins"), ran=r"in (\d+ source file)"
    ),
    Check("lint", "mypy tests", (*MYPY, "tests/checks", "tests/demo", "tests/lab"), ran=r"in (\d+ source file)"),
    Check("lint", "yamllint", ("yamllint", "--strict", ".")),
    Check("lint", "ansible-lint", ("ansible-lint", "--strict", "--nocolor"), ran=r"Passed: (.*)"),
    Check(
        "lint",
        "antsibull-docs",
        (
            *("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck"),
            *("--validate-collection-refs=all", "--disallow-unknown-collection-refs", "."),
        ),
        cwd=COLLECTIONS / "ansible_collections/virtnet/qos",
    ),
    Check("lint", "antsibull-changelog", ("antsibull-changelog", "lint")),
    Check("lint", "reuse", ("reuse", "lint"), ran=r"Files with license information: (.*)"),
    Check("build", "build, install, render", (PYTHON, "tests/checks/artefact.py"), ran=r"(\d+ documents rendered)"),
    pytest("unit", "pytest tests/unit", "tests/unit", "-n", "2"),
    Check(
        "sanity",
        "ansible-test sanity",
        (PYTHON, "tests/checks/sanity.py"),
        ran=r"Running sanity test \"(.*)\"",
        skipped=r"WARNING: (Skipping .*|Required program .*)",
    ),
    pytest("kernel", "pytest tests/kernel", "tests/kernel", inside=LAB),
    pytest("lab", "pytest tests/lab", "tests/lab"),
    Check(
        "molecule",
        "molecule on the host lab",
        ("molecule", "test", "--all", "--no-command-borders"),
        ran=r"(?:INFO|DEBUG) +\[?\S+ (?:>|➜) (\w+)\]?: Executed: Successful",
        cwd=COLLECTIONS / "ansible_collections/virtnet/qos",
    ),
]


@dataclass(frozen=True)
class Outcome:
    """What became of a check."""

    check: Check
    passed: bool
    ran: str
    skipped: list[str]
    seconds: float


def environment() -> dict[str, str]:
    """Return the environment of every check: this virtual environment and this checkout come first."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "MYPYPATH": str(COLLECTIONS),
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(check: Check) -> Outcome:
    """Run one check, passing its output on as it comes."""
    print(f"\n== {check.layer}: {check.name}", flush=True)
    started = time.monotonic()
    lines = []
    with subprocess.Popen(
        check.command,
        cwd=check.cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line.rstrip())
    ran = _matches(check.ran, lines)
    return Outcome(
        check,
        process.returncode == 0,
        ran[-1] if len(ran) == 1 else f"{len(ran)} tests" if ran else "",
        sorted(set(_matches(check.skipped, lines))),
        time.monotonic() - started,
    )


def _matches(pattern: str, lines: list[str]) -> list[str]:
    if not pattern:
        return []
    found = (re.search(pattern, line) for line in lines)
    return [next(filter(None, match.groups())) for match in found if match]


def main() -> int:
    """Return 0 where every check passed."""
    layers = sys.argv[1:] or list(dict.fromkeys(check.layer for check in CHECKS))
    outcomes = [run(check) for check in CHECKS if check.layer in layers]
    print(f"\n{'layer':9} {'check':25} {'result':7} {'seconds':>7}  ran")
    for outcome in outcomes:
        result = "passed" if outcome.passed else "FAILED"
        print(f"{outcome.check.layer:9} {outcome.check.name:25} {result:7} {outcome.seconds:7.1f}  {outcome.ran}")
        for skipped in outcome.skipped:
            print(f"{'':9} {'':25} skipped: {skipped}")
    failed = sum(not outcome.passed for outcome in outcomes)
    total_skipped = sum(len(outcome.skipped) for outcome in outcomes)
    print(f"\n{len(outcomes) - failed} passed, {failed} failed, {total_skipped} skipped")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
