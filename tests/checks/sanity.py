# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ``ansible-test sanity`` on a copy of the tree, without containers and without downloads.

Arguments are passed on to ansible-test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The one name ansible-core 2.19 looks for (ansible_test/_internal/python_requirements.py).
PIP_BOOTSTRAP = Path("~/.ansible/test/cache/get_pip_24_2.py").expanduser()


def copy_tree(target: Path) -> None:
    """Copy what git would commit: ansible-test insists on a path that ends in the collection's name."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, copy = ROOT / name, target / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)


def search_path() -> str:
    """Return PATH with real interpreters in place of pyenv's shims, at which ansible-test stops."""
    entries = [str(Path(sys.executable).parent)]
    for entry in os.environ["PATH"].split(os.pathsep):
        if Path(entry).name == "shims":
            entries += sorted(str(path) for path in (Path(entry).parent / "versions").glob("3.*/bin"))
        else:
            entries.append(entry)
    return os.pathsep.join(entries)


def main() -> int:
    """Return the exit status of ansible-test."""
    if not PIP_BOOTSTRAP.exists():
        PIP_BOOTSTRAP.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests/checks/bootstrap_pip.py", PIP_BOOTSTRAP)
    with tempfile.TemporaryDirectory(prefix="virtnet-qos-sanity-") as scratch:
        collection = Path(scratch, "ansible_collections/virtnet/qos")
        copy_tree(collection)
        command = [str(Path(sys.executable).with_name("ansible-test")), "sanity", "--color", "no", *sys.argv[1:]]
        environment = {**os.environ, "PATH": search_path()}
        return subprocess.run(command, cwd=collection, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
