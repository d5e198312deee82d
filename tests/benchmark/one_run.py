# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a module's main() once, in a process of its own, and say what that cost.

python one_run.py MEASURES MODULE ARGUMENTS

The module prints its result as always; MEASURES is a file that this writes (JSON): ``imports`` and ``main`` in seconds,
and ``peaks``, the largest resident memory in KiB so far (VmHWM), with Python alone, with Ansible's part, with
the module's, and at the end. ARGUMENTS is a file of the module's options (JSON).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import resource
import sys
import time
from pathlib import Path


def peak() -> int:
    """Return VmHWM. Unlike ru_maxrss it knows nothing of the process that started this one."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found.group(1))


def main(measures: str, name: str, arguments: str) -> None:
    peaks = {"python": peak()}
    begun = time.perf_counter()
    testing = importlib.import_module("ansible.module_utils.testing")
    importlib.import_module("ansible.module_utils.basic")
    peaks["ansible"] = peak()
    module = importlib.import_module(name)
    imported = time.perf_counter()
    peaks["module"] = peak()
    # Ansible, too, hands the options over as text, which main() reads.
    with testing.patch_module_args(json.loads(Path(arguments).read_text(encoding="utf-8"))):
        started = time.perf_counter()
        with contextlib.suppress(SystemExit):
            module.main()
        sys.stdout.flush()
        ended = time.perf_counter()
    peaks["end"] = peak()
    cost = {"imports": imported - begun, "main": ended - started, "peaks": peaks}
    cost["maxrss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Path(measures).write_text(json.dumps(cost), encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
