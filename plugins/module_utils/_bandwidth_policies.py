# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Policies: which NICs of a host each one is for. The first that fits a NIC claims it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import Wanted, parse_wanted
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import (
    SCOPE_NAMES,
    SCOPES,
    Claim,
    FindNetwork,
    enumerated,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import About, Domain, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._nic_match import Match, parse_match
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems


@dataclass(frozen=True)
class Policy:
    """What is wanted of the NICs that it matches."""

    wanted: Wanted
    match: Match

    def disputes(self, later: Policy) -> bool:
        """Whether a later one wants something else, and is no general rule from which this one is an exception."""
        same = (self.wanted.limits, self.wanted.absent) == (later.wanted.limits, later.wanted.absent)
        return not same and not later.match.covers(self.match)


def parse_policies(elements: Sequence[Mapping[str, Any]], problems: Problems) -> list[Policy]:
    """Read the list of policies; everything that is wrong with them is added to ``problems``."""
    policies = []
    for index, element in enumerate(elements):
        path = f"policies[{index}]"
        match = parse_match(element["match"], problems, f"{path}.match")
        policies.append(Policy(parse_wanted(element, problems, f"{path}.", index), match))
    return policies


def parse_declared(matches: Sequence[Mapping[str, Any]], problems: Problems) -> Policies:
    """Read matches of which nothing is asked but which NICs they are for."""
    nothing = Wanted({})
    return Policies(
        [Policy(nothing, parse_match(match, problems, f"declared[{index}]")) for index, match in enumerate(matches)]
    )


class Policies:
    """Policies in their order, and the few of them that can be for a domain."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = policies
        # Whether one asks for what people and programs noted of a domain.
        self.about = any(policy.match.about for policy in policies)
        self._concerning: dict[str, list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        self._by_mac: dict[str, list[int]] = {}
        self._others: list[int] = []
        for index, policy in enumerate(policies):
            for globs, found in (
                (policy.match.of_domain.get("domain"), self._by_name),
                (policy.match.of_nic.get("mac"), self._by_mac),
            ):
                if globs is not None and globs.wild is None:
                    for text in globs.exact:
                        found.setdefault(text, []).append(index)
                    break
            else:
                self._others.append(index)

    @property
    def floors(self) -> bool:
        """Whether a policy gives a floor."""
        return any(limit.floor for policy in self._policies for limit in policy.wanted.limits.values())

    def concern(self, name: str) -> bool:
        """Whether some policy can be for a NIC of the domain with this name."""
        return bool(self._that_concern(name)) or any(
            self._policies[index].match.concerns(name) for indices in self._by_mac.values() for index in indices
        )

    def _that_concern(self, name: str) -> list[int]:
        """Return the policies for NICs of this domain but those that name MACs alone."""
        found = self._concerning.get(name)
        if found is None:
            candidates = (*self._by_name.get(name, ()), *self._others)
            found = self._concerning[name] = [i for i in candidates if self._policies[i].match.concerns(name)]
        return found

    def _of(self, domain: Domain, scope: str, nic: Nic, find_network: FindNetwork) -> Iterator[Policy]:
        about = domain.about.get(scope, About())
        for index in sorted((*self._that_concern(domain.name), *self._by_mac.get(nic.mac, ()))):
            match = self._policies[index].match
            if match.fits_domain(domain.name, about) and match.fits_nic(nic, find_network):
                yield self._policies[index]

    def claim(self, domains: Iterable[Domain], find_network: FindNetwork, problems: Problems) -> list[Claim]:
        """Return the NICs that policies are for; where a MAC is not unique in its domain, that is a problem.

        The running guest and the definition are matched each by itself: a NIC may be moved to another network with
        the next start, and it is to have there what holds there.
        """
        claims: list[Claim] = []
        for domain in domains:
            claimed: dict[str, Claim] = {}
            for scope, nics in domain.nics.items():
                for nic in nics:
                    policy = next(self._of(domain, scope, nic, find_network), None)
                    if policy is not None:
                        claim = claimed.get(nic.mac)
                        if claim is None:
                            claim = claimed[nic.mac] = Claim(domain, {}, {})
                        claim.nics[scope] = nic
                        claim.wanted[scope] = policy.wanted
                _check_twins(domain, scope, claimed, problems)
            claims += claimed.values()
        return claims

    def idle(
        self, domains: Sequence[Domain], claims: Sequence[Claim], find_network: FindNetwork
    ) -> dict[int, list[int]]:
        """Return the policies that claim no NIC, each with those that claimed what it fits; none if it fits nothing."""
        used = {wanted.policy for claim in claims for wanted in claim.wanted.values()}
        idle = [index for index in range(len(self._policies)) if index not in used]
        by = {
            (claim.domain.uuid, scope, claim.nic.mac): wanted.policy
            for claim in (claims if idle else ())
            for scope, wanted in claim.wanted.items()
        }
        return {index: sorted(self._before(self._policies[index], domains, by, find_network)) for index in idle}

    def overlaps(
        self, claims: Sequence[Claim], idle: Mapping[int, Sequence[int]], find_network: FindNetwork
    ) -> dict[tuple[str, str], tuple[Policy, Policy]]:
        """Return the NICs, by domain and MAC, that a later policy disputes; one that is idle is told anyway."""
        found: dict[tuple[str, str], tuple[Policy, Policy]] = {}
        for claim in claims:
            for scope in claim.wanted:
                first, *others = self._of(claim.domain, scope, claim.nics[scope], find_network)
                for later in others:
                    if first.disputes(later) and later.wanted.policy not in idle:
                        found.setdefault((claim.domain.name, claim.nic.mac), (first, later))
        return found

    @staticmethod
    def _before(
        policy: Policy,
        domains: Sequence[Domain],
        by: Mapping[tuple[str, str, str], int | None],
        find_network: FindNetwork,
    ) -> set[int]:
        claimed = (
            by.get((domain.uuid, scope, nic.mac))
            for domain in domains
            for scope, nics in domain.nics.items()
            if policy.match.fits_domain(domain.name, domain.about.get(scope, About()))
            for nic in nics
            if policy.match.fits_nic(nic, find_network)
        )
        return {index for index in claimed if index is not None}


def _check_twins(domain: Domain, scope: str, claimed: Mapping[str, Claim], problems: Problems) -> None:
    """libvirt finds a NIC by its MAC, and takes the first of several (virDomainNetFind)."""
    macs = [nic.mac for nic in domain.nics[scope]]
    if len(set(macs)) == len(macs):
        return
    for mac in {mac: None for mac in macs if macs.count(mac) > 1 and mac in claimed and scope in claimed[mac].wanted}:
        listed = ", ".join(str(nic) for nic in domain.nics[scope] if nic.mac == mac)
        rule = f"the {SCOPE_NAMES[scope]} of domain '{domain.name}' has NICs with the same MAC: {listed}"
        problems.add(f"{claimed[mac].wanted[scope].path}match", None, rule, "give each NIC a MAC of its own first")


def refuse_idle(idle: Mapping[int, Sequence[int]], scopes: Sequence[str], problems: Problems) -> None:
    """Add a problem for each policy that claims no NIC."""
    for index, earlier in idle.items():
        rule = f"every NIC that it fits is claimed by {_named(earlier)}" if earlier else f"{_no_nic(scopes)} fits it"
        wider = "" if len(scopes) == len(SCOPES) else "drop affect, "
        remedy = "move it before those, " if earlier else f"correct it, {wider}"
        problems.add(f"policies[{index}].match", None, rule, f"{remedy}drop the policy, or drop require_match")


def _no_nic(scopes: Sequence[str]) -> str:
    return "no NIC on this host" if len(scopes) == len(SCOPES) else f"no NIC in a {SCOPE_NAMES[scopes[0]]} on this host"


def warn_of_idle(idle: Mapping[int, Sequence[int]], scopes: Sequence[str]) -> list[str]:
    """Return one sentence on all policies that claim no NIC; none where each has one."""
    nothing = [index for index, earlier in idle.items() if not earlier]
    said = [f"{_named(nothing)} ({_no_nic(scopes)} fits)"] if nothing else []
    said += [
        f"policies[{index}] (what it fits is claimed by {_named(earlier)})"
        for index, earlier in idle.items()
        if earlier
    ]
    return [f"Policies that claim no NIC: {enumerated(said)}."] if said else []


def warn_of_overlaps(overlaps: Mapping[tuple[str, str], tuple[Policy, Policy]]) -> list[str]:
    """Return one sentence on all NICs that two policies dispute; none where there are none."""
    said = [
        f"{domain} {mac} ({first.wanted.path.rstrip('.')}, not {later.wanted.path.rstrip('.')})"
        for (domain, mac), (first, later) in overlaps.items()
    ]
    if not said:
        return []
    return [
        "NICs in two policies that want different things, of which neither takes in all of the other, so that the "
        f"first counts: {enumerated(said)}. If that is meant, say it in a policy for just these, before both."
    ]


def _named(indices: Iterable[int]) -> str:
    return enumerated([f"policies[{index}]" for index in indices])
