# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Getting through to a libvirt daemon: who one is, and for how long it may be silent."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

with contextlib.suppress(ImportError):  # _libvirt_host tells of it
    import libvirt

OPTIONS: dict[str, Any] = {
    "uri": {"type": "str", "default": "qemu:///system"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "timeout": {"type": "int", "default": 30},
}
TOGETHER = ("username", "password")
# More than an hour is no limit, and less than what one slow answer takes would make changes fail half-way.
SECONDS = range(5, 3601)
# libvirt asks a daemon that is silent for a sixth of the time whether it is there, and again after another sixth;
# the fifth question that is not answered ends the connection (virKeepAliveTimerInternal in src/rpc/virkeepalive.c).
QUESTIONS = 5


class NoAnswer(Exception):
    """The daemon did not answer in time while the connection was made."""


@dataclass(frozen=True)
class Login:
    """Who one is to a daemon, if it asks. ``seconds`` is how long it may be silent."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    seconds: int = OPTIONS["timeout"]["default"]


NOBODY = Login()


def login_of(options: Mapping[str, Any], problems: Problems) -> Login:
    """Return what the options of a module say."""
    seconds = options["timeout"]
    if seconds not in SECONDS:
        rule = f"not from {SECONDS[0]} to {SECONDS[-1]} seconds"
        problems.add("timeout", seconds, rule, f"write a number from {SECONDS[0]} to {SECONDS[-1]}")
    return Login(options["username"], options["password"], seconds)


def connect(uri: str, read_only: bool, login: Login) -> Any:
    """Return a connection. Raises `NoAnswer`, and libvirtError."""
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def opened() -> None:
        # Before the connection is there: libvirt asks and answers whether both are, where somebody looks after it.
        libvirt.virEventRegisterDefaultImpl()
        try:
            answer.put(_open(uri, read_only, login))
        except Exception as error:
            answer.put(error)
        _look_after_connections()

    threading.Thread(target=opened, daemon=True).start()  # libvirt itself waits for ever
    try:
        result = answer.get(timeout=login.seconds)
    except queue.Empty:
        raise NoAnswer from None
    if isinstance(result, Exception):
        raise result
    return result


def _open(uri: str, read_only: bool, login: Login) -> Any:
    connection = libvirt.openAuth(
        uri,
        [[libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE], _tell, login],
        libvirt.VIR_CONNECT_RO if read_only else 0,
    )
    try:
        connection.setKeepAlive(max(1, login.seconds // (QUESTIONS + 1)), QUESTIONS)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:  # libvirt's test driver is no daemon
            raise
    return connection


def _tell(asked: list[list[Any]], login: Login) -> int:
    """Answer what libvirt asks of a user; -1 where there is no answer."""
    known = {libvirt.VIR_CRED_AUTHNAME: login.username, libvirt.VIR_CRED_PASSPHRASE: login.password}
    for each in asked:
        each[4] = known.get(each[0])
    return -1 if any(each[4] is None for each in asked) else 0


_begun = threading.Lock()


def _look_after_connections() -> None:
    """Do so for ever, in one thread."""
    if not _begun.acquire(blocking=False):
        return
    while True:
        libvirt.virEventRunDefaultImpl()
        # It is woken with every call of another thread, which doubled what a call costs. Once a second is enough:
        # a daemon asks every few, and who waits for an answer looks after the connection by itself.
        time.sleep(1)
