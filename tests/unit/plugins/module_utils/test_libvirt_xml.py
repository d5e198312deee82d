# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NICs in the XML of a domain are the same, be all of it parsed or no more than it takes."""

from __future__ import annotations

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _libvirt_xml
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import read_domain

NIC = """<interface type='network'>
      <mac address='52:54:00:AA:00:0{0}'/>
      <source network='prod' portgroup='web' portid='b153fa89'/>
      <bandwidth><inbound average='{0}000' peak='9000' burst='64'/><outbound average='77'/></bandwidth>
      <target dev='vnet{0}'/><model type='virtio'/><alias name='net{0}'/>
    </interface>"""
DISK = "<disk type='file' device='disk'><source file='/srv/a.qcow2'/><target dev='vda' bus='virtio'/></disk>"
# What somebody who may edit a guest can write into it, to have another NIC be seen.
FORGED = (
    f"<metadata><app:x xmlns:app='urn:x'><domain id='9'><devices>{NIC.format(9)}</devices></domain></app:x></metadata>"
)
TITLE = "<title>&lt;devices&gt;&lt;interface type='user'&gt;&lt;/interface&gt;</title>"
AFTER = (
    "<seclabel type='none'/><qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
    "<qemu:arg value='&lt;devices>&lt;interface type=&apos;user&apos;/>'/></qemu:commandline>"
)


def domain(devices: str, attributes: str = "", around: str = "{}") -> str:
    return f"<domain type='kvm'{attributes}><name>web</name>{around.format(f'<devices>{devices}</devices>')}</domain>"


DOMAINS = {
    "shut off": domain(NIC.format(1)),
    "running": domain(DISK + NIC.format(1) + NIC.format(2) + "<serial type='pty'/>", " id='3'"),
    "no NIC": domain(DISK, " id='3'"),
    "no device": domain(""),
    "metadata, title and arguments": domain(NIC.format(1), around=f"{TITLE}{FORGED}{{}}{AFTER}"),
    "metadata, and no NIC": domain(DISK, " id='3'", around=f"{FORGED}{{}}{AFTER}"),
}
# What libvirt does not write.
OTHERS = {
    "a device between NICs": domain(NIC.format(1) + DISK + NIC.format(2)),
    "a NIC that is empty": domain(f"{NIC.format(1)}<interface type='user'/>"),
    "an empty NIC alone": domain("<interface type='user'/>"),
    "a NIC inside another element": domain(f"{NIC.format(1)}<group>{NIC.format(2)}</group>"),
    "a NIC without a MAC": domain("<interface type='user'><source/></interface>"),
    "another element's MAC": domain("<interface type='user'><x><mac address='9'/></x><mac address='A'/></interface>"),
    "no devices": "<domain type='kvm' id='1'><name>web</name></domain>",
    "a declaration": "<?xml version='1.0'?>" + domain(NIC.format(1), " id='3'"),
}


@pytest.mark.parametrize("xml", DOMAINS.values(), ids=DOMAINS)
def test_the_nics_are_the_same_whichever_part_is_parsed(xml: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_domain(xml)
    parse = _libvirt_xml._parse
    parsed: list[str] = []

    def noting(text: str) -> object:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(_libvirt_xml, "_parse", noting)
    part = read_domain(xml, metadata=False)
    assert (part.nics, part.running) == (whole.nics, whole.running)
    assert xml not in parsed


@pytest.mark.parametrize("xml", OTHERS.values(), ids=OTHERS)
def test_what_libvirt_does_not_write_is_read_all_the_same(xml: str) -> None:
    whole, part = read_domain(xml), read_domain(xml, metadata=False)
    assert (part.nics, part.running) == (whole.nics, whole.running)


def test_what_is_read_of_a_nic() -> None:
    first, second = read_domain(DOMAINS["running"], metadata=False).nics
    assert (first.mac, first.type, first.target, first.alias) == ("52:54:00:aa:00:01", "network", "vnet1", "net1")
    assert (first.network, first.portgroup, first.bridge, first.openvswitch) == ("prod", "web", None, False)
    inbound = second.shown.inbound
    assert (inbound.average, inbound.peak, inbound.burst, inbound.floor) == (2000, 9000, 64, 0)
    assert second.own == second.shown
