# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""NICs and networks as virt_bandwidth_info returns them: what libvirt says of each, and what the kernel does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    CLEAR,
    DIRECTIONS,
    NO_BANDWIDTH,
    RATES,
    Bandwidth,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES, FindNetwork
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_enforced import Kernel, of_network, of_nic
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_policies import Policies
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import About, Domain, NetworkByScope, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._nic_match import Match, fact
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE


@dataclass(frozen=True)
class Seen:
    """A NIC of a domain, by scope."""

    domain: Domain
    nics: dict[str, Nic] = field(default_factory=dict)

    @property
    def nic(self) -> Nic:
        """The NIC as it is known best: in the running guest, where it runs."""
        return self.nics.get("live") or self.nics["config"]


def seen(domains: Iterable[Domain], match: Match | None, find_network: FindNetwork) -> list[Seen]:
    """Return the NICs that the match fits in either scope; all of them without one."""
    return [
        each
        for domain in domains
        for each in _nics(domain)
        if match is None
        or any(
            match.fits_domain(domain.name, domain.about.get(scope, About())) and match.fits_nic(nic, find_network)
            for scope, nic in each.nics.items()
        )
    ]


def _nics(domain: Domain) -> Iterable[Seen]:
    """Pair the NICs of both scopes by their MAC, and those that have the same by their order."""
    found: dict[tuple[str, int], Seen] = {}
    for scope in SCOPES:
        counted: dict[str, int] = {}
        for nic in domain.nics.get(scope, ()):
            counted[nic.mac] = counted.get(nic.mac, 0) + 1
            found.setdefault((nic.mac, counted[nic.mac]), Seen(domain)).nics[scope] = nic
    return found.values()


def undeclared(nics: Iterable[Seen], declared: Policies, find_network: FindNetwork) -> set[tuple[str, str, str]]:
    """Return the domain, scope and MAC of the NICs that nothing of what is declared is for."""
    domains = {each.domain.uuid: each.domain for each in nics}
    # Twins are a matter of who wants to limit one of them.
    claims = declared.claim(domains.values(), find_network, Problems())
    claimed = {(claim.domain.uuid, scope, nic.mac) for claim in claims for scope, nic in claim.nics.items()}
    return {(each.domain.uuid, scope, nic.mac) for each in nics for scope, nic in each.nics.items()} - claimed


def interface_info(each: Seen, find_network: FindNetwork, kernel: Kernel) -> dict[str, Any]:
    """Return what there is to know of a NIC."""
    nic, live = each.nic, each.nics.get("live")
    effective = {scope: _effective(scope, nic, find_network) for scope, nic in each.nics.items()}
    return {
        "domain": each.domain.name,
        "mac": nic.mac,
        "target": nic.target,
        "alias": nic.alias,
        "type": nic.type,
        "network": nic.network,
        "portgroup": fact("portgroup", nic, find_network),
        "bridge": fact("bridge", nic, find_network),
        "running": each.domain.running,
        **{
            scope: _scope(each.nics[scope], effective[scope], find_network) if scope in each.nics else None
            for scope in SCOPES
        },
        "drift": _drift(effective),
        "enforced": of_nic(live, effective["live"], kernel) if live else None,
    }


def _scope(nic: Nic, effective: Bandwidth, find_network: FindNetwork) -> dict[str, Any]:
    grouped = fact("portgroup", nic, find_network) is not None
    return {
        "own": _text(nic.own),
        "portgroup": _text(_given(nic, find_network)) if grouped else None,
        "effective": _text(effective),
    }


def _effective(scope: str, nic: Nic, find_network: FindNetwork) -> Bandwidth:
    """Return what holds: a running guest has what its portgroup gave it when it was plugged in."""
    if scope == "live":
        return nic.shown
    return _given(nic, find_network) if nic.own.unlimited else nic.own


def _given(nic: Nic, find_network: FindNetwork) -> Bandwidth:
    network = find_network(nic.network) if nic.network else None
    return network.given_to(nic) if network else NO_BANDWIDTH


def _text(bandwidth: Bandwidth) -> dict[str, dict[str, str]]:
    return {direction: bandwidth[direction].text() for direction in DIRECTIONS}


def _drift(of: Mapping[str, Bandwidth]) -> list[str]:
    return of["live"].differing(of["config"]) if len(of) == len(SCOPES) else []


def _unenforced(interface: Mapping[str, Any]) -> bool:
    enforced = interface["enforced"] or {}
    return any(enforced[direction]["agrees"] is False for direction in DIRECTIONS if direction in enforced)


def _limited(interface: Mapping[str, Any]) -> bool:
    bandwidths = [interface[scope]["effective"] for scope in SCOPES if interface[scope]]
    limits = [
        each[direction]
        for each in (*bandwidths, interface["enforced"] or {})
        for direction in each
        if direction in DIRECTIONS
    ]
    return any("floor" in limit or limit["average"] not in (None, CLEAR) for limit in limits)


# What a NIC can be returned for, and whether one is that, by what interface_info() says of it.
NOTEWORTHY: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "drift": lambda interface: bool(interface["drift"]),
    "unenforced": _unenforced,
    "limited": _limited,
    "undeclared": lambda interface: bool(interface.get("undeclared")),
}


def network_info(network: NetworkByScope, domains: Iterable[Domain], kernel: Kernel) -> dict[str, Any]:
    """Return what there is to know of a network; ``domains`` are all of the host, where it can have floors."""
    own = {scope: each.bandwidth for scope, each in network.scopes.items()}
    bridge, cap = network.now.bridge, network.now.bandwidth.inbound.cap
    used = sum(nic.shown.inbound.floor for nic in _plugged(network.name, domains))
    active = "live" in network.scopes
    # libvirt does not change a network while it is active, so the definition says what it is to have.
    wanted = own.get("config", own.get("live", NO_BANDWIDTH))
    return {
        "name": network.name,
        "active": active,
        "forward": network.now.forward,
        "bridge": bridge,
        **{scope: _text(own[scope]) if scope in own else None for scope in SCOPES},
        "drift": _drift(own),
        "enforced": of_network(bridge, wanted, kernel) if active and bridge else None,
        "floors": {
            "used": RATE.format(used, RATES),
            "left": RATE.format(max(cap - used, 0), RATES) if cap else None,
        },
        "portgroups": list(_portgroups(network)),
    }


def _plugged(network: str, domains: Iterable[Domain]) -> Iterator[Nic]:
    return (nic for domain in domains for nic in domain.nics.get("live", ()) if nic.network == network)


def _portgroups(network: NetworkByScope) -> Iterator[dict[str, Any]]:
    names: Sequence[str] = [name for each in network.scopes.values() for name in each.portgroups]
    for name in dict.fromkeys(names):
        of = {scope: each.portgroups[name] for scope, each in network.scopes.items() if name in each.portgroups}
        yield {
            "name": name,
            "default": name == network.now.default_portgroup,
            **{scope: _text(of[scope]) if scope in of else None for scope in SCOPES},
            "drift": _drift(of),
        }
