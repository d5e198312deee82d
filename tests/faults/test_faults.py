# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong on the way of a change that is to be confirmed, on real hosts, and what is found after it.

After each fault the host can be reached, has one of both trees and comes back with it or the old one, and a run more
converges. The NIC that is changed is the one that ssh uses.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from .faulty_host import RELEASES, FaultyHost, Run, Seen, expect

# confirm_timeout of changes that are not confirmed whatever time there is, and of others: what a new connection and a
# run need on an emulated host, many times over
SOON, LATE = 10, 90
BARE = 5000  # milliseconds without limits while a tree is brought back, on an emulated host that is busy
OLD, NEW = "old", "new"
NOT_CONFIRMED = "the change was not confirmed over a new connection within"
# Where the run is held, and which tree stands in the end
STEPS = {
    "before arming": OLD,
    "arming": OLD,
    "armed": OLD,
    "changed": OLD,
    "reconnecting": OLD,
    "confirming": NEW,
    "persisting": NEW,
    "persisted": NEW,
}


# reboot(2), with nothing written to disks before
POWER_CUT = "python3 -c 'import ctypes, time; time.sleep(1); ctypes.CDLL(None).reboot(0x01234567)' >/dev/null 2>&1 &"


def on_both(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return them by turns with one release and with the other."""
    return [(name, RELEASES[number % 2]) for number, name in enumerate(names)]


@dataclass
class Case:
    """One fault on one host, between the tree that stands and one that differs a little."""

    host: FaultyHost
    fault: str
    note: Callable[..., None]
    away: list[float] = field(default_factory=list)

    @property
    def new(self) -> int:
        return self.host.rate + 1

    @contextlib.contextmanager
    def watched(self) -> Iterator[Case]:
        """Knock at the host's door, and have it note what tc announces."""
        self.host.gate.fresh()
        if self.trees(self.host.look()) != (OLD, OLD):  # the case before this one failed
            self.host.play(self.host.rate, LATE)
        self.host.watch()
        with self.host.knocked_at() as self.away:
            yield self
            self.host.gate.fresh()

    def which(self, rate: int) -> str:
        return {self.host.rate: OLD, self.new: NEW, 0: "none"}.get(rate, f"{rate}mbit")

    def trees(self, seen: Seen) -> tuple[str, str]:
        """Return what stands and what the next boot brings."""
        return self.which(seen.tree), self.which(seen.kept)

    def before(self, number: int, happens: Callable[[], object]) -> threading.Event:
        """Have something happen before this connection comes through; the event says that it has."""
        done = threading.Event()

        def on_connection(count: int) -> None:
            if count == number:
                happens()
                done.set()

        self.host.gate.on_connection = on_connection
        return done

    def shut(self, *scripts: str) -> None:
        """Let nobody through any more, and have scripts run on the host."""
        self.host.gate.shut = True
        for script in scripts:
            self.host.ask(script)

    def conclude(self, seen: Seen, said: str = "", bare: str = "") -> None:
        """Run once more, which has to converge, and note what was seen."""
        if seen.tree:
            assert seen.bare < BARE
        again = self.host.play(self.new, LATE)
        assert again.process.returncode == 0, again.output
        assert self.trees(self.host.look()) == (NEW, NEW)
        self.note(
            **{
                "fault": self.fault,
                "release": self.host.release,
                "ssh away": f"{self.away[0]:.1f} s",
                "tree": self.which(seen.tree),
                "next boot": self.which(seen.kept),
                "without limits": bare or f"{seen.bare:.0f} ms",
                "the task said": said,
                "run again": "repaired" if again.changed else "nothing to do",
            }
        )
        self.host.rate = self.new


Begin = Callable[[str, str], contextlib.AbstractContextManager[Case]]


@pytest.fixture
def case(hosts: Callable[[str], FaultyHost], note: Callable[..., None]) -> Begin:
    return lambda release, fault: Case(hosts(release), fault, note).watched()


@pytest.mark.parametrize(("step", "release"), on_both(STEPS))
def test_the_controller_is_killed(case: Begin, step: str, release: str) -> None:
    with case(release, f"controller killed, {step}") as this:
        if step == "reconnecting":
            reached = this.before(2, this.shut)
            run = this.host.start(this.new, SOON if STEPS[step] == OLD else LATE)
            assert reached.wait(60)
            run.kill()
        else:
            with this.host.trapped(step) as trap:
                run = this.host.start(this.new, SOON if STEPS[step] == OLD else LATE)
                expect(trap, "there")
                run.kill()
                this.host.gate.cut()
                trap.communicate("\n", timeout=20)
        seen = this.host.settled()
    assert this.trees(seen) == (STEPS[step], STEPS[step])
    assert this.away[0] < 15  # an emulated host is slow, and busy with all this
    this.conclude(seen)


@pytest.mark.parametrize(("step", "release"), on_both(STEPS))
def test_the_power_fails(case: Begin, step: str, release: str) -> None:
    with case(release, f"power cut, {step}") as this:
        boot = this.host.boot()
        if step == "reconnecting":
            this.before(2, lambda: this.host.ask(POWER_CUT))
            run = this.host.play(this.new, LATE)
        else:
            with this.host.trapped(step, "cut"):
                run = this.host.play(this.new, LATE)
        seen = this.host.settled()
        assert this.host.boot() != boot, run.output
        network = this.host.ask(
            'systemctl show -P ActiveEnterTimestampMonotonic network-pre.target "virtnet-qos@$1.service"'
        ).split()
    # What was confirmed and not written yet is lost with the power, and the boot brings what was written.
    written = step == "persisted"
    assert this.which(seen.kept) == (NEW if written else OLD)
    assert seen.tree == seen.kept
    before = (int(network[0]) - int(network[1])) / 1000
    assert before > 0
    this.conclude(seen, short(run), bare=f"tree {before:.0f} ms before the network")


def short(run: Run) -> str:
    """Return what a task said, without its device."""
    return run.message.split(": ", 1)[-1] if run.message else "changed" if run.changed else "unreachable"


@pytest.mark.parametrize(("step", "release"), on_both(["changed", "confirming"]))
def test_the_connection_is_cut(case: Begin, step: str, release: str) -> None:
    with case(release, f"connection cut, {step}") as this, this.host.trapped(step) as trap:
        run = this.host.start(this.new, SOON if STEPS[step] == OLD else LATE)
        expect(trap, "there")
        this.host.gate.cut()
        trap.communicate("\n", timeout=20)
        run.end()
        seen = this.host.settled()
    assert this.trees(seen) == (STEPS[step], STEPS[step])
    assert run.process.returncode == (2 if STEPS[step] == OLD else 0), run.output
    assert ("the connection was lost during the change" in run.message) == (STEPS[step] == OLD)
    this.conclude(seen, short(run))


@pytest.mark.parametrize(("fault", "release"), on_both(["ssh strangled", "ssh strangled, controller killed"]))
def test_nobody_gets_through_any_more(case: Begin, fault: str, release: str) -> None:
    """The tree itself lets next to nothing out: 1 byte a second is the least there is."""
    with case(release, fault) as this:
        met = this.before(2, lambda: None)
        run = this.host.start(0, SOON, lowest="8bit")
        if "killed" in fault:
            assert met.wait(60)
            run.kill()
        else:
            run.end()
        seen = this.host.settled()
    if "killed" not in fault:
        assert run.process.returncode == 2
        assert NOT_CONFIRMED in run.message
    assert this.trees(seen) == (OLD, OLD)
    assert SOON / 2 < this.away[0] < SOON + 15
    this.conclude(seen, short(run) if "killed" not in fault else "")


# On the host while the controller is shut out, what mends that, and what the task says then
WHILE_AWAY = {
    "network down": ("true", "true", "brought back the tree from before"),
    "clock one hour on": ("date -s '+1 hour'", "date -s '-1 hour'", "brought back the tree from before"),
    "clock one hour back": ("date -s '-1 hour'", "date -s '+1 hour'", "brought back the tree from before"),
    "rollback fails half-way": (
        'sed -i "s/^class add .* classid 1389:7 .*/class add dev $1 parent 1389:4321 classid 1389:7 hfsc ls m2 1mbit/"'
        ' /run/virtnet-qos/"$1"/*/before.tc',
        "true",
        "could not be made",
    ),
    "timer stopped": ("systemctl stop 'virtnet-qos-rollback-*.timer'", "true", ""),
}


@pytest.mark.parametrize(("fault", "release"), on_both(WHILE_AWAY))
def test_something_happens_before_it_is_confirmed(case: Begin, fault: str, release: str) -> None:
    happens, mend, says = WHILE_AWAY[fault]
    with case(release, f"unconfirmed, {fault}") as this:
        reached = this.before(2, lambda: this.shut(happens))
        run = this.host.start(this.new, SOON)
        assert reached.wait(60)
        threading.Timer(SOON + 3, this.host.gate.fresh).start()
        run.end()
        seen = this.host.look() if fault == "timer stopped" else this.host.settled()
        this.host.ask(mend)
    assert run.process.returncode == 2
    assert NOT_CONFIRMED in run.message
    assert says in run.message
    expected = {"rollback fails half-way": "none", "timer stopped": NEW}.get(fault, OLD)
    assert this.trees(seen) == (expected, OLD)
    this.conclude(seen, short(run))


REFUSALS = {
    "read-only /etc": (
        "mount --bind /etc /etc && mount -o remount,ro,bind /etc",
        "umount /etc",
        "cannot be written to /etc",
    ),
    "no room in /etc": (
        "mount -t tmpfs -o size=32k none /mnt && cp -a /etc/virtnet-qos/. /mnt && mount --bind /mnt /etc/virtnet-qos"
        " && umount /mnt && ! cat /dev/zero > /etc/virtnet-qos/full 2>/dev/null",
        "umount /etc/virtnet-qos",
        "No space left on device",
    ),
    "no room in /run": (
        "! cat /dev/zero > /run/full 2>/dev/null",
        "rm /run/full",
        "could not be made to undo the change by itself",
    ),
    "systemd refuses": (
        "mount -t tmpfs -o ro none /run/systemd/transient",
        "umount /run/systemd/transient",
        "could not be made to undo the change by itself: systemd-run",
    ),
}


@pytest.mark.parametrize(("fault", "release"), on_both(REFUSALS))
def test_what_cannot_be_safe_is_refused(case: Begin, fault: str, release: str) -> None:
    happens, mend, says = REFUSALS[fault]
    with case(release, fault) as this:
        this.host.ask(happens)
        try:
            run = this.host.play(this.new, LATE)
            seen = this.host.look()
        finally:
            this.host.ask(mend)
    assert run.process.returncode == 2
    assert says in run.message
    assert this.trees(seen) == (OLD, OLD)
    assert not {"pending", "expired"} & set(seen.holds)
    this.conclude(seen, short(run))


@pytest.mark.parametrize(("fault", "release"), on_both(["another run meanwhile"]))
def test_another_run_is_refused(case: Begin, fault: str, release: str) -> None:
    with case(release, fault) as this:
        others: list[Run] = []
        met = this.before(2, lambda: others.append(this.host.play(this.new + 1, LATE)))
        run = this.host.start(this.new, LATE)
        assert met.wait(60)
        run.end()
        seen = this.host.look()
    assert others[0].process.returncode == 2
    assert "waits to be confirmed" in others[0].message
    assert run.process.returncode == 0, run.output
    assert this.trees(seen) == (NEW, NEW)
    this.conclude(seen, short(others[0]))
