# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Which packets belong to a class, which match wins, and the kernel's filters that say so.

Of two matches that fit a packet, the one that fixes more of its bits wins; a mark wins over everything. The filters'
preferences keep that rule. They follow from the match alone, so it is the same after every run.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import chain, combinations_with_replacement
from typing import Any, Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Ports = tuple[int, int]  # first and last

# RFC 2474, 2597, 3246, 5865, 8622
DSCP = {
    "default": 0,
    "le": 1,
    **{f"cs{number}": number << 3 for number in range(1, 8)},
    **{f"af{high}{low}": high << 3 | low << 1 for high in range(1, 5) for low in range(1, 4)},
    "va": 44,
    "ef": 46,
}
PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ospf": 89,
    "sctp": 132,
    "udplite": 136,
}
WITH_PORTS = ("tcp", "udp", "sctp")  # what the flow dissector finds ports in and tc(8) takes ports for
MOST_BITS = 12 + 6 + 8 + 2 * 16 + 2 * 128

# All preferences from here to here are ours. vdsm's are its VLANs' ids and 5000.
PREFERENCES = range(6000, 7000)
MARK_PREFERENCE = 6000  # and 32 more, for masks of 32 bits and less
LIFT_PREFERENCE = 6040  # before all that looks into frames
FRAME_PREFERENCE = 6050  # and three a number of bits: a preference has but one protocol


@dataclass(frozen=True)
class Match:
    """What a packet must have to belong to a class; None is anything. ``fwmark`` is a value and a mask."""

    fwmark: tuple[int, int] | None = None
    vlan: int | None = None
    dscp: int | None = None
    src: Network | None = None
    dst: Network | None = None
    ip_proto: int | None = None
    src_port: Ports | None = None
    dst_port: Ports | None = None

    @property
    def bits(self) -> int:
        """How many bits of a packet it fixes; a range of ports fixes those that do not tell its ports apart."""
        fixed = 0
        if self.vlan is not None:
            fixed += 12
        if self.dscp is not None:
            fixed += 6
        if self.ip_proto is not None:
            fixed += 8
        for network in (self.src, self.dst):
            if network:
                fixed += network.prefixlen
        for ports in self._ports():
            if ports:
                fixed += 16 - _width(ports)
        return fixed

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions it is about: both, one, or none where it looks at no IP header."""
        for network in (self.src, self.dst):
            if network:
                return (network.version,)
        if self.ip_proto in (PROTOCOLS["icmp"], PROTOCOLS["icmpv6"]):
            return (4,) if self.ip_proto == PROTOCOLS["icmp"] else (6,)
        return () if (self.dscp, self.ip_proto) == (None, None) else (4, 6)

    def _ports(self) -> tuple[Ports | None, Ports | None]:
        return self.src_port, self.dst_port

    def overlaps(self, other: Match) -> bool:
        """Whether there is a packet that both fit."""
        if self.fwmark and other.fwmark:
            common = self.fwmark[1] & other.fwmark[1]
            if self.fwmark[0] & common != other.fwmark[0] & common:
                return False
        if self.families and other.families and not set(self.families) & set(other.families):
            return False
        exact = ((self.vlan, other.vlan), (self.dscp, other.dscp), (self.ip_proto, other.ip_proto))
        if any(None not in pair and pair[0] != pair[1] for pair in exact):
            return False
        networks = ((self.src, other.src), (self.dst, other.dst))
        if any(one and two and not one.overlaps(two) for one, two in networks):
            return False
        return all(not one or not two or (one[0] <= two[1] and two[0] <= one[1]) for one, two in self._pairs(other))

    def _pairs(self, other: Match) -> Iterator[tuple[Ports | None, Ports | None]]:
        return zip(self._ports(), other._ports())

    def signature(self) -> tuple[object, ...]:
        """Return what it looks at, and in which frames. Two of one, without ranges, overlap only where they are equal.

        Those of one signature are alike in all that `places` asks of the other.
        """
        return (
            self.fwmark and self.fwmark[1],
            self.families,
            self.vlan is None,
            self.dscp is None,
            self.ip_proto is None,
            self.src and self.src.prefixlen,
            self.dst and self.dst.prefixlen,
            self.src_port and _width(self.src_port),
            self.dst_port and _width(self.dst_port),
        )

    @property
    def has_ranges(self) -> bool:
        """Whether it fits several ports, of which two matches of one signature can have some in common."""
        return any(ports and _width(ports) for ports in self._ports())

    def places(self, other: Match) -> list[tuple[object, ...]]:
        """Return where among the packets it is, as far as the other one tells them apart too.

        It overlaps one of the other's signature only where they have a place in common. A range of ports is in two
        places at most, since they are as wide as the wider range can be.
        """
        pairs = ((self.vlan, other.vlan), (self.dscp, other.dscp), (self.ip_proto, other.ip_proto))
        exact: list[object] = [mine for mine, its in pairs if None not in (mine, its)]
        if self.fwmark and other.fwmark:
            exact.append(self.fwmark[0] & other.fwmark[1])
        for mine, its in ((self.src, other.src), (self.dst, other.dst)):
            if mine and its:
                exact.append(mine.supernet(new_prefix=min(mine.prefixlen, its.prefixlen)))
        found = [tuple(exact)]
        for one, two in self._pairs(other):
            if one and two:
                width = max(_width(one), _width(two))
                found = [(*place, end) for place in found for end in dict.fromkeys(port >> width for port in one)]
        return found

    def options(self) -> dict[str, int | str]:
        """Return it as a user writes it."""
        written: dict[str, int | str] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None:
                written[each.name] = _written(each.name, value)
        return written

    def __str__(self) -> str:
        return ", ".join(f"{'VLAN' if name == 'vlan' else name} {value}" for name, value in self.options().items())


def _width(ports: Ports) -> int:
    """Return how many bits of a port tell those of a range apart; 0 for one port."""
    return (ports[1] - ports[0]).bit_length()


def _written(name: str, value: Any) -> int | str:
    if name == "vlan":
        return int(value)
    if name == "fwmark":
        mark, mask = value
        return f"0x{mark:x}" if mask == 0xFFFFFFFF else f"0x{mark:x}/0x{mask:x}"
    if name in ("dscp", "ip_proto"):
        names = {number: text for text, number in (DSCP if name == "dscp" else PROTOCOLS).items()}
        return names.get(value, str(value))
    if name in ("src_port", "dst_port"):
        first, last = value
        return str(first) if first == last else f"{first}-{last}"
    return str(value)


@dataclass(frozen=True)
class Rule:
    """One filter of the kernel: a match, for one kind of frame.

    ``tagged`` is whether the frame has a VLAN tag, None for both; ``family`` is 4, 6, or 0 for any protocol.
    """

    match: Match
    tagged: bool | None
    family: int = 0

    @property
    def preference(self) -> int:
        """The filter's preference, which keeps the rule of who wins."""
        if self.match.fwmark:
            return MARK_PREFERENCE + 32 - bin(self.match.fwmark[1]).count("1")
        protocol = 2 if self.tagged else (4, 6).index(self.family)
        return FRAME_PREFERENCE + 3 * (MOST_BITS - self.match.bits) + protocol

    def __str__(self) -> str:
        frames = {4: "IPv4", 6: "IPv6", 0: ""}[self.family]
        tagged = {None: "", True: "tagged", False: "untagged"}[self.tagged] if self.family else ""
        about = " ".join(filter(None, (tagged, frames)))
        return f"{self.match} ({about})" if about else str(self.match)


