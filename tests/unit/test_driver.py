# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test finds the same host, whatever an earlier one left open."""

from __future__ import annotations

import re

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import read_nics
from ansible_collections.virtnet.qos.tests.unit.driver import URI, host, state

libvirt = pytest.importorskip("libvirt")


def test_what_the_driver_brings_along_is_as_it_was() -> None:
    left_over = libvirt.open(URI)  # as that of a module that failed, until its traceback is collected
    try:
        with host(running=[]) as connection:
            before = state(connection)
            (domain,) = connection.listAllDomains()
            (nic,) = read_nics(domain.XMLDesc())
            for scope in (libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG):
                domain.setInterfaceParameters(nic.mac, {"inbound.average": 5}, scope)
        with host(running=[]) as connection:
            after = state(connection)
    finally:
        left_over.close()
    assert [without_id(xml) for xml in after.values()] == [without_id(xml) for xml in before.values()]


def without_id(xml: str) -> str:
    return re.sub(r" id='\d+'", "", xml, count=1)
