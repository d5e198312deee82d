# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real host whose uplink is shaped through a gate, and what can be seen of it past the gate."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from tests.lab.hostlab import ssh, state
from tests.lab.knock import longest_silence

from .gate import Gate

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
RELEASES = ("trixie", "bookworm")
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
MONITOR = "/run/faults-tc-monitor"
LOOK = f"""
echo "tree $(tc class show dev "$1" | sed -n 's/^class hfsc 1389:1388 .* ul .* m2 \\([0-9]*\\)Mbit.*/\\1/p')"
echo "kept $(sed -n 's/^class add .* classid 1389:1388 .* ul m2 \\([0-9]*\\)000000bit$/\\1/p' /etc/virtnet-qos/"$1".tc)"
echo "root $(tc qdisc show dev "$1" root)"
for each in /run/virtnet-qos/"$1"/*/*; do
    case "${{each##*/}}" in pending|expired|restored|failed|confirmed) echo "hold ${{each##*/}}" ;; esac
done
[ ! -e {MONITOR} ] || sed 's/^/monitor /' {MONITOR}
"""


@dataclass(frozen=True)
class Seen:
    """What a host says: the rates that tell the trees apart, in Mbit/s (0: no tree), and the changes that wait."""

    tree: int
    kept: int
    root: str
    holds: tuple[str, ...]
    bare: float  # milliseconds without a whole tree, as far as the host could count them


