# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What a user writes about the packets of a class, turned into the model; everything that cannot be is refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import (
    DSCP,
    PROTOCOLS,
    WITH_PORTS,
    Match,
    Network,
    Ports,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

VLANS = range(4095)  # IEEE 802.1Q; 0 is a priority without a VLAN
PORTS = range(1, 65536)
FIELDS = tuple(each.name for each in fields(Match))
MATCH = {name: {"type": "int" if name == "vlan" else "str"} for name in FIELDS}  # an argument spec
VERSION_OF = {PROTOCOLS["icmp"]: 4, PROTOCOLS["icmpv6"]: 6}


def parse_vlan(path: str, vlan: Any, problems: Problems) -> int | None:
    """Return a VLAN's id, 0 to 4094; None where it is omitted or was refused."""
    if vlan is None or (vlan in VLANS and not isinstance(vlan, bool)):
        return vlan
    rule = "not a number" if isinstance(vlan, bool) else f"a VLAN id is from {VLANS[0]} to {VLANS[-1]}"
    if vlan == VLANS.stop:
        rule += ", as IEEE 802.1Q keeps this one for itself"
    problems.add(path, vlan, rule, "write the VLAN's id; untagged traffic is the default class's")
    return None


def parse_match(options: Mapping[str, Any], path: str, problems: Problems) -> Match | None:
    """Return the match that an element of ``match`` (``path`` is ``match[0].``) describes; None if it was refused."""
    before = len(problems.found)
    named = [name for name in FIELDS if options.get(name) is not None]
    if not named:
        problems.add(path[:-1], dict(options), "matches nothing in particular", f"name one of {', '.join(FIELDS)}")
    texts = {name: str(options[name]).strip() for name in named}
    match = Match(
        fwmark=_mark(f"{path}fwmark", texts.get("fwmark"), problems),
        vlan=parse_vlan(f"{path}vlan", options.get("vlan"), problems),
        dscp=_named_number(f"{path}dscp", texts.get("dscp"), DSCP, range(64), problems),
        src=_network(f"{path}src", texts.get("src"), problems),
        dst=_network(f"{path}dst", texts.get("dst"), problems),
        ip_proto=_named_number(f"{path}ip_proto", texts.get("ip_proto"), PROTOCOLS, range(256), problems),
        src_port=_ports(f"{path}src_port", texts.get("src_port"), problems),
        dst_port=_ports(f"{path}dst_port", texts.get("dst_port"), problems),
    )
    if len(problems.found) == before:
        _check_together(match, named, path, problems)
    return match if len(problems.found) == before else None


def _check_together(match: Match, named: list[str], path: str, problems: Problems) -> None:
    options = match.options()
    if match.fwmark and len(named) > 1:
        others = " and ".join(name for name in named if name != "fwmark")
        rule = f"the kernel's filter for a mark looks at nothing else, so {others} cannot stand beside it"
        problems.add(f"{path}fwmark", options["fwmark"], rule, "mark only the packets that all of it fits")
    for name in ("src_port", "dst_port"):
        if name in named and match.ip_proto not in [PROTOCOLS[each] for each in WITH_PORTS]:
            rule = "only a packet of a protocol that has ports has one"
            problems.add(f"{path}{name}", options[name], rule, f"give {path}ip_proto: {' or '.join(WITH_PORTS)}")
    if match.src and match.dst and match.src.version != match.dst.version:
        rule = f"no packet goes from IPv{match.src.version} to IPv{match.dst.version}"
        problems.add(f"{path}dst", str(match.dst), rule, "write an element for each")
    version = VERSION_OF.get(match.ip_proto or 0)
    for name, network in (("src", match.src), ("dst", match.dst)):
        if version and network and network.version != version:
            rule = f"{options['ip_proto']} is of IPv{version}"
            problems.add(f"{path}{name}", str(network), rule, f"write an IPv{version} network, or the other protocol")


def _number(text: str) -> int | None:
    """Return a number; none with a leading zero, which some read as octal."""
    if re.fullmatch(r"0x[0-9a-f]{1,8}|0|[1-9][0-9]{0,9}", text, re.ASCII | re.IGNORECASE):
        return int(text, 0)
    return None


def _named_number(
    path: str, text: str | None, names: Mapping[str, int], numbers: range, problems: Problems
) -> int | None:
    if text is None:
        return None
    number = names.get(text.lower(), _number(text))
    if number not in numbers:
        rule = f"neither a number from 0 to {numbers[-1]} nor a known name"
        problems.add(path, text, rule, f"write the number, or one of {', '.join(names)}")
        return None
    return number


def _mark(path: str, text: str | None, problems: Problems) -> tuple[int, int] | None:
    if text is None:
        return None
    value, mask = (_number(part) for part in (text if "/" in text else f"{text}/0xffffffff").split("/", 1))
    if value is None or mask is None or max(value, mask) > 0xFFFFFFFF:
        problems.add(path, text, "not a mark of 32 bits", "write one such as 16, 0x10 or 0x10/0xff")
        return None
    if not value:
        problems.add(path, text, "the kernel has no filter for a mark of 0", "mark the packets that are meant")
        return None
    if value & ~mask:
        rule = f"the mask leaves no mark that could be 0x{value:x}"
        problems.add(path, text, rule, f"write 0x{value:x}/0x{value | mask:x}, or 0x{value:x} for that mark alone")
        return None
    return value, mask


def _network(path: str, text: str | None, problems: Problems) -> Network | None:
    if text is None:
        return None
    try:
        network = ipaddress.ip_network(text, strict=False)
        address = ipaddress.ip_address(text.split("/")[0])
    except ValueError:
        network = None
    mask = text.partition("/")[2]
    # Not /0.255.255.255, which ipaddress takes for /8 too
    if network is None or "%" in text or ("." in mask and mask != str(network.netmask)):
        problems.add(path, text, "not an IP network", "write one such as 10.0.0.0/8, 10.0.0.1 or 2001:db8::/32")
        return None
    if network.network_address != address:
        remedy = f"write {network} for the network, or {address} for the address"
        problems.add(path, text, "an address within a network, not a network", remedy)
        return None
    if not network.prefixlen:
        problems.add(path, text, "every address is in this network", "leave it out")
        return None
    return network


def _ports(path: str, text: str | None, problems: Problems) -> Ports | None:
    if text is None:
        return None
    first, last = (_number(part) for part in (text if "-" in text else f"{text}-{text}").split("-", 1))
    if first is None or last is None or first not in PORTS or last not in PORTS:
        rule = f"not a port from {PORTS[0]} to {PORTS[-1]}, nor a range of them"
        problems.add(path, text, rule, "write one such as 443 or 8000-8999")
        return None
    if first > last:
        problems.add(path, text, "the range ends before it begins", f"write {last}-{first}")
        return None
    return first, last
