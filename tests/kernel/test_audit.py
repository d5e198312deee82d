# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit finds on an uplink of a real kernel, by what the modules answer there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtnet.qos.plugins.filter.audit_report import audit_report
from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_info
from ansible_collections.virtnet.qos.tests.kernel.conftest import shape

Wire = Any
Module = Any

# A veth does not say how fast it is; what all classes are in does.
TOP = {"classid": "1389:2000", "ls": "10gbit", "ul": "10gbit"}
CLASSES = [
    TOP,
    {"default": True, "parent": "1389:2000", "share": 20, "ul": "4gbit"},
    {"vlan": 100, "parent": "1389:2000", "share": 60, "rt": "6gbit"},
    {"vlan": 200, "parent": "1389:2000", "share": 20, "rt": "5gbit"},
]


def audited(module: Module, capsys: pytest.CaptureFixture[str], classes: list[Any], **more: Any) -> dict[str, Any]:
    """Return the report on this host, of which these classes are declared; reading changes nothing."""
    before = shape()
    with patch_module_args({}), pytest.raises(SystemExit):
        tc_hfsc_info.main()
    kernel = json.loads(capsys.readouterr().out)
    result = {**module(check=True, classes=classes, **more), "item": "near"}
    assert shape() == before
    hostvars = {
        "__qos_audit_kernel": kernel,
        "__qos_audit_libvirt": {"interfaces": [], "networks": []},
        "__qos_audit_failed": {"host_qos": "One or more items failed"} if result.get("failed") else {},
        "host_qos_result": {"results": [result], "failed": result.get("failed", False)},
        "host_qos_devices": [{"device": "near", "classes": classes, **more}],
    }
    return audit_report({"here": hostvars}, ["here"], "now")


def found(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["kind"], each["object"]) for each in report["findings"]]


@pytest.mark.usefixtures("wire")
def test_an_uplink_as_it_is_and_as_it_is_declared(
    module: Module, capsys: pytest.CaptureFixture[str], wire: Wire
) -> None:
    module(classes=CLASSES, allow_overcommit=True)
    report = audited(module, capsys, CLASSES, allow_overcommit=True)
    assert found(report) == [("oversubscribed", "uplink near")]
    (uplink,) = report["hosts"][0]["uplinks"]
    assert {key: uplink[key] for key in ("device", "declared", "speed", "capacity", "guaranteed")} == {
        "device": "near",
        "declared": True,
        "speed": None,
        "capacity": "10gbit",
        "guaranteed": "11gbit",
    }
    assert found(audited(module, capsys, CLASSES)) == [("refused", "near"), ("overcommitted", "uplink near")]

    wire.run(
        "tc", "class", "change", "dev", "near", "classid", "1389:c8", "hfsc", "rt", "m2", "3gbit", "ls", "m2", "1mbit"
    )
    report = audited(module, capsys, CLASSES, allow_overcommit=True)
    assert found(report) == [("drift", "near class 1389:c8")]
    assert report["findings"][0]["message"] == (
        "is rt 3gbit, ls 1mbit, below 1389:2000; declared rt 5gbit, ls 20mbit, below 1389:2000"
    )
