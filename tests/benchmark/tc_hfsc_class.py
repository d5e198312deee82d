# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure tc_hfsc_class against tc, and traffic through its tree against traffic through others.

    .venv/bin/python tests/benchmark/tc_hfsc_class.py [--json FILE]

Starts the kernel lab by itself. What is compared alternates within each round, since machines are noisy. A ratio is
the median of the rounds' own ratios. The module's times are those of main(), each in a process of its own whose
imports are done; tc's are those of its process, whose start is shown beside. Exits with 1 if a limit was missed.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import sides

MEMORY = 2048  # MiB of the lab: 4 000 fq_codel take some 300 of them


@dataclass
class Row:
    """A line of the table: samples of ours and of what they are compared with, a pair a round.

    ``must`` and ``aim`` are limits of ours / theirs, or of ours where there is nothing to compare with.
    """

    work: str
    against: str
    unit: str
    must: float | None
    aim: str
    more_is_better: bool = False
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    note: str = ""

    def add(self, ours: float, theirs: float) -> None:
        self.ours.append(ours)
        self.theirs.append(theirs)

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs)]

    @property
    def measured(self) -> float:
        return statistics.median(self.ratios or self.ours)

    @property
    def met(self) -> bool | None:
        if self.must is None:
            return None
        return self.measured >= self.must if self.more_is_better else self.measured <= self.must


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    if os.environ.get("VIRTNET_QOS_KERNEL_LAB") != "1":
        lab = [sys.executable, str(sides.ROOT / "tests/lab/kernel.py"), "--memory", str(MEMORY), "--timeout", "3600"]
        os.execv(lab[0], [*lab, "--", sys.executable, str(Path(__file__).resolve()), *arguments])  # noqa: S606
    vlans = range(1, options.classes + 1)
    sides.lay_wire(vlans[-1])
    report = Report()
    scripts = creation(report, vlans, options.rounds)
    nothing_and_one(report, vlans, options.rounds)
    whole(report, vlans)
    throughput(report, {**scripts, "vdsm": sides.vdsm_layout(vlans)}, options)
    memory(report, range(1, options.many + 1))
    report.show()
    if options.json:
        options.json.write_text(json.dumps(report.data(vars(options)), indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.met is not False for row in report.rows) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure tc_hfsc_class against tc, in the kernel lab.")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement of traffic; default: %(default)s")
    parser.add_argument("--classes", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--many", type=int, default=4000, help="classes for memory; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    return parser.parse_args(arguments)


class Report:
    """The table, and what is shown beside it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.beside: dict[str, float | str] = {}

    def row(self, *columns: Any, **more: Any) -> Row:
        self.rows.append(Row(*columns, **more))
        print(f"measuring: {self.rows[-1].work}", file=sys.stderr, flush=True)
        return self.rows[-1]

    def data(self, options: dict[str, Any]) -> dict[str, Any]:
        rows = [{**asdict(row), "ratios": row.ratios, "measured": row.measured, "met": row.met} for row in self.rows]
        about = {"kernel": platform.release(), "python": platform.python_version()}
        return {**about, "options": {**options, "json": str(options["json"])}, "rows": rows, "beside": self.beside}

    def show(self) -> None:
        head = ["work", "ours", "against", "theirs", "unit", "ratio", "must", "aim", "", ""]
        table = [head, *(cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        print("Samples and ratios are min / median / max.\n")
        for line in table:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        print("\nBeside it:")
        for name, value in self.beside.items():
            print(f"  {name}: {f'{value:.3f} s' if isinstance(value, float) else value}")


def cells(row: Row) -> list[str]:
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    must = "" if row.must is None else f"{'>=' if row.more_is_better else '<='} {row.must:g}"
    spreads = [spread(samples) for samples in (row.ours, row.theirs, row.ratios)]
    return [row.work, spreads[0], row.against, spreads[1], row.unit, spreads[2], must, row.aim, verdict, row.note]


def spread(samples: Sequence[float]) -> str:
    if not samples:
        return ""
    lowest, middle, highest = (f"{each:.3g}" for each in (min(samples), statistics.median(samples), max(samples)))
    return f"{lowest} / {middle} / {highest}" if len(samples) > 1 else middle


def classes(vlans: Sequence[int], ul: str = "30gbit") -> dict[str, Any]:
    """Return the module's options: rates that do not shape, for throughput to be compared."""
    each = [{"vlan": vlan, "ls": "80mbit", "ul": "30gbit"} for vlan in vlans]
    each[len(each) // 2]["ul"] = ul
    return {"classes": [*each, {"default": True, "ls": "80mbit"}], "prune": True}


def alternate(number: int, *actions: Callable[[], None]) -> None:
    """Do the actions, another one first each time."""
    first = number % len(actions)
    for action in (*actions[first:], *actions[:first]):
        action()


def creation(report: Report, vlans: Sequence[int], rounds: int) -> dict[str, str]:
    """Return the scripts of a tree of all classes and of one with the last alone."""
    row = report.row(f"create {len(vlans)} classes", "tc -batch of its script", "s", 1.5, "1.0")
    scripts: dict[str, str] = {}
    for name, some in (("all", vlans), ("one", vlans[-1:])):
        sides.clear()
        scripts[name] = sides.run_module(classes(some)).result["script"]
    sides.clear()
    sides.tc_batch(scripts["all"])  # once unmeasured, which also loads the kernel's modules
    expect(len(vlans))
    ours: list[float] = []
    theirs: list[float] = []

    def by_module() -> None:
        sides.clear()
        done = sides.run_module(classes(vlans))
        ours.append(done.main)
        row.note = f"{done.messages} announced"
        expect(len(vlans))

    def by_tc() -> None:
        sides.clear()
        theirs.append(sides.tc_batch(scripts["all"]))
        expect(len(vlans))

    for number in range(rounds):
        alternate(number, by_module, by_tc)
    row.ours, row.theirs = ours, theirs
    return scripts


def expect(number: int) -> None:
    """Nothing is worth measuring that did not happen: all classes, the root's and the default one, and filters."""
    found = sides.classes_and_filters()
    if found != (number + 2, number):
        raise RuntimeError(f"{found} classes and filters on the device, not {(number + 2, number)}")


def nothing_and_one(report: Report, vlans: Sequence[int], rounds: int) -> None:
    nothing = report.row("nothing to change", "tc prints all of it (three tc show)", "s", 1.5, "1.0")
    batch = report.row("nothing to change", "one tc -batch of the three", "s", None, "")
    one = report.row(f"one class of {len(vlans)} changed", "nothing to change", "s", 1.1, "one message")
    sides.clear()
    sides.run_module(classes(vlans))
    printing: dict[str, list[float]] = {"three tc show": [], "one tc -batch of three": []}
    unchanged: list[float] = []
    changed: list[float] = []
    imports: list[float] = []
    messages = set()

    def nothing_to_change() -> None:
        done = sides.run_module(classes(vlans))
        if done.result["changed"] or done.messages:
            raise RuntimeError(f"a second run changed something: {done.result['actions'][:3]}")
        unchanged.append(done.main)
        imports.append(done.imports)

    def print_in_three() -> None:
        printing["three tc show"].append(sides.tc_shows())

    def print_in_one() -> None:
        printing["one tc -batch of three"].append(sides.tc_shows_in_one())

    def change() -> None:
        done = sides.run_module(classes(vlans, ul="20gbit"))
        changed.append(done.main)
        messages.add(done.messages)
        sides.run_module(classes(vlans))

    for number in range(rounds):
        alternate(number, nothing_to_change, print_in_three, print_in_one, change)
    nothing.ours, nothing.theirs = unchanged, printing["three tc show"]
    batch.ours, batch.theirs = unchanged, printing["one tc -batch of three"]
    one.ours, one.theirs, one.note = changed, unchanged, f"{'/'.join(map(str, sorted(messages)))} announced"
    report.beside["the module's imports, Ansible's included"] = statistics.median(imports)
    for way, samples in printing.items():
        report.beside[f"{way} (min / median / max, s)"] = spread(samples)


def whole(report: Report, vlans: Sequence[int]) -> None:
    print("measuring: whole processes", file=sys.stderr, flush=True)
    report.beside["tc, started with nothing to do"] = statistics.median(sides.tc_batch("") for _time in range(5))
    report.beside["python -m ...tc_hfsc_class, nothing to change"] = sides.whole_process(classes(vlans))
    sides.clear()
    report.beside[f"python -m ...tc_hfsc_class, {len(vlans)} classes created"] = sides.whole_process(classes(vlans))
    sides.clear()
    report.beside[f"ansible-playbook, {len(vlans)} classes created"] = sides.playbook(classes(vlans))
    expect(len(vlans))


def throughput(report: Report, scripts: dict[str, str], options: argparse.Namespace) -> None:
    """The trees are built on the same device in turn, by tc."""
    last, limits = f"through VLAN class {options.classes} of as many", (0.9, "1.0", True)
    rows = {
        ("all", "gigabits"): report.row(last, "one class", "Gbit/s", *limits),
        ("vdsm", "gigabits"): report.row("the same, in vdsm's layout", "one class", "Gbit/s", None, "", True),
        ("all", "kiloframes"): report.row(f"{last}, small frames", "one class", "1000/s", *limits),
        ("vdsm", "kiloframes"): report.row("the same, in vdsm's layout", "one class", "1000/s", None, "", True),
    }
    with sides.Iperf() as iperf:

        def measure(tree: str, measured: dict[tuple[str, str], float]) -> None:
            sides.clear()
            sides.tc_batch(scripts[tree])
            measured[tree, "gigabits"] = iperf.gigabits(options.seconds)
            measured[tree, "kiloframes"] = sides.kiloframes(options.seconds)

        for number in range(options.rounds):
            results: dict[tuple[str, str], float] = {}
            alternate(number, *(functools.partial(measure, tree, results) for tree in ("one", "all", "vdsm")))
            for (tree, way), row in rows.items():
                row.add(results[tree, way], results["one", way])


def memory(report: Report, vlans: Sequence[int]) -> None:
    row = report.row(f"memory at {len(vlans)} classes", "", "MiB", 120, "80")
    sides.clear()
    runs = {"created": sides.run_module(classes(vlans)), "nothing to change": sides.run_module(classes(vlans))}
    expect(len(vlans))
    runs["one changed"] = sides.run_module(classes(vlans, ul="20gbit"))
    worst = max(runs.values(), key=lambda each: each.peaks["end"])
    row.ours = [worst.peaks["end"] / 1024]
    row.note = ", ".join(f"{name} {each.peaks['end'] / 1024:.0f}" for name, each in runs.items())
    for stage, name in (
        ("python", "Python alone"),
        ("ansible", "Python and Ansible's part"),
        ("module", "all imports"),
    ):
        report.beside[f"memory of {name}"] = f"{worst.peaks[stage] / 1024:.0f} MiB"
    report.beside["ru_maxrss at the end"] = f"{worst.maxrss / 1024:.0f} MiB"
    report.beside[f"main(), {len(vlans)} classes created"] = runs["created"].main
    report.beside[f"main(), {len(vlans)} classes, nothing to change"] = runs["nothing to change"].main


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
