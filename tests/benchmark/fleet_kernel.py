# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of the simulated fleet that have an uplink: network namespaces of the kernel lab.

python fleet_kernel.py FOLDER OPTIONS HOST...

Ansible starts processes all the time, which is slow in User-Mode Linux. So the controller is outside, as it would be,
and modules run here. Files are what both sides share: ``jobs/NAME.job`` has a host and a Python, a line each;
``NAME.in`` is its program, ``NAME.out`` and ``NAME.err`` become its output, and ``NAME.status`` says that it is over.
The program is no standard input, as it is with pipelining elsewhere: Python reads that byte by byte, each a system
call, which costs ten seconds a module here instead of a tenth of one.
OPTIONS is a file of what tc_hfsc_class is given (JSON), so that all uplinks have their classes before anything begins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import sides

POLL = 0.05


def main(folder: str, options: str, *hosts: str) -> None:
    jobs = Path(folder, "jobs")
    for host in hosts:
        sides.run("ip", "netns", "add", host)
        sides.run("ip", "-netns", host, "-batch", "-", batch="link add near type dummy\nlink set near up\n")
    one_run = [sys.executable, str(sides.ROOT / "tests/benchmark/one_run.py"), os.devnull, sides.MODULE, options]
    made = json.loads(sides.run("ip", "netns", "exec", hosts[0], *one_run))
    if not made["changed"]:
        raise RuntimeError(str(made))
    for host in hosts[1:]:
        sides.run("tc", "-netns", host, "-batch", "-", batch=made["script"])
    (jobs / "ready").touch()
    serve(jobs)


def serve(jobs: Path) -> None:
    """Run what comes, all at once, until the file ``stop`` is there."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    while not (jobs / "stop").exists():
        for path in jobs.glob("*.job"):
            host, *command = path.read_text(encoding="utf-8").splitlines()
            path.unlink()
            running[path.stem] = start(jobs / path.stem, ["ip", "netns", "exec", host, *command])
        for name, process in list(running.items()):
            status = process.poll()
            if status is not None:
                del running[name]
                unfinished = jobs / f"{name}.unfinished"
                unfinished.write_text(f"{status}\n", encoding="ascii")
                unfinished.rename(jobs / f"{name}.status")
        time.sleep(POLL)


def start(job: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a command with its program; a file is written out when the last process that has it open closes it."""
    program, out, err = (job.with_suffix(f".{each}") for each in ("in", "out", "err"))
    with out.open("wb") as output, err.open("wb") as errors:
        return subprocess.Popen([*command, program], stdin=subprocess.DEVNULL, stdout=output, stderr=errors)


if __name__ == "__main__":
    main(*sys.argv[1:])
