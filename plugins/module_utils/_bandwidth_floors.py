# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What the NICs of a network are guaranteed together, beside what the network has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import RATES, UNLIMITED
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import (
    SCOPE_NAMES,
    Claim,
    FindNetwork,
    enumerated,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE


@dataclass
class _Sum:
    """The floors on one network in one scope, in kB/s."""

    floors: dict[str, int] = field(default_factory=dict)  # by NIC, in words
    raised_by: dict[str, int] = field(
        default_factory=dict
    )  # the options that raise one, and the highest that each asks


def rising(claims: Iterable[Claim]) -> bool:
    """Whether a NIC is to be guaranteed more than it is."""
    return any(
        _raises(claim, scope)
        for claim in claims
        for scope, wanted in claim.wanted.items()
        if wanted.limits.get("inbound", UNLIMITED).floor
    )


def check_floors(
    domains: Sequence[Domain], claims: Sequence[Claim], find_network: FindNetwork, problems: Problems
) -> None:
    """Add a problem for each network whose floors would add up to more than it has.

    ``domains`` are all of the host. libvirt refuses to plug in the NIC that is one too many (networkCheckBandwidth in
    src/network/bridge_driver.c): a running guest would be refused its floor, and one that is shut off would not
    start. What counts are the guests that run, and of the others those that a floor is wanted for.
    """
    wanted = {(claim.domain.uuid, scope, nic.mac): claim for claim in claims for scope, nic in claim.nics.items()}
    sums: dict[tuple[str, str], _Sum] = {}
    for domain, scope, nic in _nics(domains):
        claim = wanted.get((domain.uuid, scope, nic.mac))
        if nic.network is None or not (claim or domain.running):
            continue
        floor = _floor(claim, scope) if claim else nic.own.inbound.floor
        if floor:
            total = sums.setdefault((scope, nic.network), _Sum())
            total.floors[f"{nic.mac} of domain '{domain.name}' {RATE.format(floor, RATES)}"] = floor
            if claim and _raises(claim, scope):
                path = claim.wanted[scope].path
                total.raised_by[path] = max(floor, total.raised_by.get(path, 0))
    for (scope, name), total in sums.items():
        network = find_network(name)
        cap = network.bandwidth.inbound.cap if network else 0
        # A floor that does not fit by itself has been told already.
        if cap and total.raised_by and sum(total.floors.values()) > cap >= max(total.raised_by.values()):
            path, floor = next(iter(total.raised_by.items()))
            rule = (
                f"the floors of the NICs on network '{name}' would add up to "
                f"{RATE.format(sum(total.floors.values()), RATES)} in the {SCOPE_NAMES[scope]}s, and it has "
                f"{RATE.format(cap, RATES)} inbound to share out: {enumerated(sorted(total.floors))}"
            )
            remedy = "lower some of them, or raise the network's inbound average"
            problems.add(f"{path}inbound.floor", RATE.format(floor, RATES), rule, remedy)


def _nics(domains: Iterable[Domain]) -> Iterator[tuple[Domain, str, Nic]]:
    for domain in domains:
        for scope, nics in domain.nics.items():
            for nic in nics:
                yield domain, scope, nic
        if "config" not in domain.nics:  # a transient domain is as it is when the others are started again
            for nic in domain.nics.get("live", ()):
                yield domain, "config", nic


def _floor(claim: Claim, scope: str) -> int:
    limit = claim.wanted[scope].limits.get("inbound", claim.nics[scope].own.inbound)
    return limit.floor


def _raises(claim: Claim, scope: str) -> bool:
    return _floor(claim, scope) > claim.nics[scope].own.inbound.floor
