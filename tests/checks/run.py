# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the layers of checks named as arguments (all without any) and print what ran and what was skipped.

Some run side by side: the labs' machines have one processor each.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COLLECTIONS = ROOT / ".venv/collections"
PYTHON = sys.executable
LAB = (PYTHON, "tests/lab/kernel.py", "--timeout", "1800", "--")


@dataclass(frozen=True)
class Check:
    """One command of a layer.

    ``ran`` finds in its output what it did: a check that has the pattern and did nothing has failed. One without says
    nothing when all is well. ``skipped`` finds what it left out, which fails as well unless it ``may_skip``.
    """

    layer: str
    name: str
    command: tuple[str, ...]
    ran: str = ""
    skipped: str = ""
    may_skip: bool = False
    cwd: Path = ROOT
    variables: tuple[tuple[str, str], ...] = ()


def pytest(layer: str, name: str, *arguments: str, inside: tuple[str, ...] = ()) -> Check:
    """Return a check that runs pytest, ``inside`` a lab or not."""
    command = (*inside, PYTHON, "-m", "pytest", "-q", *arguments)
    return Check(layer, name, command, ran=r"\b(\d+ passed)", skipped=r"^(?:SKIPPED|XFAIL) (.*)")


def molecule(layer: str, name: str, scenario: str, **variables: str) -> Check:
    """Return a check that runs a scenario of Molecule on the host lab."""
    command = ("molecule", "test", "--scenario-name", scenario, "--no-command-borders")
    collection = COLLECTIONS / "ansible_collections/virtnet/qos"
    ran = r"^(\w+ > \w+): Executed: Successful"
    return Check(layer, name, command, ran=ran, cwd=collection, variables=tuple(variables.items()))


