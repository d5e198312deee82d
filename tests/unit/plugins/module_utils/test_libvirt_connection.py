# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who one is to libvirt, with its own test driver, and a daemon that is silent. One that falls silent later is in the
host lab.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import Login, connect, login_of
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

pytest.importorskip("libvirt")

NODE = "<node><auth><user password='s3cret'>ann</user><user>bob</user></auth></node>"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    Path(tmp_path, "node.xml").write_text(NODE, encoding="ascii")
    return f"test://{tmp_path}/node.xml"


@pytest.mark.parametrize("read_only", [False, True])
def test_who_is_known_gets_in(uri: str, read_only: bool) -> None:
    assert Host(uri, read_only, Login("ann", "s3cret")).domains(["live"]) == []


@pytest.mark.parametrize("login", [Login("ann", "wrong"), Login("eve", "s3cret"), Login()])
def test_nobody_else_does(uri: str, login: Login) -> None:
    with pytest.raises(HostError, match=r"libvirt did not let this user in: give the username and password") as refused:
        Host(uri, login=login)
    assert "s3cret" not in str(refused.value)


def test_a_daemon_that_says_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "socket"))
        silent.listen()
        begun = time.monotonic()
        with pytest.raises(HostError, match=r"no answer within 1 s; see whether libvirt hangs there, or raise"):
            Host(f"qemu+unix:///system?socket={tmp_path}/socket", login=Login(seconds=1))
        assert time.monotonic() - begun < 5


def test_what_goes_wrong_before_libvirt_is_asked_is_told_at_once() -> None:
    with pytest.raises(UnicodeEncodeError):
        connect("\ud800", False, Login())


@pytest.mark.parametrize("seconds", [4, 3601])
def test_a_time_that_is_none(seconds: int) -> None:
    problems = Problems()
    login_of({"username": None, "password": None, "timeout": seconds}, problems)
    assert problems.found == [f"timeout {seconds}: not from 5 to 3600 seconds; write a number from 5 to 3600."]


def test_a_password_is_shown_nowhere() -> None:
    assert "s3cret" not in repr(Login("ann", "s3cret"))
