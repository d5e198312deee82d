# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts in libvirt's test driver, modules run against them by their own main(), and what those have to show."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from platform import node
from types import ModuleType
from typing import Any, Callable

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

libvirt = pytest.importorskip("libvirt")

Run = Callable[..., dict[str, Any]]

URI = "test:///default"
BROUGHT = "test"  # the domain that the driver brings along
CAPPED = """<network><name>capped</name><forward mode='route'/><bridge name='virbr7'/>
  <ip address='192.0.2.1' prefix='24'/><bandwidth><inbound average='1000'/></bandwidth>
  <portgroup name='gold'><bandwidth><outbound average='6'/></bandwidth></portgroup></network>"""


@contextlib.contextmanager
def host(
    *networks: str, running: Sequence[str], off: Sequence[str] = (), transient: Sequence[str] = ()
) -> Iterator[Any]:
    """Give a connection to a host with these, and with the domain and the network that the driver brings along.

    That state lives in this process while a connection is open, also one of an earlier test that nobody closed. So
    domains that a test adds go with it, and the one that the driver brings along becomes again what it was.
    """
    connection = libvirt.open(URI)
    brought = connection.lookupByName(BROUGHT).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    added = [connection.networkDefineXML(xml) for xml in networks]
    for network in added:
        network.create()
    defined = [connection.defineXML(xml) for xml in (*running, *off)]
    for domain in defined[: len(running)]:
        domain.create()
    for xml in transient:
        connection.createXML(xml)
    try:
        yield connection
    finally:
        for domain in connection.listAllDomains():
            remove(domain)
        connection.defineXML(brought).create()
        for network in added:
            network.destroy()
            network.undefine()
        connection.close()


def remove(domain: Any) -> None:
    """Have no such domain, whatever state it is in."""
    persistent = domain.isPersistent()
    if domain.hasManagedSaveImage(0):
        domain.managedSaveRemove(0)
    if domain.isActive():
        domain.destroy()
    if persistent:
        domain.undefine()


def runner(
    module: ModuleType, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, **always: Any
) -> Run:
    """Return what runs a module, ``always`` with these options, and returns what it printed with its warnings."""
    warned: list[str] = []

    def warn(_module: AnsibleModule, warning: str) -> None:
        assert warning.startswith(f"{node()}: ")  # of which host each is
        warned.append(warning.removeprefix(f"{node()}: "))

    monkeypatch.setattr(AnsibleModule, "warn", warn)

    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        warned.clear()
        # From Python 3.12 on, syslog takes no options with a null character, and those are for the module to refuse.
        ours = {"_ansible_diff": True, "_ansible_no_log": True}
        arguments = {"uri": URI, **ours, **always, **options, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        printed, errors = capfd.readouterr()
        assert errors == ""
        result: dict[str, Any] = json.loads(printed)
        result.pop("invocation", None)
        return {**result, "warned": list(warned)}

    return run


def state(connection: Any) -> dict[str, str]:
    """Everything that libvirt knows of the domains: the ground truth."""
    return {
        f"{domain.name()} {flags}": domain.XMLDesc(flags)
        for domain in connection.listAllDomains()
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE)
    }


def four_ways(run: Run, connection: Any, **options: Any) -> dict[str, Any]:
    """Check, apply, apply again, check again: the convergence that every option has to show. Return the application."""
    before = state(connection)
    checked = run(check=True, **options)
    assert state(connection) == before
    applied = run(**options)
    assert applied == checked
    after = state(connection)
    for again in (run(**options), run(check=True, **options)):
        assert again["changed"] is False
        assert again["interfaces"] == []
        assert again["diff"] == {"before": "", "after": ""}
    assert state(connection) == after
    return applied


def refused(run: Run, connection: Any, sentences: list[str], **options: Any) -> None:
    """See bad input be answered with these sentences, and nothing be changed."""
    before = state(connection)
    result = run(**options)
    assert result["failed"] is True
    assert not result.get("changed")
    for sentence in sentences:
        assert sentence in result["msg"]
    assert "Traceback" not in json.dumps(result)
    assert state(connection) == before
