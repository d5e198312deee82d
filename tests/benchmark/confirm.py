# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure what confirm_timeout costs: ansible-playbook with and without it, over ssh, changing something and nothing.

    .venv/bin/python tests/benchmark/confirm.py [--json FILE]

Boots a host of the host lab for it. What is compared alternates within each round, since machines are noisy; a ratio is
the median of the rounds' own ratios. The times are those of the whole command.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.faulty_host import FaultyHost

WORKS = ("one rate changed", "nothing to change")
WAYS = {"unconfirmed": 0, "confirmed": 60}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what confirm_timeout costs, in the host lab.")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    options = parser.parse_args()
    host = FaultyHost(f"bench-{os.getpid()}", "trixie")
    try:
        host.up()
        samples = measure(host, options.rounds)
    finally:
        host.down()
    show(samples)
    if options.json:
        options.json.write_text(json.dumps([each._asdict() for each in samples], indent=1) + "\n", encoding="utf-8")


class Sample(NamedTuple):
    """One run."""

    work: str
    way: str
    seconds: float
    connections: int


def measure(host: FaultyHost, rounds: int) -> list[Sample]:
    samples: list[Sample] = []
    for number in range(rounds):
        for way in sorted(WAYS, reverse=bool(number % 2)):
            host.rate += 1
            for work in WORKS:
                host.gate.fresh()
                run = host.play(host.rate, WAYS[way])
                if run.process.returncode or run.changed != (work == WORKS[0]):
                    raise SystemExit(run.output)
                samples.append(Sample(work, way, run.seconds, host.gate.connections))
    return samples


def show(samples: list[Sample]) -> None:
    print(f"{'work':18} {'unconfirmed':>20} {'confirmed':>20} {'ratio':>20} {'more':>8}  connections")
    for work in WORKS:
        plain, confirmed = ([each for each in samples if (each.work, each.way) == (work, way)] for way in WAYS)
        pairs = [(first.seconds, second.seconds) for first, second in zip(plain, confirmed)]
        columns = [spread([each.seconds for each in some]) for some in (plain, confirmed)]
        columns.append(spread([second / first for first, second in pairs]))
        more = statistics.median(second - first for first, second in pairs)
        met = " against ".join(
            "/".join(sorted({str(each.connections) for each in some})) for some in (plain, confirmed)
        )
        print(f"{work:18} {' '.join(f'{column:>20}' for column in columns)} {more:>6.2f} s  {met}")
    print("Seconds and ratios are min / median / max.")


def spread(samples: list[float]) -> str:
    return " / ".join(f"{each:.2f}" for each in (min(samples), statistics.median(samples), max(samples)))


if __name__ == "__main__":
    main()
