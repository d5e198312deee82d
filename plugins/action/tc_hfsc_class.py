# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of ``confirm_timeout``: change, come back over a new connection, confirm.

The host undoes the change by itself unless it is confirmed, so nothing here has to work for it to be safe. What is here
decides when to confirm, which a lost connection forbids, and finds out what became of a change that was not.
"""

from __future__ import annotations

import contextlib
import getpass
import math
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.validation import check_type_int
from ansible.plugins.action import ActionBase
from ansible.plugins.connection import ConnectionBase

from ansible_collections.virtnet.qos.plugins.plugin_utils._alarm import Overdue, bounded
from ansible_collections.virtnet.qos.plugins.plugin_utils._outcome import (
    is_no_answer,
    may_have_begun,
    merged,
    said,
    unconfirmed,
    was_never_sent,
)

MODULE = "virtnet.qos.tc_hfsc_class"
ARM_SECONDS = 120.0  # beyond confirm_timeout: how long the change may take before its connection counts as lost
ASK_SECONDS = 20.0  # for one question: a connection made while nothing got through may take much longer than a new one
GRACE_SECONDS = 60.0  # beyond confirm_timeout: the host may wait 30 s for a run that is at work before it undoes
LATE_SECONDS = 40.0  # for as long a change without an answer may still begin, having waited for another run
CONFIRM_PAUSE, ASK_PAUSE = 1.0, 3.0
DEVICE, WANTED = ("device", "netns"), ("handle", "persistent", "confirm_timeout")
LOCAL = (
    *("local", "chroot", "nsenter", "machinectl", "libvirt_qemu", "libvirt_lxc", "lxc", "lxd", "incus", "docker"),
    *("docker_api", "podman", "buildah", "kubectl", "oc", "jail", "iocage", "zone"),
)
NO_ANSWERS = 3  # modules that ended without a result, after which it makes no sense to ask again

Options = dict[str, Any]


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs the module: once, or to change, to confirm, and to ask what became of it."""

    _supports_check_mode = True
    _supports_async = True
    _clock = staticmethod(time.monotonic)
    _sleep = staticmethod(time.sleep)

    def run(self, tmp: str | None = None, task_vars: Options | None = None) -> dict[str, Any]:
        """Run the module as it is, or with all of the above if the task has ``confirm_timeout``."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = dict(self._task.args)
        if "_confirm" in options:
            raise AnsibleActionFail("_confirm is not for tasks. Use confirm_timeout.")
        try:
            seconds = check_type_int(options.get("confirm_timeout") or 0)
        except TypeError:
            seconds = 0  # the module says what is wrong with it
        if seconds and self._task.async_val:
            raise AnsibleActionFail(
                "confirm_timeout: a task with async cannot come back over a new connection to confirm its change."
                " Leave out async: the task ends by itself, also when the host is lost."
            )
        if not seconds or self._task.check_mode:
            wrap = bool(self._task.async_val and not self._connection.has_native_async)
            return {**result, **self._module(options, task_vars, wrap_async=wrap)}
        if self._connection.transport.rpartition(".")[2] in LOCAL:
            raise AnsibleActionFail(
                f"confirm_timeout: the connection {self._connection.transport} stays on the host, so that coming back"
                " over it proves nothing. Leave out confirm_timeout (host_qos_confirm_timeout: 0 for the role), or run"
                " this over ssh."
            )
        with self._one_attempt_each():
            return {**result, **self._change(options, seconds, task_vars)}

    def cleanup(self, force: bool = False) -> None:
        """Remove the temporary folder on the host. That the host is lost, if it is, has been said by then."""
        with contextlib.suppress(AnsibleConnectionFailure, Overdue), bounded(ASK_SECONDS):
            super().cleanup(force)

    def _module(self, options: Options, task_vars: Options | None, **more: Any) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(MODULE, dict(options), task_vars=task_vars, **more)
        result.get("invocation", {}).get("module_args", {}).pop("_confirm", None)
        return result

    @contextlib.contextmanager
    def _one_attempt_each(self) -> Iterator[None]:
        """Keep the ssh plugin from trying again: a change that was interrupted must not begin a second time."""
        option = "reconnection_retries"
        retries = self.get_connection_option(option)
        if retries:
            self._connection.set_option(option, 0)
        try:
            yield
        finally:
            if retries:
                self._connection.set_option(option, retries)

    def _change(self, options: Options, seconds: int, task_vars: Options | None) -> dict[str, Any]:
        """Have the host prepare the way back and change. Confirm that, unless the connection was lost meanwhile."""
        asked = self._clock()
        hold = {"token": secrets.token_hex(8), "by": _by()}
        first, lost = self._arm({**options, "_confirm": {"stage": "arm", **hold}}, seconds, task_vars)
        pending = first.pop("_pending", None)
        if not lost and pending is None:
            return first
        begun = self._clock()
        deadline = begun + (float(pending["seconds"]) if pending else seconds)
        confirmation, question = (
            {**{name: options[name] for name in names if name in options}, "_confirm": {"stage": stage, **hold}}
            for stage, names in (("confirm", (*DEVICE, *WANTED)), ("outcome", DEVICE))
        )
        may_confirm = not lost and not first.get("failed")  # one that failed could not be undone at once
        device = options.get("device")
        if may_confirm:
            answer, why = self._confirm(confirmation, deadline, task_vars)
            if answer:
                return merged(first, answer)
            head = f"{device}: the change was not confirmed over a new connection within {seconds} s ({why})."
        elif lost:
            head = f"{device}: the connection was lost during the change, so it was not confirmed ({lost})."
        else:
            head = str(first.get("msg"))
        late = begun + LATE_SECONDS if lost else begun
        became, why = self._learn(question, deadline + GRACE_SECONDS, late, task_vars)
        if became.get("outcome") == "unknown" and became.get("uptime", math.inf) < self._clock() - asked:
            became["outcome"] = "rebooted"
        if may_confirm and became.get("outcome") == "confirmed":
            # Only the answer was lost. Once more, since the file for the next boot may not have been written.
            answer, why = self._ask(confirmation, self._clock() + ASK_SECONDS, task_vars)
            text = f"{device}: the change was confirmed, but not finished ({why}). Run it again."
            return merged(first, answer if answer.get("confirmed") else {"failed": True, "msg": text})
        return unconfirmed(first, head, became, why, lost=bool(lost))

    def _arm(self, options: Options, seconds: int, task_vars: Options | None) -> tuple[dict[str, Any], str]:
        """Run the change. Returns its result, and why there is none although it may have begun."""
        try:
            with bounded(seconds + ARM_SECONDS):
                first = self._module(options, task_vars)
        except Overdue as error:
            return {}, str(error)
        except AnsibleConnectionFailure as error:
            if isinstance(error, AnsibleAuthenticationFailure) or was_never_sent(str(error)):
                raise
            return {}, str(error)
        return first, said(first) if may_have_begun(first) else ""

    def _confirm(self, options: Options, deadline: float, task_vars: Options | None) -> tuple[dict[str, Any], str]:
        """Confirm until the host undoes the change. Returns its answer, or why there is none."""
        why = "no time was left"
        while deadline - self._clock() > CONFIRM_PAUSE:  # what has less time says only that it had none
            answer, error = self._ask(options, deadline, task_vars)
            if answer.get("confirmed"):
                return answer, ""
            why = error or why
            self._sleep(CONFIRM_PAUSE)
        return {}, why

    def _learn(
        self, options: Options, end: float, late: float, task_vars: Options | None
    ) -> tuple[dict[str, Any], str]:
        """Ask what became of the change until that is settled. Returns the last answer, or why there is none.

        Until ``late``, a host that knows nothing of it may still be about to begin.
        """
        became: dict[str, Any] = {}
        no_answers, why = 0, ""
        while self._clock() < end and no_answers < NO_ANSWERS:
            answer, error = self._ask(options, min(end, self._clock() + ASK_SECONDS), task_vars)
            why = error or why
            if "outcome" in answer:
                became = answer
                settled = answer["outcome"] in ("restored", "failed", "confirmed")
                if settled or (answer["outcome"] == "unknown" and self._clock() >= late):
                    break
            no_answers += is_no_answer(answer)
            self._sleep(ASK_PAUSE)
        return became, why

    def _ask(self, options: Options, until: float, task_vars: Options | None) -> tuple[dict[str, Any], str]:
        """Run the module over a new connection. Returns its result, empty if it has none, and what went wrong."""
        try:
            with bounded(until - self._clock()):
                self._reset()
                answer = self._module(options, task_vars)
        except (AnsibleConnectionFailure, Overdue) as error:
            return {}, str(error)
        except AnsibleError as error:
            self._connection._shell.tmpdir = None  # a host that was started again may not have it any more
            return {}, str(error)
        return answer, said(answer) if answer.get("failed") else ""

    def _reset(self) -> None:
        """Close the connection, and what keeps it alive, such as the master process of ssh."""
        if getattr(type(self._connection), "reset", None) in (None, ConnectionBase.reset):  # which only warns
            self._connection.close()
        else:
            self._connection.reset()


def _by() -> str:
    """Return who this is, for the message that somebody else gets meanwhile."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # containers run as numbers without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
