# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The one door to libvirt: reading domains and networks, writing the bandwidth of NICs."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    DIRECTIONS,
    NO_BANDWIDTH,
    Bandwidth,
    from_parameters,
    to_parameters,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import SCOPE_NAMES, Change, unmet
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import (
    Domain,
    Network,
    Nic,
    nic_without_bandwidth,
    read_network,
    read_nics,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

try:
    import libvirt
except ImportError:
    LIBVIRT_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    LIBVIRT_IMPORT_ERROR = None

_START = "start it (systemctl start libvirtd, or virtqemud where libvirt is split into daemons)"
_BECOME = "run the task with become=true, or as a user whom this host lets manage libvirt (group libvirt, polkit)"
_REPLUG = (
    "the virtual network was restarted while the guest was plugged in; restart the guest, or the daemon of libvirt, "
    "so that the NIC gets its port back"
)


class HostError(Exception):
    """libvirt could not do what it was asked. The text is for users and carries libvirt's own.

    ``stands`` tells whether some of a change that failed could not be taken back.
    """

    def __init__(self, message: str, stands: bool = False) -> None:
        super().__init__(message)
        self.stands = stands


def check_uri(uri: str, problems: Problems) -> None:
    """Refuse what cannot limit bandwidth: a session daemon has no privilege to (qemuDomainSetInterfaceParameters)."""
    try:
        path = urlsplit(uri).path.rstrip("/")
    except ValueError as error:
        path = ""
        problems.add("uri", uri, f"not a URI, {error}", "write one such as qemu:///system")
    if not uri.strip():
        problems.add("uri", uri, "it is empty, and libvirt would guess", "write one such as qemu:///system")
    if path == "/session":
        rule = "libvirt limits bandwidth only in its system daemon, not in a session"
        problems.add("uri", uri, rule, f"use {uri.replace('/session', '/system', 1)}")


class Host:
    """A connection to libvirt, for the whole run of a module.

    Every method raises `HostError` where libvirt refuses.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._networks: dict[str, Network | None] = {}
        # Without a handler of ours libvirt prints every error to stderr, where Ansible takes it for part of the result.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        with _explained(f"Connecting to {uri}"):
            self._connection = libvirt.open(uri)
            # 12.4: "Only clear qdisc for defined directions"; seen with 12.8.
            self._policer_stays = self._connection.getLibVersion() >= 12_004_000

    def domain(self, name: str) -> Domain:
        """Return the domain with this name or UUID."""
        with _explained(f"Reading domain '{name}' on {self._uri}"):
            return self._read(self._find(name))

    def network(self, name: str) -> Network | None:
        """Return a virtual network as it is running (what a NIC is plugged into); None where there is none."""
        if name not in self._networks:
            with _explained(f"Reading network '{name}' on {self._uri}"):
                try:
                    self._networks[name] = read_network(self._connection.networkLookupByName(name).XMLDesc(0))
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                        raise
                    self._networks[name] = None
        return self._networks[name]

    def converge(self, changes: Sequence[Change]) -> tuple[list[Change], list[HostError]]:
        """Make these changes and read them back; return those that were made, and what went wrong with the others.

        One NIC that libvirt refuses does not keep the others from what is wanted of them.
        """
        made: list[Change] = []
        failures: list[HostError] = []
        for change in changes:
            try:
                self._apply(change)
                made.append(change)
            except HostError as failure:
                failures.append(failure)
                if not self._connection.isAlive():
                    break
        after: dict[str, Domain] = {}
        for change in made:
            try:
                if change.uuid not in after:
                    after[change.uuid] = self.domain(change.uuid)
            except HostError as failure:
                failures.append(failure)
                break
            failures += [HostError(text) for text in unmet(change, after[change.uuid])]
        return made, failures

    def _find(self, name: str) -> Any:
        try:
            return self._connection.lookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
        try:
            return self._connection.lookupByUUIDString(name)
        except libvirt.libvirtError as error:
            # What is not a UUID at all is an invalid argument.
            if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
                raise
            code = error.get_error_code()
        names = sorted(domain.name() for domain in self._connection.listAllDomains())
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise HostError(
            f"domain '{name}': {self._uri} has no domain with this name or UUID (libvirt error {code}); "
            f"it has {shown or 'none at all'}."
        )

    def _read(self, domain: Any) -> Domain:
        nics: dict[str, tuple[Nic, ...]] = {}
        if domain.isActive():
            nics["live"] = tuple(self._with_own(domain, nic) for nic in read_nics(domain.XMLDesc(0)))
        if domain.isPersistent():
            nics["config"] = read_nics(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        return Domain(domain.name(), domain.UUIDString(), nics, self._policer_stays)

    def _with_own(self, domain: Any, nic: Nic) -> Nic:
        # Only a NIC of a network can show a bandwidth that is its portgroup's; which of the two, the XML does not tell
        # (a network can have a default portgroup, so the absence of a portgroup in it proves nothing).
        if nic.network is None or nic.shown.unlimited:
            return nic
        return replace(nic, own=self._get(domain, nic.mac, "live"))

    def _get(self, domain: Any, mac: str, scope: str) -> Bandwidth:
        return from_parameters(domain.interfaceParameters(mac, _flag(scope)))

    def _set(self, domain: Any, mac: str, scope: str, bandwidth: Bandwidth, directions: list[str]) -> None:
        domain.setInterfaceParameters(mac, to_parameters(bandwidth, directions), _flag(scope))

    def _renew(self, domain: Any, mac: str) -> None:
        """Plug a running NIC anew without a bandwidth of its own: libvirt then gives it its portgroup's, if any.

        Clearing its own leaves it unlimited instead, until the guest is restarted, and since libvirt 12.4 it leaves
        the policer on the device; going from some bandwidth to none clears the whole device (qemuDomainChangeNet).
        """
        # The XML for a migration is that of the running guest, but as it was defined: of type network, and without
        # what its portgroup gives. The ordinary live XML would turn all of that into the NIC's own.
        xml = nic_without_bandwidth(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE), mac)
        domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def _apply(self, change: Change) -> None:
        """Write both scopes of a NIC, or neither.

        libvirt-python cannot write both in one call: it reads the parameters first with the same flags, and reading
        refuses both. The definition comes first, because taking it back touches no traffic.
        """
        with _explained(f"Finding domain '{change.domain}' again"):
            domain = self._connection.lookupByUUIDString(change.uuid)
        tried: list[str] = []
        for scope in ("config", "live"):
            write = change.writes.get(scope)
            if write is None:
                continue
            tried.append(scope)
            try:
                directions = write.directions
                if scope == "live" and change.renew:
                    self._renew(domain, change.nic.mac)
                    directions = write.after.differing(NO_BANDWIDTH)
                if directions:
                    self._set(domain, change.nic.mac, scope, write.after, directions)
            except libvirt.libvirtError as error:
                what = f"{' and '.join(write.directions)} of the {SCOPE_NAMES[scope]}"
                doing = f"Domain '{change.domain}', NIC {change.nic}: setting {what}"
                undone, stands = self._take_back(domain, change, tried)
                raise HostError(f"{_sentence(doing, error)} {undone}", stands) from error

    def _take_back(self, domain: Any, change: Change, tried: list[str]) -> tuple[str, bool]:
        """Set the scopes that were tried to what they had; return a sentence on what stands, and whether anything does.

        The scope whose write failed is looked at as well: libvirt does not always restore what it had.
        """
        said = []
        stands = False
        for scope in tried:
            write = change.writes[scope]
            try:
                if self._get(domain, change.nic.mac, scope) != write.before:
                    self._set(domain, change.nic.mac, scope, write.before, list(DIRECTIONS))
                    said.append(f"The {SCOPE_NAMES[scope]} was set back to what it was.")
            except libvirt.libvirtError as error:
                # A guest that went away took the change with it.
                if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                    continue
                stands = True
                doing = f"Setting the {SCOPE_NAMES[scope]} back to what it was"
                said.append(f"{_sentence(doing, error)} It may have the new value.")
        if not stands:
            said.append("Nothing of this NIC has changed.")
        return " ".join(said), stands


def _flag(scope: str) -> int:
    flag: int = libvirt.VIR_DOMAIN_AFFECT_LIVE if scope == "live" else libvirt.VIR_DOMAIN_AFFECT_CONFIG
    return flag


@contextmanager
def _explained(doing: str) -> Generator[None, None, None]:
    try:
        yield
    except libvirt.libvirtError as error:
        raise HostError(_sentence(doing, error)) from error


def _sentence(doing: str, error: Any) -> str:
    hint = _hint(error)
    text = f"{doing} failed: {error.get_error_message()} (libvirt error {error.get_error_code()})"
    return f"{text}; {hint}." if hint else f"{text}."


def _hint(error: Any) -> str | None:
    code = error.get_error_code()
    if code == libvirt.VIR_ERR_SYSTEM_ERROR:
        # virReportSystemError puts errno into int1.
        return {
            errno.ENOENT: f"libvirt is not running here, its socket does not exist: check the option uri, or {_START}",
            errno.ECONNREFUSED: f"nothing answers at this address: if it is this host's libvirt, {_START}",
            errno.EACCES: f"this user may not open libvirt's socket: {_BECOME}",
            errno.EPERM: f"this user may not open libvirt's socket: {_BECOME}",
        }.get(error.get_int1())
    return {
        libvirt.VIR_ERR_AUTH_FAILED: f"libvirt did not let this user in: {_BECOME}",
        libvirt.VIR_ERR_AUTH_CANCELLED: f"libvirt did not let this user in: {_BECOME}",
        libvirt.VIR_ERR_AUTH_UNAVAILABLE: f"libvirt did not let this user in: {_BECOME}",
        libvirt.VIR_ERR_ACCESS_DENIED: f"this user may not do that: {_BECOME}",
        libvirt.VIR_ERR_OPERATION_DENIED: f"this user may not do that: {_BECOME}",
        libvirt.VIR_ERR_NO_CONNECT: "check the option uri",
        libvirt.VIR_ERR_NO_DOMAIN: "the domain was undefined or shut off meanwhile",
        libvirt.VIR_ERR_NO_NETWORK_PORT: _REPLUG,
    }.get(code)
