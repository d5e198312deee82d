# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ``ansible-test`` on a copy of the tree, without containers and without downloads.

The arguments are its own, such as ``sanity`` or ``units --venv --requirements --python 3.9``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ansible_test
from tree import copy_tree

CACHE = Path("~/.ansible/test/cache").expanduser()


def bootstrap_name() -> str:
    """Return the name of the script that this release of ansible-core would download."""
    source = Path(ansible_test.__path__[0], "_internal/python_requirements.py").read_text(encoding="utf-8")
    (version,) = set(re.findall(r"\bpip='([0-9.]+)'", source))
    return f"get_pip_{version.replace('.', '_')}.py"


def search_path() -> str:
    """Return PATH with real interpreters in place of pyenv's shims, at which ansible-test stops."""
    entries = [str(Path(sys.executable).parent)]
    for entry in os.environ["PATH"].split(os.pathsep):
        if Path(entry).name == "shims":
            entries += sorted(str(path) for path in (Path(entry).parent / "versions").glob("3.*/bin"))
        else:
            entries.append(entry)
    return os.pathsep.join(entries)


@contextmanager
def pip_bootstrap() -> Iterator[None]:
    """Put our bootstrap where ansible-test looks for its own, for as long as it runs."""
    bootstrap = CACHE / bootstrap_name()
    if bootstrap.exists():
        yield
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("bootstrap_pip.py"), bootstrap)
    try:
        yield
    finally:
        bootstrap.unlink(missing_ok=True)


def main() -> int:
    """Return the exit status of ansible-test."""
    with pip_bootstrap(), tempfile.TemporaryDirectory(prefix="virtnet-qos-test-") as scratch:
        collection = Path(scratch, "ansible_collections/virtnet/qos")
        copy_tree(collection)
        command = [str(Path(sys.executable).with_name("ansible-test")), *sys.argv[1:], "--color", "no"]
        environment = {**os.environ, "PATH": search_path()}
        return subprocess.run(command, cwd=collection, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
