# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The virtual networks of a connection to libvirt: reading them, and writing their definitions and portgroups."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import enumerated
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError, explained
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Network, NetworkByScope, read_network

with contextlib.suppress(ImportError):  # _libvirt_host tells of it
    import libvirt


@contextmanager
def legible(name: str) -> Generator[None, None, None]:
    """Raise `HostError` where the XML of a network is none: libvirt does not escape the names of portgroups in it."""
    try:
        yield
    except SyntaxError as error:  # lxml's are such
        why = f"libvirt's XML of it cannot be read ({error.msg}), as where a portgroup has one of & < ' in its name"
        remedy = "give that portgroup another name (virsh net-edit)"
        raise HostError(f"network '{name}': {why}; {remedy}.") from error


class Networks:
    """The virtual networks of a host. Every method raises `HostError` where libvirt refuses.

    ``illegible`` has a sentence for each that was left out of `all`.
    """

    def __init__(self, connection: Any, uri: str) -> None:
        self._connection = connection
        self._uri = uri
        self._found: dict[str, Network | None] = {}
        self.illegible: list[str] = []

    def all(self) -> list[NetworkByScope]:
        """Return them, sorted by name; those that go meanwhile are not in it, nor those that cannot be read."""
        with explained(f"Listing the networks on {self._uri}"):
            try:
                handles = self._connection.listAllNetworks()
            except libvirt.libvirtError as error:
                # A host of bridges only may do without libvirt's network driver, or without its daemon's socket.
                missing = error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR and error.get_int1() == errno.ENOENT
                if not missing and error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                    raise
                handles = []
        found = [each for each in map(self._by_scope, handles) if each.scopes]
        self._found.update({each.name: each.now for each in found})
        return sorted(found, key=lambda each: each.name)

    def _by_scope(self, handle: Any) -> NetworkByScope:
        scopes: dict[str, Network] = {}
        with explained(f"Reading network '{handle.name()}' on {self._uri}"):
            try:
                with legible(handle.name()):
                    if handle.isActive():
                        scopes["live"] = read_network(handle.XMLDesc(0))
                    if handle.isPersistent():
                        scopes["config"] = read_network(_defined(handle))
            except HostError as error:
                self.illegible.append(str(error))
                self._found[handle.name()] = None
                return NetworkByScope(handle.name(), {})
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                    raise
        return NetworkByScope(handle.name(), scopes)

    def texts(self, name: str) -> dict[str, str]:
        """Return the XML of the network with this name or UUID: by scope, as `NetworkByScope`."""
        with explained(f"Reading network '{name}' on {self._uri}"):
            handle = self._lookup(name)
            scopes = {"live": handle.XMLDesc(0)} if handle.isActive() else {}
            return {**scopes, "config": _defined(handle)} if handle.isPersistent() else scopes

    def _lookup(self, name: str) -> Any:
        for look in (self._connection.networkLookupByName, self._connection.networkLookupByUUIDString):
            try:
                return look(name)
            except libvirt.libvirtError as error:
                # What is not a UUID at all is an invalid argument.
                if error.get_error_code() not in (libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_INVALID_ARG):
                    raise
        there = enumerated(sorted(each.name() for each in self._connection.listAllNetworks()))
        raise HostError(
            f"network '{name}': {self._uri} has no network with this name or UUID; it has {there or 'none at all'}."
        )

    def define(self, name: str, xml: str) -> None:
        """Write the persistent definition. What runs stays as it is."""
        with explained(f"Defining network '{name}'"):
            self._connection.networkDefineXML(xml)

    def update_portgroup(self, name: str, xml: str) -> None:
        """Replace a portgroup of the running network. Guests that are plugged in keep what they were given."""
        modify, portgroup = libvirt.VIR_NETWORK_UPDATE_COMMAND_MODIFY, libvirt.VIR_NETWORK_SECTION_PORTGROUP
        with explained(f"Updating a portgroup of running network '{name}'"):
            self._lookup(name).update(modify, portgroup, -1, xml, libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE)

    def stop(self, name: str) -> None:
        """Stop a network."""
        with explained(f"Stopping network '{name}'"):
            self._lookup(name).destroy()

    def start(self, name: str, before: str) -> None:
        """Start a network that was stopped as it is defined now.

        Where that fails, it is defined and started as it was ``before``. Raises `HostError`, whose ``stands`` tells
        that it is down, where it could not be started in either way.
        """
        try:
            with explained(f"Starting network '{name}'"):
                self._lookup(name).create()
        except HostError as refused:
            try:
                self.define(name, before)
                with explained("Starting it as it was"):
                    self._lookup(name).create()
            except HostError as error:
                told = f"{refused} {error} It is down, and its guests are cut off"
                raise HostError(f"{told}; mend it and start it (virsh net-start).", True) from error
            told = f"{refused} It was started as it was before, with its guests cut off meanwhile."
            raise HostError(told) from refused

    def find(self, name: str) -> Network | None:
        """Return one as it is running (what a NIC is plugged into); None where there is none."""
        if name not in self._found:
            with explained(f"Reading network '{name}' on {self._uri}"):
                try:
                    with legible(name):
                        self._found[name] = read_network(self._connection.networkLookupByName(name).XMLDesc(0))
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                        raise
                    self._found[name] = None
        return self._found[name]


def _defined(network: Any) -> str:
    """Return the XML of a network's persistent definition."""
    try:
        xml: str = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
    except libvirt.libvirtError as error:
        # libvirt's test driver has only one
        if error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
            raise
        xml = network.XMLDesc(0)
    return xml
