# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What libvirt's XML says of NICs, networks and their bandwidth."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    DIRECTIONS,
    FIELDS,
    NO_BANDWIDTH,
    Bandwidth,
    Limit,
    canonical,
)

try:
    from lxml import etree
except ImportError:
    LXML_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    LXML_IMPORT_ERROR = None
    # The XML comes from libvirt, but titles, descriptions and metadata in it come from whoever may edit a guest.
    _PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True)
class Nic:
    """A NIC of a domain, either of the running guest or of its persistent definition."""

    mac: str
    type: str
    target: str | None = None
    alias: str | None = None
    network: str | None = None
    portgroup: str | None = None
    # The bridge that it names itself. Of a NIC of a network only the running guest does.
    bridge: str | None = None
    openvswitch: bool = False
    # What the XML shows. In a running guest this is what is in effect, be it the NIC's own or its portgroup's.
    shown: Bandwidth = NO_BANDWIDTH
    # What the NIC has of its own. It replaces a portgroup's in both directions, they are never merged.
    own: Bandwidth = NO_BANDWIDTH

    @property
    def policed(self) -> str | None:
        """The direction that is policed by the device instead of queued; None where no direction is.

        A device polices what it receives. A tap receives what its guest sends; a macvtap is not turned round
        (virDomainNetTypeSharesHostView). Open vSwitch has means of its own.
        """
        if self.openvswitch:
            return None
        return "inbound" if self.type == "direct" else "outbound"

    def __str__(self) -> str:
        return f"{self.mac} ({', '.join(name for name in (self.target, self.alias, self.type) if name)})"


@dataclass(frozen=True)
class About:
    """What people and programs noted of a domain."""

    title: str | None = None
    # Each element and each attribute in `<metadata>`: ``nova:project=web`` and ``nova:project@uuid=1f2e``, with the
    # prefixes of the XML.
    metadata: tuple[str, ...] = ()


_NOTHING_NOTED = About()
_NO_NOTES: Mapping[str, About] = MappingProxyType({})


class Domain(NamedTuple):  # a frozen dataclass takes four times as long to make, and hosts have hundreds
    """A domain by scope: ``live`` where it runs, ``config`` where it has a persistent definition."""

    name: str
    uuid: str
    nics: Mapping[str, tuple[Nic, ...]]
    about: Mapping[str, About] = _NO_NOTES
    # Whether it ran when it was read, be its live scope read or not.
    running: bool = False
    # libvirt 12.4 and later leave the policer of a running NIC in the kernel when its direction alone is cleared.
    policer_stays: bool = False


@dataclass(frozen=True)
class Network:
    """What a virtual network says of bandwidth."""

    name: str
    forward: str = "none"
    bandwidth: Bandwidth = NO_BANDWIDTH
    portgroups: Mapping[str, Bandwidth] = field(default_factory=dict)
    default_portgroup: str | None = None
    bridge: str | None = None
    openvswitch: bool = False
    # The portgroups whose NICs are ports of Open vSwitch, whatever the network itself says.
    switched: frozenset[str] = frozenset()

    def plugged(self, nic: Nic) -> Nic:
        """Return a NIC of this network as a running guest has it (networkAllocatePort in src/network/bridge_driver.c).

        In the definition all are of type network.
        """
        if nic.type != "network":
            return nic
        direct = self.forward in ("private", "vepa", "passthrough") or (self.forward == "bridge" and not self.bridge)
        kind = "hostdev" if self.forward == "hostdev" else "direct" if direct else nic.type
        openvswitch = nic.openvswitch or self.openvswitch or self.portgroup_of(nic) in self.switched
        if kind == nic.type and openvswitch == nic.openvswitch:
            return nic
        return replace(nic, type=kind, openvswitch=openvswitch)

    def portgroup_of(self, nic: Nic) -> str | None:
        """Return the portgroup of a NIC of this network: its own, or the default one."""
        return nic.portgroup or self.default_portgroup

    def given_to(self, nic: Nic) -> Bandwidth:
        """Return what a NIC without a bandwidth of its own is given when it is plugged in."""
        return self.portgroups.get(self.portgroup_of(nic) or "", NO_BANDWIDTH)


