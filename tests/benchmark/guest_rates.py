# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure what a guest's limits do: average, peak and burst in both directions, and a change while a transfer runs.

    .venv/bin/python tests/benchmark/guest_rates.py [--release RELEASE] [--host NAME] [--json FILE]

Boots a host of the host lab with its guest, unless one of this name is up. The limits are set by the module, as a user
would; what is enforced is read with virsh and tc, and what flows is TCP payload as iperf3 counts it, in the real guest.

Exits with 1 where a rate is not what was declared, or a transfer stood still for a second.

For each rate there is one transfer a direction, which begins with a full bucket. After the bucket has been spent, the
module changes the limit to the next rate while the transfer goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.lab.hostlab import ssh, state

ROOT = Path(__file__).resolve().parents[2]
MODULE = "virtnet.qos.virt_iface_bandwidth"
DOMAIN, MAC, ADDRESS = "guest1", "52:54:00:4c:0a:10", "10.77.1.10"
RATES = (2, 4, 8)  # Mbit/s; the peak is twice that, and a guest in an emulated host does not do much more
SPENT = 8  # seconds after which the bucket is surely empty: it lasts three at peak rate
LASTS = 3
SETTLED = 7  # seconds more, over which the average is taken
TRANSFER = 60  # since the module takes its time on an emulated host that is busy
DIRECTIONS = {"inbound": (), "outbound": ("-R",)}


class Row(NamedTuple):
    """One transfer in one direction. Rates are in Mbit/s, sizes in KiB."""

    direction: str
    declared: dict[str, str]
    enforced: str
    average: float
    peak: float
    burst: float
    changed_to: str
    enforced_after: str
    average_after: float
    slowest: float  # second of the whole transfer
    reports: list[tuple[float, float, float]]  # each second of it: from, to, bits
    changed: float  # seconds after which it had been changed


def limit(rate: int) -> dict[str, str]:
    """Return a limit with this average, whose bucket lasts a while at peak rate; as the inventory would have it."""
    burst = rate * 1_000_000 // 8 * LASTS // 1024
    return {"average": f"{rate}mbit", "peak": f"{2 * rate}mbit", "burst": f"{burst}KiB"}


class Guest:
    """The guest of a host of the lab, and its host."""

    def __init__(self, name: str, release: str) -> None:
        self.name = name
        lab("up", "--guest", "--release", release, name)
        self._host = state.running(name)
        self._inventory = ROOT / f".cache/{name}.yml"
        self._inventory.parent.mkdir(exist_ok=True)
        self._inventory.write_text(lab("inventory", name), encoding="utf-8")
        self._ansible("ansible.builtin.apt", {"name": ["python3-libvirt", "python3-lxml"], "update_cache": True})
        self.device = self.ask("virsh", "domiflist", DOMAIN).split(MAC, maxsplit=1)[0].split()[-4]

    def limit(self, **directions: dict[str, str]) -> dict[str, Any]:
        """Have the module ensure these limits."""
        policy = {"match": {"domain": DOMAIN, "mac": MAC}, **directions}
        return self._ansible(MODULE, {"policies": [policy], "require_match": True})

    def _ansible(self, module: str, options: dict[str, Any]) -> dict[str, Any]:
        command = [str(Path(sys.executable).with_name("ansible")), "-i", str(self._inventory), self.name]
        command += ["-m", module, "-a", json.dumps(options), "-e", "ansible_pipelining=true"]
        collections = {"ANSIBLE_COLLECTIONS_PATH": ".venv/collections", "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"}
        ran = subprocess.run(
            ["env", *(f"{name}={value}" for name, value in collections.items()), *command],
            cwd=ROOT,
            capture_output=True,  # ssh makes a terminal's stderr non-blocking, and Ansible refuses to start with that
            text=True,
            timeout=600,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"{module} failed: {ran.stdout}{ran.stderr}")
        answer: dict[str, Any] = json.loads(ran.stdout.partition("=>")[2])
        return answer

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command on the host."""
        return subprocess.Popen(
            ssh.command(self._host, list(command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *command: str) -> str:
        """Return what a command prints on the host."""
        process = self.start(*command)
        printed = process.communicate(timeout=120)[0]
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed on {self.name}: {printed}")
        return printed

    def enforced(self, direction: str) -> str:
        """Return the limit as tc shows it, and how libvirt's two views of it agree: seen from the guest, so swapped."""
        views = {
            scope: re.findall(
                rf"^{direction}\.(\w+)\s*: ([1-9]\d*)$",
                self.ask("virsh", "domiftune", DOMAIN, MAC, f"--{scope}"),
                re.MULTILINE,
            )
            for scope in ("live", "config")
        }
        if views["live"] != views["config"]:
            raise SystemExit(f"{direction}: {views}")
        if direction == "inbound":
            shown = self.ask("tc", "class", "show", "dev", self.device)
            (found,) = re.findall(r"rate \S+ ceil \S+ burst \S+", shown)
        else:
            shown = self.ask("tc", "filter", "show", "dev", self.device, "parent", "ffff:")
            (found,) = re.findall(r"rate \S+ burst \S+", shown)
        return str(found)


