# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The XML of a virtual network with other bandwidths in it. All else in it stays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import Bandwidth
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import put_bandwidth

with contextlib.suppress(ImportError):  # _libvirt_xml tells of it
    from lxml import etree

    # What people and programs noted in a network is written back as they wrote it.
    _PARSER = etree.XMLParser(strip_cdata=False, resolve_entities=False, no_network=True, huge_tree=True)

if TYPE_CHECKING:
    from lxml.etree import _Element

# No network runs otherwise for what people and programs noted.
_NOTES = ("title", "description", "metadata")

# The name of a portgroup; None for the network itself.
Place = Optional[str]


def with_bandwidths(network_xml: str, bandwidths: Mapping[Place, Bandwidth]) -> str:
    """Return the XML of a network in which these places have these bandwidths."""
    root = _parse(network_xml)
    for place, bandwidth in bandwidths.items():
        put_bandwidth(root if place is None else _portgroup(root, place), bandwidth)
    return etree.tostring(root, encoding="unicode")


def portgroup_xml(network_xml: str, name: str, bandwidth: Bandwidth) -> str:
    """Return the element of a portgroup with this bandwidth: libvirt replaces the whole element (virNetworkUpdate)."""
    group = _portgroup(_parse(network_xml), name)
    put_bandwidth(group, bandwidth)
    return etree.tostring(group, encoding="unicode", with_tail=False)


def portgroups_of(network_xml: str) -> list[tuple[str, bool]]:
    """Return the names of the portgroups, each with whether it is a default one, as often as they are there."""
    groups: Iterable[_Element] = _parse(network_xml).iterfind("portgroup")
    return [(group.get("name", ""), group.get("default") == "yes") for group in groups]


def unlike(live_xml: str, defined_xml: str) -> list[str]:
    """Return the names of the elements of a network in which it runs otherwise than it is defined, limits aside."""
    live, defined = _parts(_parse(live_xml)), _parts(_parse(defined_xml))
    return sorted(name for name in {*live, *defined} if live.get(name) != defined.get(name))


def _parts(root: _Element) -> dict[str, list[Any]]:
    """Return what is compared of each element of a network, and of its own attributes."""
    etree.strip_elements(root, "bandwidth", *_NOTES, with_tail=False)
    for forward in root.iterfind("forward"):
        _leave_as_defined(forward)
    parts: dict[str, list[Any]] = {"network": [_attributes(root)]}
    for element in root.iterchildren("*"):
        name = f"portgroup '{element.get('name')}'" if element.tag == "portgroup" else etree.QName(element).localname
        parts[name] = sorted([*parts.get(name, []), _form(element)])
    return parts


def _leave_as_defined(forward: _Element) -> None:
    """Take away what libvirt adds while a network runs: the functions of a physical NIC, and the ports of its NAT."""
    if forward.find("pf") is not None:
        forward.attrib.pop("dev", "")
        etree.strip_elements(forward, "interface", "address", with_tail=False)
    for nat in forward.findall("nat"):
        for port in nat.findall("port[@start='1024'][@end='65535']"):  # iptablesForwardMasquerade()
            nat.remove(port)
        if not len(nat) and not nat.attrib:
            forward.remove(nat)


def _form(element: _Element) -> tuple[Any, ...]:
    below = sorted(_form(each) for each in element.iterchildren("*"))
    return element.tag, _attributes(element), (element.text or "").strip(), below


def _attributes(element: _Element) -> list[tuple[Any, Any]]:
    # How many NICs are plugged in is told of what runs only.
    return sorted((name, value) for name, value in element.items() if name != "connections")


def _portgroup(root: _Element, name: str) -> _Element:
    return next(group for group in root.iterfind("portgroup") if group.get("name") == name)


def _parse(network_xml: str) -> _Element:
    return etree.fromstring(network_xml.encode(), _PARSER)
