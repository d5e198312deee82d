# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure a steady run of virtnet.qos.site over a simulated fleet, against loops of virsh and tc that do the same.

    .venv/bin/python tests/benchmark/fleet.py [--json FILE]

Two fleets of 200 hosts with 20 NICs each, since a kernel with HFSC is to be had in the kernel lab only, where starting
a process is slow: whole hosts, uplinks of 20 VLANs included, whose modules run in the kernel lab; and guests alone,
whose modules run on this machine. Ansible itself runs here for both. The loops run over some of the hosts, and over
some of the items in the kernel lab, and are scaled: each host, and each item more, costs what one does. Both sides have
the same forks, pipelining, fact gathering and packages, and take turns within each round; a ratio is the median of the
rounds' own. A task run is a start of a module on a host, each item of a loop by itself. Exits with 1 if a limit was
missed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import fleet_hosts
import fleet_plays
import sides
from fleet_hosts import Hosts
from fleet_plays import Cost
from tc_hfsc_class import Report, alternate, spread

PER_HOST: dict[str, tuple[str, Callable[[Cost], float]]] = {
    "task runs": ("a host", lambda cost: cost.modules),
    "wall time": ("s/host", lambda cost: cost.wall),
    "processor of the controller": ("s/host", lambda cost: cost.processor),
}
MUST = {"task runs": 1 / 20, "wall time": 1 / 10}
VARIANTS = {
    "forks 5": {"ANSIBLE_FORKS": "5"},
    "forks 20": {"ANSIBLE_FORKS": "20"},
    "no pipelining": {"ANSIBLE_PIPELINING": "0"},
    "strategy free": {"ANSIBLE_STRATEGY": "free"},
    "no facts as variables": {"ANSIBLE_INJECT_FACT_VARS": "0"},
}


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    needed()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="virtnet-qos-fleet-") as name:
        folder = Path(name)
        (folder / "jobs").mkdir()
        runner = fleet_plays.Runner(folder, options.forks)
        guests(report, runner, options)
        variants(report, runner, options)
        whole(report, runner, options)
    report.beside["machine"] = f"{platform.machine()}, forks {options.forks}, rounds {options.rounds}"
    report.show()
    if options.json:
        options.json.write_text(json.dumps(report.data(vars(options)), indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.met is not False for row in report.rows) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a steady run over a simulated fleet.")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--forks", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--hosts", type=int, default=200, help="of each fleet; default: %(default)s")
    parser.add_argument("--looped", type=int, default=10, help="hosts of the loops; default: %(default)s")
    parser.add_argument("--items", type=int, default=3, help="of each loop in the lab; default: %(default)s")
    parser.add_argument("--variants", type=int, default=20, help="hosts of other settings; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    return parser.parse_args(arguments)


def needed() -> None:
    """Say what is missing: a host's Python is the system's, with what the role prepare installs."""
    for command in (f"{fleet_hosts.PYTHON} -c 'import apt, libvirt, lxml, pyroute2'", "virsh --version"):
        if subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode:
            packages = " ".join(["libvirt-clients", "python3-apt", *fleet_hosts.PACKAGES])
            raise SystemExit(f"{command} fails: apt-get install {packages}")


class Comparison(NamedTuple):
    """Two ways to have the same hosts as they are to be, and what of ours may cost how much of the loops'."""

    work: str
    against: str
    ours: Callable[[], Cost]
    loops: Callable[[], Cost]
    must: Mapping[str, float] = {}


def compare(report: Report, this: Comparison, rounds: int) -> None:
    """Run both sides in turn; a row for each of what they cost a host, and beside it how that came about."""
    work = this.work
    rows = {
        name: report.row(f"{work}: {name}", this.against, unit, this.must.get(name), "")
        for name, (unit, _of) in PER_HOST.items()
    }
    samples: dict[str, list[Cost]] = {"ours": [], "loops": []}
    for number in range(rounds):
        begun = time.monotonic()
        alternate(number, lambda: samples["ours"].append(this.ours()), lambda: samples["loops"].append(this.loops()))
        print(f"{work}, round {number + 1} of {rounds}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    for name, row in rows.items():
        of = PER_HOST[name][1]
        row.ours, row.theirs = ([of(cost) / cost.hosts for cost in samples[side]] for side in ("ours", "loops"))
        row.note = f"{1 / row.measured:.1f} times less"
    for side, costs in samples.items():
        each = {
            "tasks not skipped, of which some only on the controller": [cost.tasks / cost.hosts for cost in costs],
            "tasks skipped": [cost.skipped / cost.hosts for cost in costs],
            "processor of Ansible's first process (s)": [cost.main / cost.hosts for cost in costs],
            "processor of the modules (s)": [cost.on_hosts / cost.hosts for cost in costs],
        }
        for name, values in each.items():
            report.beside[f"{work}, {side}, a host: {name}"] = spread(values)
        busy = [(cost.processor + cost.on_hosts) / cost.wall for cost in costs]
        report.beside[f"{work}, {side}: processors busy"] = spread(busy)
        report.beside[f"{work}, {side}: memory of Ansible's processes (MiB)"] = spread([cost.memory for cost in costs])


def guests(report: Report, runner: fleet_plays.Runner, options: argparse.Namespace) -> None:
    hosts = Hosts(runner.folder, "guests", options.hosts, uplink=False)
    few = Hosts(runner.folder, "looped", options.looped, uplink=False)
    against = f"loop of virsh domiftune, {options.looped} hosts"
    compare(
        report,
        Comparison(
            f"guests of {options.hosts} hosts",
            against,
            ours=lambda: runner.play(hosts, fleet_plays.SITE),
            loops=lambda: runner.play(few, fleet_plays.loops(uplink=False), changed=True),
        ),
        options.rounds,
    )


def variants(report: Report, runner: fleet_plays.Runner, options: argparse.Namespace) -> None:
    """Other settings of Ansible, each against the ones that all else here is measured with."""
    print("measuring: settings", file=sys.stderr, flush=True)
    hosts = Hosts(runner.folder, "settings", options.variants, uplink=False)
    samples: dict[str, list[Cost]] = {}

    def run(name: str) -> None:
        settings = {**runner.environment, **VARIANTS.get(name, {})}
        samples.setdefault(name, []).append(runner.play(hosts, fleet_plays.SITE, environment=settings))

    alone: list[Cost] = []
    single = Hosts(runner.folder, "alone", 1, uplink=False)
    names = ["as above", *VARIANTS]
    for number in range(options.rounds):
        each = (functools.partial(run, name) for name in names)
        alternate(number, *each, lambda: alone.append(runner.play(single, fleet_plays.SITE)))
    report.beside["a run over one host alone: processor, modules included (s)"] = spread(
        [cost.processor + cost.on_hosts for cost in alone]
    )
    for name in VARIANTS:
        ratios = {
            what: spread([of(this) / of(that) for this, that in zip(samples[name], samples["as above"])])
            for what, (_unit, of) in PER_HOST.items()
            if what != "task runs"
        }
        for what, ratio in ratios.items():
            report.beside[f"guests of {options.variants} hosts, {name}: {what}, ratio"] = ratio


@contextlib.contextmanager
def kernel_lab(folder: Path, hosts: list[str]) -> Iterator[None]:
    """Have these hosts in the kernel lab, each with the classes that it is to have."""
    wanted = folder / "classes.json"
    wanted.write_text(json.dumps(fleet_hosts.declared(uplink=True)["host_qos_devices"][0]), encoding="utf-8")
    program = [sys.executable, str(sides.ROOT / "tests/benchmark/fleet_kernel.py"), str(folder), str(wanted), *hosts]
    lab = [sys.executable, str(sides.ROOT / "tests/lab/kernel.py"), "--memory", "2048", "--timeout", "14400", "--"]
    process = subprocess.Popen([*lab, *program])
    try:
        while not (folder / "jobs/ready").exists():
            if process.poll() is not None:
                raise RuntimeError("the kernel lab ended")
            time.sleep(0.1)
        yield
    finally:
        (folder / "jobs/stop").touch()
        process.wait(60)


def whole(report: Report, runner: fleet_plays.Runner, options: argparse.Namespace) -> None:
    hosts = Hosts(runner.folder, "whole", options.hosts, uplink=True)
    looped = Hosts(runner.folder, "lab-looped", options.looped, uplink=True)
    all_items = fleet_plays.items(fleet_plays.loops(uplink=True))

    def loops() -> Cost:
        few, some = (fleet_plays.loops(uplink=True, most=most) for most in (1, options.items))
        first, then = (runner.play(looped, playbook, changed=True) for playbook in (few, some))
        more = (all_items - fleet_plays.items(few)) / (fleet_plays.items(some) - fleet_plays.items(few))
        scaled = {
            name: getattr(first, name) + more * (getattr(then, name) - getattr(first, name))
            for name in ("wall", "processor", "main", "on_hosts", "modules")
        }
        return first._replace(**scaled)

    against = f"loops of tc and virsh, {options.looped} hosts, {options.items} items each, scaled"
    with kernel_lab(runner.folder, [*hosts.names, *looped.names]):
        name = f"{options.hosts} whole hosts in the kernel lab"
        ours = functools.partial(runner.play, hosts, fleet_plays.SITE)
        compare(report, Comparison(name, against, ours, loops, MUST), options.rounds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
