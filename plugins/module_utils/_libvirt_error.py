# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What libvirt could not do, in words for users: what was being done, libvirt's own text, and the way out."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

with contextlib.suppress(ImportError):  # _libvirt_host tells of it
    import libvirt

_START = "start it (systemctl start libvirtd, or virtqemud where libvirt is split into daemons)"
_BECOME = "run the task with become=true, or as a user whom this host lets manage libvirt (group libvirt, polkit)"
_LOGIN = f"libvirt did not let this user in: give the username and password if it asks for them, or {_BECOME}"
_CERTIFICATES = (
    "qemu+tls needs certificates that fit each other: on the host that the task runs on cacert.pem, clientcert.pem and "
    "clientkey.pem, readable to this user, where libvirt looks for them (or where pkipath in the uri says)"
)
SILENT = "see whether libvirt hangs there, or raise the option timeout"
_REPLUG = (
    "the virtual network was restarted while the guest was plugged in; restart the guest, or the daemon of libvirt, "
    "so that the NIC gets its port back"
)


class HostError(Exception):
    """libvirt could not do what it was asked. The text is for users and carries libvirt's own.

    ``stands`` tells whether some of a change that failed could not be taken back, ``gone`` whether the domain was
    undefined, shut off or started meanwhile.
    """

    def __init__(self, message: str, stands: bool = False, gone: bool = False) -> None:
        super().__init__(message)
        self.stands = stands
        self.gone = gone


@contextmanager
def explained(doing: str) -> Generator[None, None, None]:
    """Raise what libvirt refuses within as `HostError`."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise host_error(doing, error) from error


def host_error(doing: str, error: Any) -> HostError:
    """Return an error of libvirt's as one for users."""
    return HostError(sentence(doing, error), gone=is_gone(error))


def is_gone(error: Any) -> bool:
    """Whether it is what libvirt answers of a domain that was undefined, shut off or started since it was found."""
    return error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)


def sentence(doing: str, error: Any) -> str:
    """Return what was being done, that it failed, why, and what to do about it."""
    hint = _hint(error)
    text = f"{doing} failed: {error.get_error_message()} (libvirt error {error.get_error_code()})"
    return f"{text}; {hint}." if hint else f"{text}."


def _hint(error: Any) -> str | None:
    code, text = error.get_error_code(), error.get_error_message()
    if "keepalive" in text:  # an internal error, as many others
        return SILENT
    if "in path" in text:  # the client's ssh or nc
        return "install it on the host that the task runs on"
    if any(word in text for word in ("certificate", "client key", "x509")):  # a file, or who is not trusted
        return _CERTIFICATES
    if code == libvirt.VIR_ERR_SYSTEM_ERROR and ("socket" in text or "connect to server" in text):
        # virReportSystemError puts errno into int1.
        return {
            errno.ENOENT: f"libvirt is not running here, its socket does not exist: check the option uri, or {_START}",
            errno.ECONNREFUSED: f"nothing answers at this address: if it is this host's libvirt, {_START}",
            errno.EACCES: f"this user may not open libvirt's socket: {_BECOME}",
            errno.EPERM: f"this user may not open libvirt's socket: {_BECOME}",
        }.get(error.get_int1())
    return {
        libvirt.VIR_ERR_AUTH_FAILED: _LOGIN,
        libvirt.VIR_ERR_AUTH_CANCELLED: _LOGIN,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE: _LOGIN,
        libvirt.VIR_ERR_ACCESS_DENIED: f"this user may not do that: {_BECOME}",
        libvirt.VIR_ERR_OPERATION_DENIED: f"this user may not do that: {_BECOME}",
        libvirt.VIR_ERR_NO_CONNECT: "check the option uri",
        libvirt.VIR_ERR_NO_DOMAIN: "the domain was undefined or shut off meanwhile",
        libvirt.VIR_ERR_NO_NETWORK_PORT: _REPLUG,
        libvirt.VIR_ERR_OPERATION_TIMEOUT: "the guest is busy, as with a migration; run again when that is over",
    }.get(code)
