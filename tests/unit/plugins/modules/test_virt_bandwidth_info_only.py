# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NICs virt_bandwidth_info returns when it is asked for some only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtnet.qos.plugins.module_utils import _bandwidth_info_run
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits, Shape
from ansible_collections.virtnet.qos.plugins.modules import virt_bandwidth_info

libvirt = pytest.importorskip("libvirt")

Run = Callable[..., dict[str, Any]]
SLOW = Shape(1_000_000, 1_000_000, 1600)
# Of running guests, by the number in the name of their device: what libvirt says, and what the kernel does.
RUNNING = {
    1: ("<inbound average='1000'/>", Limits(SLOW)),
    2: ("<inbound average='1000'/>", Limits()),
    3: ("", Limits()),
    4: ("", Limits(SLOW)),
    5: ("<inbound average='1000'/>", None),
}
OFF = {6: "<outbound average='1000'/>", 7: ""}


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    connection = libvirt.open("test:///default")
    bandwidths = {number: bandwidth for number, (bandwidth, _limits) in RUNNING.items()} | OFF
    for number, bandwidth in bandwidths.items():
        nic = (
            f"<interface type='bridge'><mac address='52:54:00:00:00:{number:02}'/><source bridge='br0'/>"
            f"<target dev='tap{number}'/><bandwidth>{bandwidth}</bandwidth></interface>"
        )
        head = f"<domain type='test'><name>only{number}</name><memory>65536</memory><os><type>hvm</type></os>"
        domain = connection.defineXML(f"{head}<devices>{nic}</devices></domain>")
        if number in RUNNING:
            domain.create()
    said = {f"tap{number}": limits for number, (_bandwidth, limits) in RUNNING.items() if limits}
    monkeypatch.setattr(_bandwidth_info_run, "limits", lambda _names, _bridges: said)

    def run(**options: Any) -> dict[str, Any]:
        arguments = {"uri": "test:///default", "match": {"domain": "only*"}, **options}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            virt_bandwidth_info.main()
        result: dict[str, Any] = json.loads(capfd.readouterr().out)
        return result

    yield run
    for number in bandwidths:
        domain = connection.lookupByName(f"only{number}")
        if domain.isActive():
            domain.destroy()
        domain.undefine()
    connection.close()


def returned(result: dict[str, Any]) -> list[int]:
    return [int(each["domain"][-1]) for each in result["interfaces"]]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["limited"], [1, 2, 4, 5, 6]),
        (["unenforced"], [2, 4]),  # what is not known is no reason
        (["drift"], []),
        (["drift", "unenforced"], [2, 4]),
        (["unenforced", "limited"], [1, 2, 4, 5, 6]),
    ],
)
def test_only(run: Run, only: list[str], expected: list[int]) -> None:
    result = run(only=only)
    assert returned(result) == expected
    assert result["considered"] == 7
    whole = {each["domain"]: each for each in run()["interfaces"]}
    assert len(whole) == 7
    assert all(each == whole[each["domain"]] for each in result["interfaces"])


def test_drift(run: Run) -> None:
    connection = libvirt.open("test:///default")
    domain = connection.lookupByName("only1")
    parameters = {"inbound.average": 2000}
    domain.setInterfaceParameters("52:54:00:00:00:01", parameters, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert returned(run(only=["drift"])) == [1]
    connection.close()


def test_a_floor_alone_is_a_limit() -> None:
    limit = {"inbound": {"average": "unlimited", "floor": "1mbit"}, "outbound": {"average": "unlimited"}}
    interface = {"live": None, "config": {"effective": limit}, "enforced": None, "drift": []}
    assert virt_bandwidth_info.NOTEWORTHY["limited"](interface)


def test_an_empty_list_is_refused(run: Run) -> None:
    result = run(only=[])
    assert result["failed"]
    assert "only" in result["msg"]
