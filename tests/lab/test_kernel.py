# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel lab, driven from outside. Needs the lab's packages, so it is beside the lab, not with the unit tests."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

LAB = [sys.executable, str(Path(__file__).with_name("kernel.py"))]
NOISE = """
import sys
for n in range(200):
    sys.stdout.buffer.write(bytes(range(256)) * 400)
    sys.stderr.buffer.write(bytes(range(255, -1, -1)) * 40)
"""


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test's labs have their files in a folder of their own, which their processes' arguments name, too."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("HOME", folder)
        yield Path(folder)
        assert os.listdir(folder) == []  # noqa: PTH208
        assert processes(folder) == []


def processes(mark: str) -> list[str]:
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in command.read_bytes():
                found.append(str(command))
        except OSError:  # it has just ended
            continue
    return found


def lab(*command: str, options: tuple[str, ...] = ("--kernel", "uml")) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*LAB, *options, "--", *command], capture_output=True, check=False, timeout=120)


def started(*command: str) -> subprocess.Popen[bytes]:
    """A lab whose command has written its first line, "ready"."""
    # A shell has what it starts in the background ignore SIGINT, and all that this starts in turn.
    reachable = ["env", "--default-signal=INT", *LAB]
    process = subprocess.Popen(
        [*reachable, "--kernel", "uml", "--timeout", "60", "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


def test_status_and_streams_are_those_of_the_command() -> None:
    done = lab("sh", "-c", "printf out; printf err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out", b"err")


def test_death_by_signal_is_128_and_the_signal() -> None:
    assert lab("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist() -> None:
    done = lab("no-such-command")
    assert done.returncode == 127
    assert b"no-such-command" in done.stderr


def test_every_byte_arrives_in_its_stream() -> None:
    done = lab(sys.executable, "-c", NOISE)
    assert done.returncode == 0
    assert digest(done.stdout) == digest(bytes(range(256)) * 400 * 200)
    assert digest(done.stderr) == digest(bytes(range(255, -1, -1)) * 40 * 200)


def digest(data: bytes) -> tuple[int, str]:
    """So that a failure does not print megabytes."""
    return len(data), hashlib.sha256(data).hexdigest()


def test_a_slow_reader_gets_everything() -> None:
    process = started(sys.executable, "-c", "print('ready'); print('x' * 3_000_000)")
    time.sleep(1)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert digest(out) == digest(b"x" * 3_000_000 + b"\n")


def test_the_command_has_the_callers_folder_environment_and_files(
    nothing_left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_TEST", "a b\nc")
    monkeypatch.chdir(nothing_left)
    script = """
        pwd; echo "$LAB_TEST"; touch kept "$TMPDIR/lost"
        echo $VIRTNET_QOS_KERNEL_LAB; id -u; date +%s
    """
    *lines, clock = lab("sh", "-c", script).stdout.decode().splitlines()
    assert lines == [str(nothing_left.resolve()), "a b", "c", "1", "0"]
    assert abs(int(clock) - time.time()) < 60
    (nothing_left / "kept").unlink()


def test_a_daemon_does_not_hold_the_lab() -> None:
    begun = time.monotonic()
    assert lab("sh", "-c", "sleep 1000 & echo done").stdout == b"done\n"
    assert time.monotonic() - begun < 30


def test_the_time_limit_ends_it_with_one_line() -> None:
    done = lab("sh", "-c", "sleep 1000", options=("--kernel", "uml", "--timeout", "5"))
    assert done.returncode == 124
    assert done.stderr == b"kernel lab: stopped at its time limit of 5 seconds\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(signum: signal.Signals) -> None:
    process = started("sh", "-c", "echo ready; sleep 1000")
    process.send_signal(signum)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signum


def test_killed_it_takes_its_processes_along(nothing_left: Path) -> None:
    """Its files it cannot take along; they name it."""
    process = started("sh", "-c", "echo ready; while :; do :; done")
    process.kill()
    process.communicate(timeout=20)
    until = time.monotonic() + 10
    while processes(str(nothing_left)) and time.monotonic() < until:
        time.sleep(0.1)
    assert processes(str(nothing_left)) == []
    subprocess.run(["rm", "-r", *map(str, nothing_left.glob("virtnet-qos-lab-*"))], check=True)


@pytest.mark.parametrize("script", ["echo c >/proc/sysrq-trigger; sleep 60", "echo o >/proc/sysrq-trigger; sleep 60"])
def test_a_kernel_that_dies_is_a_failure_of_the_lab(script: str, nothing_left: Path) -> None:
    done = lab("sh", "-c", script)
    assert done.returncode == 125
    assert b"Linux version" in done.stderr
    assert done.stderr.endswith(b"kernel lab: the kernel ended before the command did: its console, above, says why\n")


def test_too_little_memory_is_a_failure_of_the_lab() -> None:
    assert lab("true", options=("--kernel", "uml", "--memory", "8", "--timeout", "30")).returncode == 125


def test_the_console_is_shown_when_asked_for() -> None:
    assert b"Linux version" in lab("true", options=("--kernel", "uml", "--verbose")).stderr


def test_two_labs_at_once() -> None:
    with ThreadPoolExecutor() as pool:
        labs = [pool.submit(lab, "sh", "-c", f"ip netns add same && sleep 1 && echo {n}") for n in (1, 2)]
    assert [run.result().stdout for run in labs] == [b"1\n", b"2\n"]


def test_in_a_kernel_that_has_hfsc_namespaces_are_enough(nothing_left: Path) -> None:
    script = """
        mkdir /run/outside && ip netns add outside && ip link add name outside type dummy || exit 99
        lab() { "$@" --timeout 30 -- sh -c 'echo $VIRTNET_QOS_KERNEL_KIND; ls /sys/class/net /run /run/netns
            ip netns add inside && ip address show lo | grep -q 127.0.0.1 && echo err >&2; sleep 1000 & exit 5'; }
        lab "$@"; echo $?
        "$@" --timeout 30 -- sh -c 'kill -KILL $$'; echo $?
        "$@" --timeout 1 -- sleep 1000; echo $?
        ip netns; ls -A $TMPDIR; pgrep sleep
    """
    done = lab("sh", "-c", script, "sh", *LAB)
    inside = "running\n/run:\nlock\nnetns\n\n/run/netns:\n\n/sys/class/net:\nlo\n5\n"
    assert done.stdout.decode() == inside + "137\n124\noutside\n"
    assert done.stderr == b"err\nkernel lab: stopped at its time limit of 1 seconds\n"