def rules_of(match: Match) -> list[Rule]:
    """Return the filters that a match takes: one for a VLAN or a mark, else one for each kind of frame it can be in."""
    if match.fwmark:
        return [Rule(match, None)]
    if not match.families:
        return [Rule(match, True)]
    tags = (True,) if match.vlan is not None else (False, True)
    return [Rule(match, tagged, family) for tagged in tags for family in match.families]


def undecided(owners: Mapping[Match, int]) -> Iterator[tuple[Match, Match]]:
    """Return pairs of matches that fit the same packet and fix as many bits, but belong to different classes."""
    ranks: dict[tuple[object, ...], dict[tuple[object, ...], list[Match]]] = {}
    for match in owners:
        rank = (bin(match.fwmark[1]).count("1"),) if match.fwmark else (None, match.bits)
        ranks.setdefault(rank, {}).setdefault(match.signature(), []).append(match)
    for alike in ranks.values():
        for one, two in combinations_with_replacement(alike.values(), 2):
            if one is two and not one[0].has_ranges:
                continue  # alike and exact, so they differ
            yield from _clashes(one, two, owners)


def _clashes(some: list[Match], others: list[Match], owners: Mapping[Match, int]) -> Iterator[tuple[Match, Match]]:
    """Return those pairs of two lists of one signature each, or of one list. Their places sort most of them out."""
    sample, other = some[0], others[0]
    if sample.families and other.families and not set(sample.families) & set(other.families):
        return
    # Who is at a place, by owner: those of one class are no pairs, however many they are.
    there: dict[tuple[object, ...], dict[int, list[Match]]] = {}
    for match in others if others is not some else ():
        for place in match.places(sample):
            there.setdefault(place, {}).setdefault(owners[match], []).append(match)
    for match in some:
        owner, places = owners[match], match.places(other)
        near = [theirs for place in places for its, theirs in there.get(place, {}).items() if its != owner]
        for each in dict.fromkeys(chain.from_iterable(near)):
            if match.overlaps(each):
                yield match, each
        for place in places if others is some else ():
            there.setdefault(place, {}).setdefault(owner, []).append(match)