class Transfer:
    """One TCP stream, and what its receiver reports of every second."""

    def __init__(self, guest: Guest, direction: str) -> None:
        self._direction = direction
        options = ("-J", "-t", str(TRANSFER), "-l", "8K", *DIRECTIONS[direction])
        # What the guest receives is what its server says: the host would count what waits in its own buffers, too.
        options += ("--get-server-output",) if direction == "inbound" else ()
        self._began = time.monotonic()
        self._iperf = guest.start("iperf3", "-c", ADDRESS, *options)
        self.reports: list[tuple[float, float, float]] = []  # from, to, bits

    def now(self) -> float:
        """Return how long it has been running at most; it starts a moment later."""
        return time.monotonic() - self._began

    def end(self) -> None:
        """Wait for its end, and read the reports."""
        report = json.loads(self._iperf.communicate(timeout=TRANSFER + 60)[0])
        if "error" in report:
            raise SystemExit(f"{self._direction}: iperf3 says {report['error']}")
        if self._direction == "inbound":
            line = r"\]\s+([\d.]+)-([\d.]+)\s+sec\s+([\d.]+) ([KMG]?)Bytes\s+\S+ \w?bits/sec\s*$"
            units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
            for found in re.finditer(line, report["server_output_text"], re.MULTILINE):
                begin, end, amount, unit = found.groups()
                self.reports.append((float(begin), float(end), 8 * float(amount) * units[unit]))
        else:
            sums = [interval["sum"] for interval in report["intervals"]]
            self.reports = [(each["start"], each["end"], 8.0 * each["bytes"]) for each in sums]
        # The last ones are of less than a second, or of the whole.
        self.reports = [each for each in self.reports if 0.5 < each[1] - each[0] < 1.5]

    def rate(self, begin: float, end: float) -> float:
        """Return the rate between two points in time, in Mbit/s."""
        within = [each for each in self.reports if begin <= each[0] and each[1] <= end + 0.1]
        return sum(each[2] for each in within) / sum(each[1] - each[0] for each in within) / 1e6

    def fastest(self, until: float) -> float:
        """Return the fastest report before some point in time, in Mbit/s."""
        return max(each[2] / (each[1] - each[0]) for each in self.reports if each[1] <= until) / 1e6

    @property
    def slowest(self) -> float:
        """Return the slowest report of all, in Mbit/s."""
        return min(each[2] / (each[1] - each[0]) for each in self.reports) / 1e6

    def beyond(self, rate: float, until: float) -> float:
        """Return how much more than this rate has passed at most, in KiB."""
        most = total = 0.0
        for begin, end, bits in self.reports:
            total += bits - rate * 1e6 * (end - begin)
            most = max(most, total) if end <= until else most
        return most / 8 / 1024


def measure(guest: Guest) -> Iterator[Row]:
    """Yield a row for each rate and direction."""
    for rate, following in zip(RATES, (*RATES[1:], RATES[0])):
        for direction in DIRECTIONS:
            guest.limit(**dict.fromkeys(DIRECTIONS, limit(following)))
            guest.limit(**dict.fromkeys(DIRECTIONS, limit(rate)))  # that makes the buckets anew, and full
            enforced = guest.enforced(direction)
            transfer = Transfer(guest, direction)
            time.sleep(SPENT + SETTLED)
            # The other direction stays as it is, so that the acknowledgements are not what is measured.
            guest.limit(**{direction: limit(following)})
            changed = transfer.now()
            enforced_after = guest.enforced(direction)
            transfer.end()
            if changed + SPENT + 3 > TRANSFER:
                raise SystemExit(
                    f"{direction}: the change took until second {changed:.0f}, too long to measure after it."
                )
            average = transfer.rate(SPENT, SPENT + SETTLED - 1)
            yield Row(
                direction,
                limit(rate),
                enforced,
                average,
                transfer.fastest(SPENT),
                transfer.beyond(average, SPENT),
                f"{following}mbit",
                enforced_after,
                transfer.rate(changed + SPENT, TRANSFER),
                transfer.slowest,
                transfer.reports,
                changed,
            )


def listed(limits: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in limits.items())


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    heads = ["direction", "declared", "enforced (tc)", "average, fastest second, burst measured"]
    heads += ["changed to, while it ran", "enforced then (tc)", "average measured then", "slowest second of all"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        measured = f"{row.average:.1f} Mbit/s, {row.peak:.1f} Mbit/s, {row.burst:.0f} KiB"
        cells = (row.direction, listed(row.declared), row.enforced, measured, row.changed_to, row.enforced_after)
        lines.append("| " + " | ".join((*cells, f"{row.average_after:.1f} Mbit/s", f"{row.slowest:.1f} Mbit/s")) + " |")
    return "\n".join(lines)


def lab(*arguments: str) -> str:
    """Run the host lab's command, and return what it prints."""
    command = [sys.executable, "tests/lab/host.py", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def failures(rows: list[Row]) -> list[str]:
    """Return a sentence for each row that does not show what it is to show."""
    told = []
    for row in rows:
        for what, declared, found in (
            ("average", row.declared["average"], row.average),
            ("average after the change", row.changed_to, row.average_after),
        ):
            rate = float(declared.removesuffix("mbit"))
            # That it is somewhat slow is the emulation's doing; that it is too fast is not.
            if not 0.6 * rate < found < 1.06 * rate:
                told.append(f"{row.direction} {declared}: the {what} is {found:.2f} Mbit/s")
        if not row.slowest:
            told.append(f"{row.direction} {row.declared['average']}: the transfer stood still for a second")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a guest's limits do, in the host lab.")
    parser.add_argument("--release", default="trixie", help="of the host; default: %(default)s")
    parser.add_argument("--host", metavar="NAME", help="a host that is up, and stays; without it, one is booted")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args()
    name = options.host or f"rates-{options.release}"
    try:
        guest = Guest(name, options.release)
        rows = []
        for row in measure(guest):
            print(f"{row.direction} {row.declared['average']}: done", file=sys.stderr)
            rows.append(row)
    finally:
        if not options.host:
            lab("down", name)
    print(table(rows))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n", encoding="utf-8")
    told = failures(rows)
    if told:
        raise SystemExit("\n".join(told))


if __name__ == "__main__":
    main()