def vm_qos(release: str) -> Check:
    """Return a check that runs the scenario of guests on a Debian release."""
    # What Molecule remembers of a scenario is kept apart, so that releases can run side by side.
    remembered = str(ROOT / ".cache/molecule/vm_qos" / release / "molecule")
    variables = {"VM_QOS_RELEASE": release, "MOLECULE_EPHEMERAL_DIRECTORY": remembered}
    return molecule(f"vm_qos_{release}", f"molecule: {release}", "vm_qos", **variables)


ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ANSIBLE_LINT = ("ansible-lint", "--strict", "--nocolor")
FOR_AWX = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/examples/fleet/qos/*.yml"))
MYPY = (str(BIN / "mypy"), "--cache-dir", ".cache/mypy")
CHECKS = [
    Check("lint", "ruff check", ("ruff", "check", "--no-cache", "."), ran=r"(All checks passed)"),
    Check("lint", "ruff format", ("ruff", "format", "--no-cache", "--check", "."), ran=r"(\d+ files) already"),
    Check(
        "lint", "mypy plugins", (*MYPY, "-p", "ansible_collections.virtnet.qos.plugins"), ran=r"in (\d+ source file)"
    ),
    Check(
        "lint",
        "mypy tests",
        (*MYPY, "docs/docsite", "tests/checks", "tests/demo", "tests/faults", "tests/lab"),
        ran=r"in (\d+ source file)",
    ),
    Check("lint", "yamllint", ("yamllint", "--strict", ".")),
    Check("lint", "ansible-lint", ANSIBLE_LINT, ran=r"Passed: (.*)"),
    Check("lint", "ansible-lint, AWX", (*ANSIBLE_LINT, *FOR_AWX), ran=r"Passed: (.* in [1-9].*)"),
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
    Check("docs", "site", (PYTHON, "docs/docsite/build.py"), ran=r"(\d+ pages) in"),
    Check("build", "build, install, render", (PYTHON, "tests/checks/artefact.py"), ran=r"(\d+ documents rendered)"),
    pytest("unit", "pytest", "tests/unit", "tests/controller", "-n", "2"),
    Check(
        "sanity",
        "ansible-test sanity",
        (PYTHON, "tests/checks/run_ansible_test.py", "sanity"),
        ran=r"Running sanity test \"(.*)\"",
        skipped=r"WARNING: (Skipping .*|Required program .*)",
        may_skip=True,  # interpreters that this machine does not have
    ),
    *(
        Check(
            layer,
            f"other {layer}",
            (PYTHON, "tests/checks/elsewhere.py", layer),
            ran=r"(.*): passed$",
            skipped=r"^skipped: (.*)|^WARNING: (Skipping .*|Required program .*)",
            may_skip=True,  # as for sanity
        )
        for layer in ("pythons", "cores")
    ),
    pytest("kernel", "pytest tests/kernel", "tests/kernel", inside=LAB),
    pytest("lab", "pytest tests/lab", "tests/lab"),
    molecule("molecule", "molecule: fleet", "fleet"),
    molecule("host_qos", "molecule: host_qos", "host_qos"),
    molecule("host_qos_forky", "molecule: forky", "host_qos", HOST_QOS_RELEASES="forky"),
    *map(vm_qos, ("bookworm", "forky", "trixie")),
]
# How a fault begins: in Ansible's output, in pytest's, in a compiler's.
FAULT = re.compile(r"fatal: |failed: |\[ERROR\]|E   |FAILED [^-]|ERROR")
# What runs side by side: in each line lanes of layers, on a machine of two processors.
SIDE_BY_SIDE: list[list[tuple[str, ...]]] = [
    [("lint", "docs", "build", "unit", "sanity", "molecule", "lab"), ("kernel", "vm_qos_bookworm")],
    [("host_qos",)],
    [("vm_qos_trixie", "host_qos_forky"), ("vm_qos_forky",)],
    [("pythons",), ("cores",)],
]
# Only where they are named: other Pythons and releases of ansible-core take long and seldom differ; the layer molecule
# measures a guest on trixie, and emulated guests of forky start only now and then, which makes that scenario take half
# an hour.
BY_HAND = {"pythons", "cores", "host_qos_forky", "vm_qos_trixie", "vm_qos_forky"}


@dataclass(frozen=True)
class Outcome:
    """What became of a check."""

    check: Check
    passed: bool
    ran: str
    skipped: list[str]
    seconds: float
    faults: list[str]


def environment() -> dict[str, str]:
    """Return the environment of every check: this virtual environment and this checkout come first."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "MYPYPATH": os.pathsep.join([str(COLLECTIONS), "tests/checks"]),
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }


def run(check: Check, prefix: str = "") -> Outcome:
    """Run one check, passing its output on as it comes."""
    print(f"\n{prefix}== {check.layer}: {check.name}", flush=True)
    started = time.monotonic()
    lines = []
    try:
        with subprocess.Popen(
            check.command,
            cwd=check.cwd,
            env={**environment(), **dict(check.variables)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                print(prefix + line, end="", flush=True)
                lines.append(ANSI.sub("", line).rstrip())
        succeeded = process.returncode == 0
    except OSError as error:
        print(error)
        succeeded = False
    ran = _matches(check.ran, lines)
    skipped = sorted(set(_matches(check.skipped, lines)))
    passed = succeeded and bool(ran or not check.ran) and bool(check.may_skip or not skipped)
    said = ran[0] if len(ran) == 1 else f"{len(ran)} parts" if ran else ""
    return Outcome(check, passed, said, skipped, time.monotonic() - started, [] if passed else _faults(lines))


def run_lanes(lanes: list[list[Check]]) -> list[Outcome]:
    """Run lanes of checks side by side, each line of their output after the name of its layer."""
    if len(lanes) < 2:
        return [run(check) for lane in lanes for check in lane]
    interrupted = threading.Event()

    def run_lane(lane: list[Check]) -> list[Outcome]:
        return [run(check, f"{check.layer:15} | ") for check in lane if not interrupted.is_set()]

    with ThreadPoolExecutor(len(lanes)) as pool:
        try:
            return [outcome for lane in pool.map(run_lane, lanes) for outcome in lane]
        except KeyboardInterrupt:
            interrupted.set()
            raise


def _matches(pattern: str, lines: list[str]) -> list[str]:
    if not pattern:
        return []
    found = (re.search(pattern, line) for line in lines)
    return [next(filter(None, match.groups())) for match in found if match]


def _faults(lines: list[str]) -> list[str]:
    """Return what a reader of a cut log needs: the last faults and what follows each, or the last lines."""
    starts = [number for number, line in enumerate(lines) if FAULT.match(line)][-8:]
    wanted = {number + after for number in starts for after in range(12)} or set(range(len(lines) - 40, len(lines)))
    return [line[:1000] for number, line in enumerate(lines) if number in wanted]


def summary(outcomes: list[Outcome]) -> str:
    """Return the table of what ran and what was skipped, and what the failed ones said."""
    lines = [f"{'layer':15} {'check':25} {'result':7} {'seconds':>7}  ran"]
    for outcome in outcomes:
        result = "passed" if outcome.passed else "FAILED"
        lines.append(
            f"{outcome.check.layer:15} {outcome.check.name:25} {result:7} {outcome.seconds:7.1f}  {outcome.ran}"
        )
        lines += [f"{'':15} {'':25} skipped: {skipped}" for skipped in outcome.skipped]
    for outcome in outcomes:
        if not outcome.passed:
            lines += ["", f"== {outcome.check.layer}: {outcome.check.name}", *outcome.faults]
    failed = sum(not outcome.passed for outcome in outcomes)
    skipped_in_all = sum(len(outcome.skipped) for outcome in outcomes)
    return "\n".join([*lines, "", f"{len(outcomes) - failed} passed, {failed} failed, {skipped_in_all} skipped"])


def main() -> int:
    """Return 0 where every check passed."""
    layers = list(dict.fromkeys(check.layer for check in CHECKS))
    wanted = sys.argv[1:] or [layer for layer in layers if layer not in BY_HAND]
    if not set(wanted) <= set(layers):
        raise SystemExit(f"There are the layers {', '.join(layers)}.")
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        for line in SIDE_BY_SIDE:
            lanes = [[check for check in CHECKS if check.layer in lane and check.layer in wanted] for lane in line]
            outcomes += run_lanes([lane for lane in lanes if lane])
    except KeyboardInterrupt:
        interrupted = True
        print("\nInterrupted.")
    print("\n" + summary(outcomes))
    return 0 if not interrupted and all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
