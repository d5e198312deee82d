# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What other Pythons and releases of ansible-core make of the collection, each in a virtual environment of its own.

``pythons`` runs the tests of what runs on managed hosts with every other Python that is here, beside nothing but
``ansible.module_utils``, as on a host. ``cores`` runs ``ansible-test sanity`` of the other supported releases.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ansible
from sanity import search_path
from tree import ROOT

FOLDER = ROOT / ".cache/elsewhere"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")  # from README, "Requirements", on
# The releases beside that of this environment, and the first Python that each runs on
CORES = {"2.18": "3.11", "2.20": "3.12", "2.21": "3.12"}
PACKAGES = ("hypothesis", "libvirt-python", "lxml", "pyroute2", "pytest", "pyyaml")
# What a test of the controller's side, of documentation or of these checks has in it
OTHERS = re.compile(
    r"tests\.unit\.role|plugins\.(action|filter|plugin_utils)|argument_specs|checks|tests\.lab|ansible-"
)


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
    python = FOLDER / name / "bin/python"
    if not (FOLDER / name / "done").exists():
        subprocess.run([program, "-m", "venv", "--clear", FOLDER / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
        (FOLDER / name / "done").touch()
    return python


def pythons() -> dict[str, int]:
    """Return what became of the tests, by the version of Python."""
    utils = FOLDER / "ansible/module_utils"
    utils.parent.mkdir(parents=True, exist_ok=True)
    (utils.parent / "__init__.py").touch()
    utils.unlink(missing_ok=True)
    utils.symlink_to(Path(ansible.__file__).parent / "module_utils")
    tests = [path for path in sorted(ROOT.glob("tests/unit/test_*.py")) if not OTHERS.search(path.read_text())]
    outcomes = {}
    for version, program in interpreters():
        if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
            continue
        python = environment(f"python{version}", program, *PACKAGES)
        print(f"== Python {version}", flush=True)
        pytest: list[str | Path] = [python, "-m", "pytest", "-q", *tests]
        variables = {**os.environ, "PYTHONPATH": str(FOLDER)}
        outcomes[f"Python {version}"] = subprocess.run(pytest, cwd=ROOT, env=variables, check=False).returncode
    return outcomes


def cores() -> dict[str, int]:
    """Return what became of ``ansible-test sanity``, by the release of ansible-core."""
    there = dict(interpreters())
    outcomes = {}
    for core, version in CORES.items():
        if version not in there:
            print(f"skipped: there is no Python {version} here for ansible-core {core}")
            continue
        python = environment(f"core{core}", there[version], f"ansible-core=={core}.*")
        print(f"== ansible-core {core}", flush=True)
        sanity = [python, ROOT / "tests/checks/sanity.py"]
        outcomes[f"ansible-core {core}"] = subprocess.run(sanity, check=False).returncode
    return outcomes


def main() -> int:
    """Return 0 where all of it passed."""
    outcomes = {"pythons": pythons, "cores": cores}[sys.argv[1]]()
    for name, status in outcomes.items():
        print(f"{name}: {'passed' if status == 0 else 'FAILED'}")
    return 1 if any(outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