@dataclass(frozen=True)
class NetworkByScope:
    """A virtual network by scope: ``live`` where it is active, ``config`` where it has a persistent definition."""

    name: str
    scopes: Mapping[str, Network]

    @property
    def now(self) -> Network:
        """What a NIC is plugged into: the network as it runs, or else as it is defined."""
        return self.scopes.get("live") or self.scopes["config"]


class DomainXml(NamedTuple):
    """What the XML of a domain says. ``own`` of a NIC is what is shown; who knows better replaces it."""

    nics: tuple[Nic, ...]
    about: About
    # Whether it is that of a running guest: libvirt answers with the definition where one was shut off meanwhile.
    running: bool


def read_domain(domain_xml: str, metadata: bool = True) -> DomainXml:
    """Return what the XML of a domain says; its title and its metadata, which can be long, where they are asked for."""
    nics = None if metadata else _only_nics(domain_xml)
    if nics is not None:
        return DomainXml(nics, _NOTHING_NOTED, " id=" in domain_xml[: domain_xml.index(">")])
    root = _parse(domain_xml)
    nics = tuple(map(_read_nic, root.iterfind("devices/interface")))
    about = About(root.findtext("title"), tuple(_noted(root))) if metadata else _NOTHING_NOTED
    return DomainXml(nics, about, root.get("id") is not None)


_MAC = re.compile("<mac address='([^']*)'")


def _only_nics(domain_xml: str) -> tuple[Nic, ...] | None:
    """Return the NICs without parsing the rest, which is most of the XML; None where this text is not as libvirt's is.

    libvirt writes them one after the other. What people write into a domain as XML, its metadata, is before them.
    """
    devices = domain_xml.rfind("<devices>")
    if devices < 0 or not domain_xml.startswith("<domain "):
        return None
    start, end = domain_xml.find("<interface ", devices), domain_xml.rfind("</interface>")
    if start < 0:
        return ()
    text = domain_xml[start:end]
    likes, macs = _nics_like(_MAC.sub("<mac address=''", text)), _MAC.findall(text)
    if len(likes) != len(macs) or len(likes) != domain_xml.count("<interface ", devices):
        return None
    nics = []
    for like, mac in zip(likes, macs):
        nic = Nic.__new__(Nic)
        nic.__dict__.update(like.__dict__, mac=mac.lower())  # replace() takes several times as long
        nics.append(nic)
    return tuple(nics)


@lru_cache(maxsize=1024)  # in definitions hardly more than the MACs differ
def _nics_like(interfaces_xml: str) -> tuple[Nic, ...]:
    """Return the NICs in a text from which the MACs and the last tag were taken; none where it says anything else."""
    try:
        elements = list(_parse(f"<devices>{interfaces_xml}</interface></devices>"))
    except etree.XMLSyntaxError:
        return ()
    only = all(element.tag == "interface" and _has_one_mac(element) for element in elements)
    return tuple(map(_read_nic, elements)) if only else ()


def _has_one_mac(element: _Element) -> bool:
    """Whether the MAC that is in the text of a NIC is its own."""
    return [(mac.getparent(), mac.get("address")) for mac in element.iter("mac")] == [(element, "")]


def read_nics(domain_xml: str) -> tuple[Nic, ...]:
    """Return the NICs in the XML of a domain."""
    return read_domain(domain_xml, metadata=False).nics


def _noted(root: _Element) -> Iterator[str]:
    """Yield the lines of `About.metadata`. virDomainSetMetadata stores elements with the prefix that it is given."""
    for element in root.iterfind("metadata//*"):
        local = etree.QName(element).localname
        name = f"{element.prefix}:{local}" if element.prefix else local
        yield f"{name}={_text(element).strip()}"
        for attribute, value in element.items():
            yield f"{name}@{etree.QName(str(attribute)).localname}={value!s}"


