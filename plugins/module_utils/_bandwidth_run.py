# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""One run over the NICs of a domain, or of a whole host by policies: parse, read, plan, apply."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import Wanted, parse_wanted
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import (
    SCOPE_NAMES,
    SCOPES,
    Claim,
    claim_all,
    select,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_floors import check_floors, rising
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change, plan
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_policies import (
    Policies,
    parse_policies,
    refuse_idle,
    warn_of_idle,
    warn_of_overlaps,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_warnings import warn_of_saved, warnings
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import login_of
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import STARTED, Away, Host, check_uri
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems


@dataclass
class Outcome:
    """What a run did, or would do in check mode."""

    changes: list[Change]
    warnings: list[str]
    failures: list[HostError] = field(default_factory=list)
    # What came in between, and is nobody's fault.
    notes: list[str] = field(default_factory=list)


def converge(options: Mapping[str, Any], check_mode: bool) -> Outcome:
    """Do what a module's options ask. Raises `Refused` where that cannot be, and `HostError` where libvirt refuses."""
    problems = Problems()
    check_uri(options["uri"], problems)
    login = login_of(options, problems)
    scopes = [scope for scope in SCOPES if scope in options["affect"]]
    if not scopes:
        problems.add("affect", [], "an empty list leaves nothing to do", "name live, config or both")
    if options["policies"] is None:
        wanted = _parse_one(options, problems)
        problems.refuse_if_any()
        return _converge_one(Host(options["uri"], login=login), options, scopes, wanted, check_mode)
    policies = _parse_policies(options, problems)
    problems.refuse_if_any()
    return _converge_host(Host(options["uri"], login=login), policies, scopes, options["require_match"], check_mode)


def _parse_one(options: Mapping[str, Any], problems: Problems) -> Wanted:
    # libvirt takes every other one, also those that Python calls unprintable: an ideographic space, a joined emoji.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in options["domain"]):
        problems.add("domain", options["domain"], "no name has such a character", "give the name or UUID of a domain")
    if options["require_match"]:
        problems.add("require_match", True, "it is about policies", "drop it; a NIC that is named has to be there")
    return parse_wanted(options, problems)


def _parse_policies(options: Mapping[str, Any], problems: Problems) -> Policies:
    if options["state"] == "absent":
        problems.add("state", "absent", "with policies, each has a state of its own", "write it into the policies")
    return Policies(parse_policies(options["policies"], problems))


def _converge_one(
    host: Host, options: Mapping[str, Any], scopes: Sequence[str], wanted: Wanted, check_mode: bool
) -> Outcome:
    problems = Problems()
    domain = host.domain(options["domain"])
    macs = select(domain, options["interface"], problems)
    claims = claim_all(_restrict(domain, scopes, problems), macs, wanted)
    claims = [claim for claim in claims if claim.nics]
    if macs and not claims and not problems.found:
        rule = f"NIC {options['interface']} of domain '{domain.name}' is not in its {_named(scopes)}"
        problems.add("affect", list(scopes), rule, "drop affect, or name another NIC")
    changes = plan(claims, host.networks.find, problems)
    if rising(claims):
        check_floors(host.domains(scopes), claims, host.networks.find, problems)
    problems.refuse_if_any()
    outcome = Outcome(changes, _warnings(host, claims, changes))
    if not check_mode:
        outcome.changes, outcome.failures = host.converge(changes)
    return outcome


def _restrict(domain: Domain, scopes: Sequence[str], problems: Problems) -> Domain:
    nics = {scope: nics for scope, nics in domain.nics.items() if scope in scopes}
    if not nics:
        state = "is not running" if "live" in scopes else "is transient"
        rule = f"domain '{domain.name}' {state}, it has no {_named(scopes)}"
        problems.add(
            "affect", list(scopes), rule, "drop affect, or start the domain" if "live" in scopes else "drop affect"
        )
    return domain._replace(nics=nics)


def _named(scopes: Sequence[str]) -> str:
    return " or ".join(SCOPE_NAMES[scope] for scope in scopes)


def _converge_host(
    host: Host, policies: Policies, scopes: Sequence[str], require_match: bool, check_mode: bool
) -> Outcome:
    problems = Problems()
    # Floors add up over all domains; otherwise those that no policy can be for need not be read.
    domains = host.domains(scopes, None if policies.floors else policies.concern, policies.about)
    claims = policies.claim(domains, host.networks.find, problems)
    idle = policies.idle(domains, claims, host.networks.find)
    if require_match:
        refuse_idle(idle, scopes, problems)
    changes = plan(claims, host.networks.find, problems)
    if rising(claims):
        check_floors(domains, claims, host.networks.find, problems)
    problems.refuse_if_any()
    disputed = policies.overlaps(claims, idle, host.networks.find)
    warned = [*warn_of_idle(idle, scopes), *warn_of_overlaps(disputed), *_warnings(host, claims, changes)]
    outcome = Outcome(changes, warned)
    if not check_mode:
        outcome.changes, failures = host.converge(changes, lenient=True)
        outcome.failures = [failure for failure in failures if not isinstance(failure, Away)]
        outcome.notes = [str(failure) for failure in failures if isinstance(failure, Away)]
    if not check_mode and "live" in scopes:
        # Started from a definition that has what is wanted, a guest has it too.
        changed = {change.uuid for change in changes} if "config" in scopes else {domain.uuid for domain in domains}
        settled = {domain.uuid for domain in domains if domain.uuid not in changed}
        outcome.notes += [STARTED.format(name) for name in host.started(settled) if policies.concern(name)]
    outcome.notes = list(dict.fromkeys(outcome.notes))  # one of a guest, however many NICs it has
    return outcome


def _warnings(host: Host, claims: Sequence[Claim], changes: Sequence[Change]) -> list[str]:
    return warnings(claims, host.networks.find) + (warn_of_saved(changes, host.saved()) if changes else [])
