# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.connection import ConnectionBase

from ansible_collections.virtnet.qos.plugins.action import tc_hfsc_class as action
from ansible_collections.virtnet.qos.plugins.plugin_utils import _alarm
from ansible_collections.virtnet.qos.plugins.plugin_utils._alarm import Overdue, bounded

CHANGED = {
    "changed": True,
    "device": "eth0",
    "actions": [{"op": "add", "object": "class", "id": "1389:64"}],
    "diff": {"before": "", "after": "class 1389:64\n"},
    "script": "qdisc add dev eth0 root handle 1389: hfsc default 1388\n",
    "_ansible_parsed": True,
}
KILLED = {"failed": True, "_ansible_parsed": False, "msg": "MODULE FAILURE", "module_stderr": "Killed\n", "rc": 137}
DOWN = "Failed to connect to the host via ssh: Connection timed out during banner exchange"


def raise_any(error: BaseException | None) -> None:
    if error is not None:
        raise error


class Host:
    """The module's side of the protocol, and a clock that only it and the plugin's pauses move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls: list[dict[str, Any]] = []
        self.token = ""
        self.state = "unknown"
        self.until = 0.0
        self.answer: dict[str, Any] = dict(CHANGED)  # of the first run
        self.confirms: dict[str, Any] = {}  # what the confirmation says beyond the usual
        self.rollback = "restored"
        self.lost: list[str] = []
        self.reachable: Callable[[], bool] = lambda: True
        self.loses: Callable[[str], BaseException | None] = lambda stage: None  # an answer, by its stage

    @property
    def stages(self) -> list[str]:
        return [call.get("_confirm", {}).get("stage", "") for call in self.calls]

    def times(self, stage: str) -> list[float]:
        return [call["at"] - 1000 for call in self.calls if call.get("_confirm", {}).get("stage") == stage]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, name: str, options: dict[str, Any], **keywords: Any) -> dict[str, Any]:
        assert name == "virtnet.qos.tc_hfsc_class"
        self.calls.append({**options, **keywords, "at": self.now})
        self.now += 0.5
        said = options.get("_confirm", {})
        stage = said.get("stage", "")
        if not self.reachable():
            self.now += 10
            raise AnsibleConnectionFailure(DOWN)
        if self.state == "pending" and self.now >= self.until:
            self.state = self.rollback
        result = self._carry_out(stage, said, options)
        raise_any(self.loses(stage))
        invocation = {"module_args": dict(options)}
        return {**result, "invocation": invocation} if result.get("_ansible_parsed", True) else result

    def _carry_out(self, stage: str, said: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        if stage == "arm":
            self.token = said["token"]
            if self.answer.get("changed"):
                self.state, self.until = "pending", self.now + int(options["confirm_timeout"])
                return {**self.answer, "_pending": {"seconds": self.until - self.now}}
            return dict(self.answer)
        if stage:
            assert said["token"] == self.token
        if stage == "outcome":
            log = "Error: Specified class not found." if self.state == "failed" else ""
            return {"changed": False, "outcome": self.state, "log": log, "lost": self.lost}
        if stage == "confirm":
            if self.state not in ("pending", "confirmed"):
                return {"failed": True, "msg": "eth0: cannot be confirmed: it was taken back already."}
            self.state = "confirmed"
            return {"changed": True, "confirmed": True, "device": "eth0", **self.confirms}
        return dict(self.answer)


class Connection:
    """One that can be reset."""

    has_native_async = False
    transport = "ssh"

    def __init__(self) -> None:
        self._shell = SimpleNamespace(tmpdir=None)
        self.resets = 0
        self.retries: int | None = None
        self.retries_set: list[int] = []

    def reset(self) -> None:
        self.resets += 1

    def get_option(self, name: str) -> int:
        if name != "reconnection_retries" or self.retries is None:
            raise KeyError(name)
        return self.retries

    def set_option(self, name: str, value: int) -> None:
        assert name == "reconnection_retries"
        self.retries = value
        self.retries_set.append(value)


class Plugin(action.ActionModule):
    """The plugin, with a host behind it."""

    def __init__(self, host: Host, options: dict[str, Any], **task: Any) -> None:
        self.connection = task.pop("connection", Connection())
        task = {"args": options, "async_val": 0, "check_mode": False, "action": "tc_hfsc_class", **task}
        super().__init__(SimpleNamespace(**task), self.connection, SimpleNamespace(), None, None, None)
        self.host = host
        self._clock = lambda: host.now
        self._sleep = host.sleep

    def _execute_module(self, module_name: str, module_args: dict[str, Any], **keywords: Any) -> dict[str, Any]:
        return self.host.run(module_name, module_args, **keywords)


@pytest.fixture
def host() -> Host:
    return Host()


OPTIONS = {"device": "eth0", "vlan": 100, "share": 60, "confirm_timeout": 30, "persistent": True}


def test_confirms_over_a_new_connection(host: Host) -> None:
    plugin = Plugin(host, OPTIONS)
    result = plugin.run(task_vars={"a": 1})
    invocation = result.pop("invocation")
    assert result == {**CHANGED, "confirmed": True}
    assert "_confirm" not in invocation["module_args"]
    assert host.stages == ["arm", "confirm"]
    assert plugin.connection.resets == 1
    arm, confirm = host.calls
    assert {**OPTIONS, "_confirm": arm["_confirm"]}.items() <= arm.items()
    assert len(arm["_confirm"]["token"]) == 16
    assert "@" in arm["_confirm"]["by"]
    assert arm["task_vars"] == {"a": 1}
    # It must not be refused for classes that it does not need.
    assert set(confirm) == {"device", "confirm_timeout", "persistent", "_confirm", "task_vars", "at"}


def test_confirmation_goes_to_the_same_place(host: Host) -> None:
    Plugin(host, {**OPTIONS, "netns": "far", "handle": "1:"}).run()
    assert {"netns": "far", "handle": "1:"}.items() <= host.calls[1].items()


def test_nothing_differs(host: Host) -> None:
    host.answer = {"changed": False, "device": "eth0", "actions": []}
    plugin = Plugin(host, OPTIONS)
    result = plugin.run()
    assert result["changed"] is False
    assert "confirmed" not in result
    assert host.stages == ["arm"]
    assert plugin.connection.resets == 0


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ({"confirm_timeout": None}, {}),
        ({"confirm_timeout": 30}, {"check_mode": True}),
        ({"confirm_timeout": "soon"}, {}),  # for the module to refuse, with all else that is wrong
        ({}, {"async_val": 10}),
    ],
)
def test_runs_the_module_once(host: Host, options: dict[str, Any], task: dict[str, Any]) -> None:
    host.answer = dict(CHANGED)
    result = Plugin(host, {"device": "eth0", **options}, **task).run()
    assert result["changed"] is True
    assert host.stages == [""]
    assert "_confirm" not in host.calls[0]
    assert host.calls[0]["wrap_async"] is bool(task.get("async_val"))


@pytest.mark.parametrize("check_mode", [False, True])
def test_async_is_refused(host: Host, check_mode: bool) -> None:
    with pytest.raises(AnsibleActionFail, match="Leave out async"):
        Plugin(host, OPTIONS, async_val=60, check_mode=check_mode).run()
    assert not host.calls


def test_private_option_is_refused(host: Host) -> None:
    with pytest.raises(AnsibleActionFail, match="_confirm is not for tasks"):
        Plugin(host, {**OPTIONS, "_confirm": {"stage": "confirm"}}).run()


def test_tries_again_until_it_gets_through(host: Host) -> None:
    host.reachable = lambda: len(host.calls) in (1, 4)
    plugin = Plugin(host, OPTIONS)
    result = plugin.run()
    assert result["confirmed"] is True
    assert "failed" not in result
    assert host.stages == ["arm", "confirm", "confirm", "confirm"]
    assert plugin.connection.resets == 3


def test_locked_out(host: Host) -> None:
    """Nothing gets through until the host has brought the tree back."""
    host.reachable = lambda: len(host.calls) == 1 or host.now > host.until + 5
    result = Plugin(host, OPTIONS).run()
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["confirmed"] is False
    assert result["actions"] == CHANGED["actions"]
    assert result["diff"] == CHANGED["diff"]
    assert "_pending" not in result
    assert result["msg"] == (
        f"eth0: the change was not confirmed over a new connection within 30 s ({DOWN})."
        " The host has brought back the tree from before. If connecting only takes longer, raise confirm_timeout."
    )
    assert max(host.times("confirm")) < 31
    assert min(host.times("outcome")) >= 30
    assert host.state == "restored"


def test_what_no_batch_can_make_is_named(host: Host) -> None:
    host.lost = ["the root qdisc htb 1:"]
    host.reachable = lambda: len(host.calls) == 1 or host.now > host.until + 5
    result = Plugin(host, OPTIONS).run()
    assert "has brought back the tree from before, without the root qdisc htb 1:. If connecting" in result["msg"]
    assert result["changed"] is True


@pytest.mark.parametrize("transport", ["local", "community.general.chroot", "community.docker.docker_api"])
def test_a_connection_that_stays_on_the_host_is_refused(host: Host, transport: str) -> None:
    connection = Connection()
    connection.transport = transport
    with pytest.raises(AnsibleActionFail, match=f"the connection {transport} stays on the host"):
        Plugin(host, OPTIONS, connection=connection).run()
    assert host.calls == []


def test_rollback_failed(host: Host) -> None:
    host.rollback = "failed"
    host.reachable = lambda: len(host.calls) == 1 or host.now > host.until
    result = Plugin(host, OPTIONS).run()
    assert result["changed"] is True
    assert "failed to bring back the tree from before: Error: Specified class not found." in result["msg"]


def test_never_reached_again(host: Host) -> None:
    host.reachable = lambda: len(host.calls) == 1
    result = Plugin(host, OPTIONS).run()
    assert result["changed"] is True
    assert result["failed"] is True
    assert f"could not be asked what became of it ({DOWN}). Unless a confirmation reached it" in result["msg"]
    assert 90 <= host.now - 1000 < 90 + 15


def test_started_again_meanwhile(host: Host) -> None:
    def starts_again() -> bool:
        if len(host.calls) > 1:
            host.state = "unknown"
        return len(host.calls) == 1 or host.now > 1060

    host.reachable = starts_again
    result = Plugin(host, OPTIONS).run()
    assert result["changed"] is True
    assert "knows nothing of it any more: it was started again" in result["msg"]


def test_rollback_is_late(host: Host) -> None:
    """The host waits for a run that is at work."""
    host.reachable = lambda: len(host.calls) == 1 or host.now > host.until

    def delay(stage: str) -> None:
        if host.state == "restored" and host.now < 1050:
            host.state = "expired"
        elif host.state == "expired" and host.now >= 1050:
            host.state = "restored"

    host.loses = delay
    outcome = host.run

    def run(*arguments: Any, **keywords: Any) -> dict[str, Any]:
        result = outcome(*arguments, **keywords)
        return {**result, "outcome": host.state} if "outcome" in result else result

    host.run = run  # type: ignore[method-assign]
    result = Plugin(host, OPTIONS).run()
    assert result["changed"] is False
    assert host.now >= 1050


@pytest.mark.parametrize(
    "lost",
    [AnsibleConnectionFailure("Shared connection to host closed."), Overdue("no answer within 150 s")],
)
def test_lost_during_the_change(host: Host, lost: BaseException) -> None:
    """It is not confirmed although the host can be reached again: nobody knows whether the change was finished."""
    host.loses = lambda stage: lost if stage == "arm" else None
    result = Plugin(host, OPTIONS).run()
    assert "confirm" not in host.stages
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["msg"] == (
        f"eth0: the connection was lost during the change, so it was not confirmed ({lost})."
        " The host has brought back the tree from before. Run it again."
    )


def test_killed_during_the_change(host: Host) -> None:
    original = host._carry_out

    def killed(stage: str, said: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        result = original(stage, said, options)
        return dict(KILLED) if stage == "arm" else result

    host._carry_out = killed  # type: ignore[method-assign]
    result = Plugin(host, OPTIONS).run()
    assert "confirm" not in host.stages
    assert result["changed"] is False
    assert "lost during the change, so it was not confirmed (Killed; exit status 137)" in result["msg"]


def test_killed_whenever_it_runs(host: Host) -> None:
    host._carry_out = lambda *_arguments: dict(KILLED)  # type: ignore[method-assign]
    result = Plugin(host, OPTIONS).run()
    assert host.stages == ["arm", *["outcome"] * 3]
    assert "could not be asked what became of it (Killed; exit status 137)" in result["msg"]


def test_lost_before_the_change(host: Host) -> None:
    """The first run may be waiting for another one, and change the device long after its connection is gone."""
    host.answer = {"changed": False}
    host.loses = lambda stage: AnsibleConnectionFailure("Shared connection closed.") if stage == "arm" else None
    result = Plugin(host, OPTIONS).run()
    assert result["changed"] is False
    assert "knows nothing of it: nothing was changed. Run it again." in result["msg"]
    assert host.now - 1000 >= 40


@pytest.mark.parametrize(
    "error",
    [
        AnsibleConnectionFailure("Failed to connect to the host via ssh: ssh: connect to host h port 22: No route"),
        AnsibleConnectionFailure("Failed to create temporary directory. In some cases, ..."),
        AnsibleAuthenticationFailure("Invalid/incorrect password"),
        AnsibleError("failed to transfer file"),
    ],
)
def test_never_begun(host: Host, error: BaseException) -> None:
    """Such a host is unreachable, as it is for any other module, and nobody waits for it."""
    host.loses = lambda stage: error
    with pytest.raises(type(error)):
        Plugin(host, OPTIONS).run()
    assert host.stages == ["arm"]


def test_no_python_there(host: Host) -> None:
    host._carry_out = lambda *_arguments: {**KILLED, "rc": 127}  # type: ignore[method-assign]
    result = Plugin(host, OPTIONS).run()
    assert host.stages == ["arm"]
    assert result == {**KILLED, "rc": 127}


def test_refusal_of_the_module(host: Host) -> None:
    host.answer = {"failed": True, "msg": "eth0: a change by me@here waits to be confirmed"}
    result = Plugin(host, OPTIONS).run()
    assert result["msg"] == "eth0: a change by me@here waits to be confirmed"
    assert host.stages == ["arm"]


def test_failed_and_could_not_be_undone(host: Host) -> None:
    host.answer = {**CHANGED, "failed": True, "msg": "eth0: refused, and undoing failed.", "exception": "Traceback"}
    result = Plugin(host, OPTIONS).run()
    assert "confirm" not in host.stages
    assert result["changed"] is False
    assert result["msg"].startswith("eth0: refused, and undoing failed. The host has brought back the tree")
    assert "exception" not in result


def test_answer_of_the_confirmation_is_lost(host: Host) -> None:
    """It is confirmed again: the host says yes as often as it is asked."""
    lost = iter([AnsibleConnectionFailure("Shared connection closed.")])
    host.loses = lambda stage: next(lost, None) if stage == "confirm" else None
    result = Plugin(host, OPTIONS).run()
    assert result["confirmed"] is True
    assert "failed" not in result


def test_answer_of_the_confirmation_is_lost_at_the_end(host: Host) -> None:
    host.reachable = lambda: len(host.calls) == 1 or host.now > host.until - 9
    host.loses = lambda stage: AnsibleConnectionFailure("closed") if stage == "confirm" and host.now < 1035 else None
    result = Plugin(host, OPTIONS).run()
    assert host.stages[-2:] == ["outcome", "confirm"]
    assert host.state == "confirmed"
    assert result["confirmed"] is True


def test_what_follows_the_confirmation_could_not_be_finished(host: Host) -> None:
    host.loses = lambda stage: AnsibleConnectionFailure("closed") if stage == "confirm" else None
    result = Plugin(host, OPTIONS).run()
    assert host.state == "confirmed"
    assert result["failed"] is True
    assert result["confirmed"] is True
    assert result["msg"] == "eth0: the change was confirmed, but not finished (closed). Run it again."


def test_confirmed_but_not_kept(host: Host) -> None:
    host.confirms = {"failed": True, "msg": "eth0: the next boot does not bring it: Read-only file system."}
    result = Plugin(host, OPTIONS).run()
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["confirmed"] is True
    assert result["msg"] == "eth0: the next boot does not bring it: Read-only file system."


def test_warnings_of_both_runs(host: Host) -> None:
    host.answer = {**CHANGED, "warnings": ["one"], "deprecations": ["old"]}
    host.confirms = {"warnings": ["one", "two"], "deprecations": ["old"], "persistent": True}
    result = Plugin(host, OPTIONS).run()
    assert result["warnings"] == ["one", "two"]
    assert result["deprecations"] == ["old"]
    assert result["persistent"] is True


def test_temporary_folder_that_is_gone_is_made_anew(host: Host) -> None:
    errors = iter([AnsibleError("failed to transfer file")])
    host.loses = lambda stage: next(errors, None) if stage == "confirm" else None
    plugin = Plugin(host, OPTIONS)
    plugin.connection._shell.tmpdir = "/gone"
    assert plugin.run()["confirmed"] is True
    assert plugin.connection._shell.tmpdir is None


@pytest.mark.parametrize("retries", [0, 3])
def test_ssh_does_not_run_a_change_twice(host: Host, retries: int) -> None:
    seen = []
    connection = Connection()
    connection.retries = retries
    host.loses = lambda stage: seen.append(connection.retries)
    Plugin(host, OPTIONS, connection=connection).run()
    assert seen == [0, 0]
    assert connection.retries == retries


def test_connection_without_a_reset_is_closed(host: Host) -> None:
    class Old(Connection):
        reset = ConnectionBase.reset
        closed = 0

        def close(self) -> None:
            self.closed += 1

    plugin = Plugin(host, OPTIONS, connection=Old())
    assert plugin.run()["confirmed"] is True
    assert plugin.connection.closed == 1


def test_reset_that_cannot_connect(host: Host) -> None:
    """As that of paramiko, which connects at once."""

    class Eager(Connection):
        def reset(self) -> None:
            super().reset()
            if self.resets < 3:
                host.now += 5
                raise AnsibleConnectionFailure("timed out")

    assert Plugin(host, OPTIONS, connection=Eager()).run()["confirmed"] is True


def test_cleanup_of_a_host_that_is_lost(host: Host) -> None:
    plugin = Plugin(host, OPTIONS)
    plugin.connection._shell.tmpdir = "/tmp/there"  # noqa: S108

    def refuse(*_arguments: Any, **_keywords: Any) -> None:
        raise AnsibleConnectionFailure(DOWN)

    plugin._remove_tmp_path = refuse
    plugin.cleanup()


def test_each_run_has_its_bound(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[float] = []

    def note(seconds: float) -> Any:
        bounds.append(seconds)
        return bounded(seconds)

    monkeypatch.setattr(action, "bounded", note)
    host.reachable = lambda: len(host.calls) == 1
    Plugin(host, OPTIONS).run()
    assert bounds[0] == 150
    confirms = len(host.times("confirm"))
    assert all(0 < bound <= 30 for bound in bounds[1 : confirms + 1])
    assert all(0 < bound <= 20 for bound in bounds[confirms + 1 :])


def alarm_is_off() -> bool:
    return signal.getsignal(signal.SIGALRM) == signal.SIG_DFL and signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_alarm() -> None:
    with pytest.raises(Overdue, match="no answer within 100 s"), bounded(100):
        signal.raise_signal(signal.SIGALRM)
    assert alarm_is_off()
    with bounded(100):
        assert 99 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    assert alarm_is_off()


def test_alarm_beside_the_tasks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyword ``timeout`` of a task sets an alarm, too; whichever is earlier rings."""

    class TaskTimeout(BaseException):
        pass

    def ring(*_signal: object) -> None:
        raise TaskTimeout

    signal.signal(signal.SIGALRM, ring)
    try:
        signal.alarm(50)
        with pytest.raises(TaskTimeout), bounded(100):
            signal.raise_signal(signal.SIGALRM)
        clock = iter([7.0, 17.0])
        monkeypatch.setattr(_alarm, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        with pytest.raises(Overdue), bounded(10):
            signal.raise_signal(signal.SIGALRM)
        assert signal.getsignal(signal.SIGALRM) is ring
        assert 38 < signal.getitimer(signal.ITIMER_REAL)[0] <= 40
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
