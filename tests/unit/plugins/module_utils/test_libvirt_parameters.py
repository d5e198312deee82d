# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_parameters import set_interface_parameters
from ansible_collections.virtnet.qos.tests.unit.driver import URI

libvirt = pytest.importorskip("libvirt")

MAC = "aa:bb:cc:dd:ee:ff"  # of the test driver's domain
LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG


@pytest.fixture
def domain() -> Any:
    return libvirt.open(URI).lookupByName("test")


def test_what_is_set_is_what_libvirt_python_reads(domain: Any) -> None:
    given = {
        "inbound.average": 1000,
        "inbound.peak": 2000,
        "inbound.burst": 64,
        "inbound.floor": 0,
        "outbound.average": 2**32 - 1,
        "outbound.peak": 0,
        "outbound.burst": 7,
    }
    set_interface_parameters(domain, MAC, given, LIVE)
    read = domain.interfaceParameters(MAC, LIVE)
    assert {name: value & 0xFFFFFFFF for name, value in read.items()} == given
    assert set(domain.interfaceParameters(MAC, CONFIG).values()) == {0}
    set_interface_parameters(domain, MAC, {"outbound.average": 5}, LIVE)
    assert domain.interfaceParameters(MAC, LIVE) == {**given, "outbound.average": 5, "outbound.burst": 0}


def test_what_libvirt_refuses_is_its_own_error(domain: Any, capfd: pytest.CaptureFixture[str]) -> None:
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    for device, parameters, code in (
        ("52:54:00:00:00:99", {"inbound.average": 5}, libvirt.VIR_ERR_INVALID_ARG),
        (MAC, {"inbound.avarage": 5}, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED),
    ):
        with pytest.raises(libvirt.libvirtError) as refused:
            set_interface_parameters(domain, device, parameters, LIVE)
        assert refused.value.get_error_code() == code
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("value", [-1, 2**32])
def test_nothing_is_cut_off(domain: Any, value: int) -> None:
    before = domain.interfaceParameters(MAC, LIVE)
    with pytest.raises(OverflowError):
        set_interface_parameters(domain, MAC, {"inbound.average": value}, LIVE)
    assert domain.interfaceParameters(MAC, LIVE) == before