@dataclass
class Run:
    """A run of ansible-playbook that is under way, or over."""

    process: subprocess.Popen[str]
    begun: float
    output: str = ""
    seconds: float = 0.0

    def end(self, timeout: float = 200) -> Run:
        """Wait for its end."""
        self.output = self.process.communicate(timeout=timeout)[0]
        self.seconds = time.monotonic() - self.begun
        return self

    def kill(self) -> None:
        """As the kernel does that is out of memory: it, and its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.end()

    @property
    def message(self) -> str:
        """What a task said that failed."""
        found = re.search(r"^fatal: .*? => (\{.*\})$", self.output, re.MULTILINE)
        return str(json.loads(found[1])["msg"]) if found else ""

    @property
    def changed(self) -> bool:
        return " changed=1 " in self.output


class FaultyHost:
    """A host of the lab. Plays reach it through the gate, everything else past it."""

    def __init__(self, name: str, release: str) -> None:
        self.name, self.release = name, release
        self.device = ""  # until it is up
        self.rate = 2001  # of the tree that stands; not 2000, which tc writes as 2Gbit

    def up(self) -> None:
        """Boot it, have it have all that the module needs, and a tree."""
        lab("up", "--no-guest", "--release", self.release, self.name, timeout=1800)
        self.lab_host = state.running(self.name)
        self.socket = str(Path(tempfile.mkdtemp(), "ssh"))  # the names of sockets must be short
        self.gate = Gate(self.lab_host.port)
        inventory = yaml.safe_load(lab("inventory", self.name))
        inventory["lab"]["hosts"][self.name].update({"ansible_port": self.gate.port, "ansible_pipelining": True})
        self.inventory = ROOT / f".cache/faults/{self.name}.yml"
        self.inventory.parent.mkdir(parents=True, exist_ok=True)
        self.inventory.write_text(yaml.safe_dump(inventory), encoding="utf-8")
        self.device = self.ask("ip route show default").split(" dev ")[1].split()[0]
        self.ask("apt-get -q update && apt-get install -qy python3-pyroute2", 600)
        first = self.play(self.rate, 60)
        if first.process.returncode:
            raise RuntimeError(first.output)

    def down(self) -> None:
        """End it."""
        self.forget()
        lab("down", self.name)

    def ask(self, script: str, timeout: float = 60) -> str:
        """Return what a script of sh prints there; its $1 is the device."""
        command = shlex.join(["sh", "-c", script, "sh", self.device])
        done = subprocess.run(
            self._ssh(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {script}: {done.stdout}{done.stderr}")
        return done.stdout

    def _ssh(self, *words: str) -> list[str]:
        """Return a command of ssh past the gate, over a connection that stays."""
        program, *rest = ssh.command(self.lab_host, list(words))
        return [program, "-S", self.socket, "-o", "ControlMaster=auto", "-o", "ControlPersist=300", *rest]

    def forget(self) -> None:
        """Take a new connection from now on: the one that stays may be dead."""
        subprocess.run([*self._ssh(), "-O", "exit"], capture_output=True, check=False, timeout=20)

    def start(self, rate: int, seconds: int, lowest: str = "40mbit") -> Run:
        """Start to change to the tree that has this rate, in Mbit/s, or the lowest there is; seconds to confirm."""
        classes = [{"default": True, "ls": lowest, "ul": f"{rate}mbit" if rate else lowest}, {"vlan": 7, "ls": lowest}]
        options = json.dumps({"device": self.device, "classes": classes, "seconds": seconds})
        process = subprocess.Popen(
            [
                PLAYBOOK,
                "-i",
                str(self.inventory),
                "-e",
                options,
                "play.yml",
            ],
            cwd=HERE,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"),
                "ANSIBLE_NOCOLOR": "1",
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return Run(process, time.monotonic())

    def play(self, rate: int, seconds: int, lowest: str = "40mbit") -> Run:
        """Change to the tree that has this rate, and wait for the end."""
        return self.start(rate, seconds, lowest).end()

    def watch(self) -> None:
        """Have the host note from now on what tc announces."""
        self.ask(
            f"rm -f {MONITOR}; systemctl stop faults-monitor 2>/dev/null;"
            f" systemd-run --quiet --collect --unit=faults-monitor sh -c 'exec tc -ts monitor > {MONITOR}'"
        )

    def boot(self) -> str:
        """Return what is another one after each boot."""
        return self.ask("cat /proc/sys/kernel/random/boot_id")

    def look(self) -> Seen:
        """Ask it."""
        lines = [line.split(" ", 1) for line in self.ask(LOOK).splitlines()]

        def all_of(name: str) -> list[str]:
            return [line[1] for line in lines if line[0] == name]

        numbers = {name: int(all_of(name)[0].strip() or 0) for name in ("tree", "kept")}
        bare = bare_milliseconds(all_of("monitor"), self.device)
        return Seen(numbers["tree"], numbers["kept"], all_of("root")[0], tuple(all_of("hold")), bare)

    def settled(self, timeout: float = 120) -> Seen:
        """Ask it until it can be reached and nothing waits any more."""
        self.forget()
        end = time.monotonic() + timeout
        while True:
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
                seen = self.look()
                if not {"pending", "expired"} & set(seen.holds):
                    return seen
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} did not settle within {timeout} s")
            time.sleep(1)

    @contextlib.contextmanager
    def trapped(self, step: str, *more: str) -> Iterator[subprocess.Popen[str]]:
        """Have the next run held at a step of the protocol; see trap.py."""
        put = f"cat > /run/faults-trap.py <<'END'\n{(HERE / 'trap.py').read_text(encoding='utf-8')}\nEND"
        self.ask(f"{put}\nrm -f /run/virtnet-qos-*.lock")
        words = shlex.join(["python3", "/run/faults-trap.py", self.device, step, *more])
        with subprocess.Popen(
            ssh.command(self.lab_host, [words]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as trap:
            try:
                expect(trap, "ready")
                yield trap
            finally:
                trap.kill()

    @contextlib.contextmanager
    def knocked_at(self) -> Iterator[list[float]]:
        """Knock at its door all the time. The list has then for how many seconds at most nobody opened."""
        done = threading.Event()
        away: list[float] = []
        knocking = threading.Thread(target=lambda: away.append(longest_silence(self.lab_host.port, done)))
        knocking.start()
        try:
            yield away
        finally:
            done.set()
            knocking.join()


def expect(process: subprocess.Popen[str], line: str) -> None:
    """Wait for a line of a process."""
    assert process.stdout
    said = process.stdout.readline().strip()
    if said != line:
        raise RuntimeError(f"not {line!r} but {said!r}")


def lab(*arguments: str, timeout: float = 60) -> str:
    """Return what the host lab prints."""
    command = [sys.executable, str(ROOT / "tests/lab/host.py"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=timeout).stdout


def bare_milliseconds(monitor: list[str], device: str) -> float:
    """Return the time from a root that went to the last part of the tree that came instead."""
    gone, last = None, 0.0
    for line in monitor:
        found = re.match(r"\[([^]]+)\] (.*)", line)
        if not found or f" dev {device} " not in f"{found[2]} ":
            continue
        at = datetime.fromisoformat(found[1]).timestamp() * 1000
        if gone is None and found[2].startswith("deleted qdisc hfsc"):
            gone = at
        last = at
    return last - gone if gone is not None else 0.0
