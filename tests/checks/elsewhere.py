# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What other Pythons and releases of ansible-core make of the collection, each in a virtual environment of its own.

``pythons`` runs ``ansible-test units`` with every Python that is here: modules and their utilities with those of
managed hosts, the other plugins with those of controllers. ``cores`` runs ``ansible-test sanity`` of the other
releases, and the tests of roles and playbooks with them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from run_ansible_test import search_path
from tree import ROOT

FOLDER = ROOT / ".cache/elsewhere"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")  # from README, "Requirements", on
# The releases beside that of this environment, and the first Python that each runs on
CORES = {"2.18": "3.11", "2.20": "3.12", "2.21": "3.12"}
# Roles and playbooks are run on this machine as on a managed host.
NEEDED = re.compile(r"^(?:libvirt-python|lxml|pyroute2|pytest)[<>=].*", re.MULTILINE)
ANSIBLE_TEST = str(ROOT / "tests/checks/run_ansible_test.py")


def interpreters() -> Iterator[tuple[str, str]]:
    """Yield the versions of Python that are here, each with its program."""
    for version in PYTHONS:
        program = shutil.which(f"python{version}", path=search_path())
        if program:
            yield version, program
        else:
            print(f"skipped: there is no Python {version} here")


def environment(name: str, program: str, *packages: str) -> Path:
    """Return the Python of a virtual environment that has these packages."""
    python, done = FOLDER / name / "bin/python", FOLDER / name / "done"
    wanted = "\n".join(packages)
    if not done.exists() or done.read_text() != wanted:
        subprocess.run([program, "-m", "venv", "--clear", FOLDER / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
        done.write_text(wanted)
    return python


def pythons() -> dict[str, int]:
    """Return what became of ``ansible-test units``, by the version of Python."""
    outcomes = {}
    for version, _program in interpreters():
        print(f"== Python {version}", flush=True)
        units = [sys.executable, ANSIBLE_TEST, "units", "--venv", "--requirements", "--python", version]
        outcomes[f"Python {version}"] = subprocess.run(units, check=False).returncode
    return outcomes


def cores() -> dict[str, int]:
    """Return what became of ``ansible-test sanity``, roles and playbooks, by the release of ansible-core."""
    there = dict(interpreters())
    needed = NEEDED.findall((ROOT / "tests/requirements.txt").read_text(encoding="utf-8"))
    tests = [
        str(path) for kind in ("role", "playbook") for path in sorted(ROOT.glob(f"tests/controller/test_{kind}*.py"))
    ]
    outcomes = {}
    for core, version in CORES.items():
        if version not in there:
            print(f"skipped: there is no Python {version} here for ansible-core {core}")
            continue
        python = environment(f"core{core}", there[version], f"ansible-core=={core}.*", *needed)
        print(f"== ansible-core {core}", flush=True)
        sanity = [str(python), ANSIBLE_TEST, "sanity"]
        outcomes[f"ansible-core {core}"] = subprocess.run(sanity, check=False).returncode
        pytest = [str(python), "-m", "pytest", "-q", *tests]
        outcomes[f"roles and playbooks, ansible-core {core}"] = subprocess.run(pytest, cwd=ROOT, check=False).returncode
    return outcomes


def main() -> int:
    """Return 0 where all of it passed."""
    outcomes = {"pythons": pythons, "cores": cores}[sys.argv[1]]()
    for name, status in outcomes.items():
        print(f"{name}: {'passed' if status == 0 else 'FAILED'}")
    return 1 if any(outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
