# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users are told where a URI leads nowhere, and where libvirt refuses."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _libvirt_error, _libvirt_host
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host, check_uri
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

libvirt = pytest.importorskip("libvirt")


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("qemu:///session", "use qemu:///system"),
        ("qemu+ssh://kvm1.example.com/session", "use qemu+ssh://kvm1.example.com/system"),
        ("qemu:///session?socket=/run/user/1000/x", "use qemu:///system?socket=/run/user/1000/x"),
        ("qemu+ssh://session-host/session?x=/session", "use qemu+ssh://session-host/system?x=/session"),
        ("qemu+ssh://ann@session/session", "use qemu+ssh://ann@session/system"),
    ],
)
def test_a_session_is_refused(uri: str, remedy: str) -> None:
    problems = Problems()
    check_uri(uri, problems)
    (problem,) = problems.found
    assert problem.startswith(f"uri '{uri}': libvirt limits bandwidth only in its system daemon, not in a session")
    assert remedy in problem


@pytest.mark.parametrize("uri", ["qemu:///system\0", "qemu:///system\ud800", "qemu:///\nsystem"])
def test_what_no_uri_has_is_refused(uri: str) -> None:
    problems = Problems()
    check_uri(uri, problems)
    assert problems.found[0].endswith("no URI has such a character; write one such as qemu:///system.")


def test_an_alias_of_a_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the alias stands for is known once libvirt has looked it up; no session daemon runs here."""

    class Aliased:
        def getURI(self) -> str:  # noqa: N802, libvirt's name
            return "qemu:///session"

    monkeypatch.setattr(_libvirt_host, "connect", lambda *_arguments: Aliased())
    with pytest.raises(HostError, match=r"^uri 'mine': it is an alias of qemu:///session, and libvirt limits band"):
        Host("mine")


@pytest.mark.parametrize("uri", ["qemu:///system", "qemu+tcp://session/system", "test:///default"])
def test_a_system_daemon_is_not(uri: str) -> None:
    problems = Problems()
    check_uri(uri, problems)
    assert not problems.found


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"No such file or directory.*libvirt is not running here.*systemctl start"):
        Host(f"qemu+unix:///system?socket={tmp_path}/none")


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        with pytest.raises(
            HostError, match=r"Connection refused \(libvirt error 38\); nothing answers at this address"
        ):
            Host(f"qemu+unix:///system?socket={path}")


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ((), "Cannot read CA certificate '"),
        (("cacert.pem",), "Unable to import CA certificate list"),
        (("cacert.pem", "clientcert.pem", "clientkey.pem"), "Unable to import client certificate"),
    ],
)
def test_qemu_tls_without_what_it_needs(tmp_path: Path, there: tuple[str, ...], told: str) -> None:
    for name in there:
        (tmp_path / name).write_text("none", encoding="ascii")
    with pytest.raises(HostError, match=told) as failed:
        Host(f"qemu+tls://127.0.0.1:1/system?pkipath={tmp_path}")
    assert "qemu+tls needs certificates that fit each other: on the host that the task runs" in str(failed.value)
    assert "socket" not in str(failed.value)


def test_a_uri_that_no_driver_takes() -> None:
    with pytest.raises(HostError, match="Connecting to test:///nowhere/at/all failed: "):
        Host("test:///nowhere/at/all")


@pytest.mark.parametrize(
    ("code", "number", "hint"),
    [
        (
            libvirt.VIR_ERR_AUTH_FAILED,
            -1,
            "libvirt did not let this user in: give the username and password if it asks",
        ),
        (libvirt.VIR_ERR_AUTH_UNAVAILABLE, -1, "libvirt did not let this user in"),
        (29, -1, "this user may not do that"),
        (88, -1, "this user may not do that"),
        (68, -1, "the guest is busy, as with a migration; run again when that is over"),
        (107, -1, "the virtual network was restarted while the guest was plugged in"),
        (1, -1, None),
    ],
)
def test_what_to_do_about_an_error(code: int, number: int, hint: str | None) -> None:
    error = libvirt.libvirtError("it failed")
    error.err = (code, 7, "it failed", 2, "%s", "it failed", None, number, -1)
    text = _libvirt_error.sentence("Doing it", error)
    assert text.startswith(f"Doing it failed: it failed (libvirt error {code})")
    assert (hint in text) if hint else text.endswith(").")


@pytest.mark.parametrize(
    ("code", "number", "text", "hint"),
    [
        (38, errno.EACCES, "Failed to connect socket to '/s'", "this user may not open libvirt's socket: run the task"),
        (38, errno.EPERM, "Failed to connect socket to '/s'", "this user may not open libvirt's socket"),
        (38, errno.EACCES, "Cannot read client key '/k'", "; qemu+tls needs certificates"),
        (45, -1, "authentication failed: Failed to verify peer's certificate", "; qemu+tls needs certificates"),
        (38, errno.EACCES, "Failed to open file '/etc/libvirt/auth.conf'", None),
        (38, errno.ENOENT, "Cannot find it", None),
    ],
)
def test_what_an_error_is_about(code: int, number: int, text: str, hint: str | None) -> None:
    error = libvirt.libvirtError(text)
    error.err = (code, 7, text, 2, "%s", text, None, number, -1)
    told = _libvirt_error.sentence("Doing it", error)
    assert (hint in told) if hint else told == f"Doing it failed: {text} (libvirt error {code})."