def _text(element: _Element) -> str:
    """Return the text before the first element inside, which comments may interrupt."""
    parts = [element.text]
    for child in element:
        if isinstance(child.tag, str):
            break
        parts.append(child.tail)
    return "".join(part for part in parts if part)


def nic_with(bandwidth: Bandwidth, domain_xml: str, mac: str) -> str:
    """Return the XML of this NIC as it stands in the XML of its domain, but with this bandwidth.

    Where the domain has no such NIC (any more) it is empty, which libvirt refuses.
    """
    for element in _parse(domain_xml).iterfind("devices/interface"):
        if _read_nic(element).mac == mac:
            put_bandwidth(element, bandwidth)
            return etree.tostring(element, encoding="unicode")
    return ""


def put_bandwidth(parent: _Element, bandwidth: Bandwidth) -> None:
    """Have an element of XML say this bandwidth, and no other."""
    for old in parent.findall("bandwidth"):
        parent.remove(old)
    if bandwidth.unlimited:
        return
    element = etree.SubElement(parent, "bandwidth")
    for direction in DIRECTIONS:
        said = {name: str(value) for name in FIELDS if (value := getattr(bandwidth[direction], name))}
        if said:
            etree.SubElement(element, direction, said)


def read_network(network_xml: str) -> Network:
    """Return what the XML of a network says of bandwidth."""
    root = _parse(network_xml)
    forward, bridge = root.find("forward"), root.find("bridge")
    groups = {group.get("name", ""): group for group in root.iterfind("portgroup")}
    return Network(
        name=root.findtext("name", ""),
        forward="none" if forward is None else forward.get("mode", "nat"),
        bandwidth=read_bandwidth(root),
        portgroups={name: read_bandwidth(group) for name, group in groups.items()},
        default_portgroup=next((name for name, group in groups.items() if group.get("default") == "yes"), None),
        bridge=None if bridge is None else bridge.get("name"),
        openvswitch=_is_switched(root),
        switched=frozenset(name for name, group in groups.items() if _is_switched(group)),
    )


def _is_switched(parent: _Element) -> bool:
    return parent.find("virtualport[@type='openvswitch']") is not None


def read_bandwidth(parent: _Element) -> Bandwidth:
    """Return the bandwidth of an element; an absent `<bandwidth>` and an empty one are the same."""
    element = parent.find("bandwidth")
    return NO_BANDWIDTH if element is None else _read_bandwidth(element)


def _read_bandwidth(element: _Element) -> Bandwidth:
    limits = {child.tag: child.items() for child in reversed(element)}
    return _bandwidth(*(tuple(limits.get(direction, ())) for direction in DIRECTIONS))


@lru_cache(maxsize=1024)  # a host has many NICs, and few limits
def _bandwidth(*directions: tuple[tuple[str, str], ...]) -> Bandwidth:
    return Bandwidth(*(_limit(dict(attributes)) for attributes in directions))


def _limit(attributes: Mapping[str, str]) -> Limit:
    return canonical({name: int(attributes.get(name, "0")) for name in FIELDS})


_NOTHING: Mapping[str, str] = {}


def _read_nic(element: _Element) -> Nic:
    # One walk over the children; a search for each of them takes twice as long.
    parts = {child.tag: child for child in reversed(element)}
    bandwidth = parts.get("bandwidth")
    shown = NO_BANDWIDTH if bandwidth is None else _read_bandwidth(bandwidth)
    source = parts.get("source", _NOTHING)
    return Nic(
        mac=parts.get("mac", _NOTHING).get("address", "").lower(),
        type=element.get("type", ""),
        target=parts.get("target", _NOTHING).get("dev"),
        alias=parts.get("alias", _NOTHING).get("name"),
        network=source.get("network"),
        portgroup=source.get("portgroup"),
        bridge=source.get("bridge"),
        openvswitch=parts.get("virtualport", _NOTHING).get("type") == "openvswitch",
        shown=shown,
        own=shown,
    )


def _parse(text: str) -> _Element:
    return etree.fromstring(text.encode(), _PARSER)
