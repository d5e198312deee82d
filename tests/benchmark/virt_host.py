# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure virt_iface_bandwidth on a host with a real libvirtd, qemu:///system, against what else does the same.

    .venv/bin/python tests/benchmark/virt_host.py [--json FILE]

Boots a host of the host lab, and defines 500 guests on it that are shut off, with two NICs each. What is compared
alternates within each round, since machines are noisy, and of each side the fastest of three runs counts (of two where
all is changed); a ratio is the median of the rounds' own ratios.

The module's times are those of main(), from reading its options to printing its result, against the calls of
libvirt-python alone, connecting included; both in a process of its own, with its imports done. Beside them stand the
times of the whole processes, Python's start and imports included, and of the program that Ansible sends.

What operators have today is a loop of ``command: virsh domiftune`` over all NICs. It is measured over a few of them,
and scaled; both it and our one task are whole runs of ansible-playbook over ssh. Exits with 1 if a limit was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import shlex
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ansible
import virt_sides
from tc_hfsc_class import Report, Row, alternate, spread

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.lab.hostlab import ssh, state  # noqa: E402

PLACE = "virtnet-qos-benchmark"  # in the home of the host's user
ENVIRONMENT = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"), "LC_ALL": "C.UTF-8"}


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    report = Report()
    with booted(options) as name, tempfile.TemporaryDirectory() as folder:
        host = Host(name, Path(folder))
        host.prepare()
        try:
            host.sides("define", options.guests)
            measure(host, report, options)
        finally:
            host.sides("undefine")
        report.beside["host"] = f"{host.about}; {options.guests} guests, {options.guests * 2} NICs"
    report.beside["rounds"] = f"{options.rounds}, of runs of ansible-playbook {options.plays}"
    report.show()
    if options.json:
        options.json.write_text(json.dumps(report.data(vars(options)), indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.met is not False for row in report.rows) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure virt_iface_bandwidth with a real libvirtd, in the host lab.")
    parser.add_argument("--release", default="trixie", help="of the host; default: %(default)s")
    parser.add_argument("--host", help="a host of the lab that is up, instead of one that is booted for this")
    parser.add_argument("--guests", type=int, default=500, help="with two NICs each; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--plays", type=int, default=3, help="rounds of ansible-playbook, 0 to leave it out; default: %(default)s"
    )
    parser.add_argument("--looped", type=int, default=50, help="NICs that the loop is over; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def booted(options: argparse.Namespace) -> Iterator[str]:
    """Yield the name of a host that is up; it goes again if it was not up before."""
    if options.host:
        yield options.host
        return
    name = f"bench-virt-{os.getpid()}"
    lab = [sys.executable, str(ROOT / "tests/lab/host.py")]
    try:
        subprocess.run([*lab, "up", "--no-guest", "--release", options.release, name], check=True, timeout=1800)
        yield name
    finally:
        subprocess.run([*lab, "down", name], check=False, timeout=120)


class Host:
    """A host of the lab: what is run on it, and plays over it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.inventory = folder / "inventory.yml"
        listing = [sys.executable, str(ROOT / "tests/lab/host.py"), "inventory", name]
        self.inventory.write_bytes(subprocess.run(listing, check=True, capture_output=True, timeout=60).stdout)

    def ask(self, *command: str, given: bytes = b"", timeout: float = 600) -> str:
        """Return what a command prints there; what it says meanwhile goes to our standard error."""
        done = subprocess.run(
            ssh.command(state.running(self.name), [shlex.join(command)]),
            input=given,
            stdout=subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {shlex.join(command)} ended with {done.returncode}")
        return done.stdout.decode()

    def sides(self, *words: object, timeout: float = 1800) -> Any:
        """Return what virt_sides.py prints there."""
        program = f"{PLACE}/tests/benchmark/virt_sides.py"
        command = ["env", f"PYTHONPATH={PLACE}", "python3", program, *map(str, words)]
        return json.loads(self.ask(*command, timeout=timeout) or "null")

    def prepare(self) -> None:
        """Have it have what the module needs, and what virt_sides.py does."""
        packages = "apt-get -q update && apt-get -qy install --no-install-recommends python3-libvirt python3-lxml"
        self.ask("sh", "-c", f"({packages}) >/tmp/packages.log 2>&1 || {{ cat /tmp/packages.log >&2; exit 1; }}")
        self.ask("sh", "-c", f"rm -rf {PLACE} && mkdir {PLACE} && tar -xz -C {PLACE}", given=parcel())
        versions = "uname -r; libvirtd --version; python3 --version; nproc"
        self.about = ", ".join(self.ask("sh", "-c", versions).splitlines()) + " processor(s)"

    def play(self, task: dict[str, Any], changed: bool, **settings: str) -> float:
        """Return how long ansible-playbook takes for a playbook of this task."""
        play = {"name": "Limits", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Limit NICs", **task}]}
        playbook = self.folder / "play.yml"
        playbook.write_text(json.dumps([play]), encoding="utf-8")  # which is YAML, too
        # No connection is left over from a run before.
        environment = {**ENVIRONMENT, "ANSIBLE_HOME": tempfile.mkdtemp(dir=self.folder), **settings}
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory), str(playbook)]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800, env=environment)
        taken = time.perf_counter() - begun
        if done.returncode or f" changed={int(changed)} " not in done.stdout:
            raise RuntimeError(f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return taken

    def payload(self, task: dict[str, Any]) -> str:
        """Return where on the host the program is that Ansible sends for a task which changes nothing."""
        self.play(task, changed=False, ANSIBLE_KEEP_REMOTE_FILES="1")
        return self.ask("sh", "-c", "ls -t ~/.ansible/tmp/*/AnsiballZ_virt_iface_bandwidth.py | head -n 1").strip()


def parcel() -> bytes:
    """Return a tar archive of this folder, the modules, and what of Ansible is for managed hosts."""
    packed = io.BytesIO()

    def only_python(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return entry if (entry.isdir() and "__pycache__" not in entry.name) or entry.name.endswith(".py") else None

    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        library = Path(ansible.__file__).parent
        for part in ("__init__.py", "release.py", "_vendor", "module_utils"):
            archive.add(library / part, f"ansible/{part}", filter=only_python)
        for part in ("modules", "module_utils"):
            name = f"ansible_collections/virtnet/qos/plugins/{part}"
            archive.add(ROOT / "plugins" / part, name, filter=only_python)
        archive.add(ROOT / "tests/benchmark", "tests/benchmark", filter=only_python)
    return packed.getvalue()


def measure(host: Host, report: Report, options: argparse.Namespace) -> None:
    guests, rounds = options.guests, options.rounds
    nics = guests * 2
    names = {
        "steady": f"nothing to change, {nics} NICs",
        "changes": f"{nics} persistent limits changed",
        "loop": f"{nics} NICs by ansible-playbook",
    }
    payload = host.payload(our_task(guests, virt_sides.FIRST))
    steady = host.sides("steady", guests, rounds, payload)
    compare_steady(report, names["steady"], steady)
    changes = host.sides("changes", guests, rounds)
    compare_changes(report, names["changes"], changes)
    if options.plays:
        compare_loop(report, names["loop"], host, options)
    memory(report, steady, changes)


def column(samples: list[dict[str, Any]], *keys: str) -> list[float]:
    """Return the sums of some of the costs, a number for each round."""
    return [sum(sample[key] for key in keys) for sample in samples]


def compare_steady(report: Report, work: str, samples: virt_sides.Samples) -> None:
    calls = samples["calls"]
    for kind in virt_sides.POLICIES:
        only = kind == "one policy"
        row = report.row(f"{work}, {kind}", "calls that read the same", "s", *((1.3, "1.1") if only else (None, "")))
        row.ours, row.theirs = column(samples[kind], "main"), column(calls, "find", "read")
    processes(report, work, samples)
    sent = column(samples["payload"], "process")
    report.beside[f"{work}: the program that Ansible sends, whole process (s)"] = spread(sent)


def compare_changes(report: Report, work: str, samples: virt_sides.Samples) -> None:
    calls = samples["calls"]
    ours = column(samples["one policy"], "main")
    alone = report.row(work, "calls that write the same", "s", 1.2, "1.05")
    alone.ours, alone.theirs = ours, column(calls, "find", "write")
    whole = report.row(work, "and read before and after", "s", None, "")
    whole.ours, whole.theirs = ours, column(calls, "find", "read", "write", "back")
    processes(report, work, samples)


def processes(report: Report, work: str, samples: virt_sides.Samples) -> None:
    """Whole processes beside it: each is the start of Python, imports and the work."""
    row = Row(work, "", "s", None, "")
    row.ours, row.theirs = column(samples["one policy"], "process"), column(samples["calls"], "process")
    for name, values in (("module", row.ours), ("calls", row.theirs), ("ratio", row.ratios)):
        report.beside[f"{work}, whole processes: {name}"] = spread(values)
    report.beside[f"{work}: imports of the module, Ansible's included (s)"] = spread(
        column(samples["one policy"], "imports")
    )


def our_task(guests: int, average: int) -> dict[str, Any]:
    return {"virtnet.qos.virt_iface_bandwidth": {"policies": virt_sides.one_policy(guests, average)}}


def loop_task(guests: int, number: int, average: int) -> dict[str, Any]:
    """What operators write: a command a NIC, both directions at once."""
    items = [{"domain": name, "mac": mac} for name, macs in virt_sides.names(guests).items() for mac in macs]
    command = "virsh domiftune {{ item.domain }} {{ item.mac }}"
    return {
        "ansible.builtin.command": f"{command} --inbound {average} --outbound {average} --config",
        "loop": items[:number],
    }


def compare_loop(report: Report, work: str, host: Host, options: argparse.Namespace) -> None:
    nics, looped = options.guests * 2, options.looped
    versus = f"loop of virsh domiftune, {looped} scaled"
    changed = report.row(f"{work}, all changed", versus, "s", 1 / 50, "0.005")
    steady = report.row(f"{work}, nothing to change", versus, "s", 1 / 50, "0.005")
    samples: dict[str, list[float]] = {}
    average = virt_sides.FIRST

    def ours(change: bool) -> None:
        nonlocal average
        if change:
            average += 1
        taken = host.play(our_task(options.guests, average), changed=change)
        samples.setdefault("changed" if change else "steady", []).append(taken)

    def both() -> None:
        ours(True)
        ours(False)

    def loop(number: int) -> None:
        task = loop_task(options.guests, number, average + 1)
        samples.setdefault(f"loop {number}", []).append(host.play(task, changed=True))

    for number in range(options.plays):
        begun = time.monotonic()
        alternate(number, both, functools.partial(loop, 1), functools.partial(loop, looped))
        taken = time.monotonic() - begun
        virt_sides.told(f"{work}, round {number + 1} of {options.plays}: {taken:.0f} s")
    each = [(many - one) / (looped - 1) for one, many in zip(samples["loop 1"], samples[f"loop {looped}"])]
    scaled = [one + (nics - 1) * more for one, more in zip(samples["loop 1"], each)]
    for row, name in ((changed, "changed"), (steady, "steady")):
        row.ours, row.theirs = samples[name], scaled
        row.note = f"{1 / row.measured:.0f} times as fast"
    report.beside[f"the loop over {looped} NICs (s)"] = spread(samples[f"loop {looped}"])
    report.beside["the loop over one NIC (s)"] = spread(samples["loop 1"])
    report.beside["each NIC more (s)"] = spread(each)


def memory(report: Report, *runs: virt_sides.Samples) -> None:
    row = report.row("memory of the module's process", "", "MiB", 150, "100")
    peaks = [
        (sample["peaks"]["end"], kind) for run in runs for kind in virt_sides.POLICIES for sample in run.get(kind, ())
    ]
    worst, kind = max(peaks)
    row.ours = [worst / 1024]
    row.note = f"the largest of {len(peaks)} runs: {kind}"
    of = runs[0]["one policy"][0]["peaks"]
    stages = {"python": "Python alone", "ansible": "Python and Ansible's part", "module": "all imports"}
    for stage, name in stages.items():
        report.beside[f"memory of {name}"] = f"{of[stage] / 1024:.0f} MiB"
    for run, name in zip(runs, ("nothing to change", "all changed")):
        ends = statistics.median(sample["peaks"]["end"] for sample in run["one policy"])
        report.beside[f"memory, {name}, one policy"] = f"{ends / 1024:.0f} MiB"
    calls = statistics.median(column(runs[0]["calls"], "peak"))
    report.beside["memory of the calls that read"] = f"{calls / 1024:.0f} MiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
