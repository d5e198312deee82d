# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""From what NICs have and what is wanted of them to the changes to make: data, over any number of NICs.

Check mode, the diff, the result and the calls to libvirt all come from the same list of `Change`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import Wanted
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import (
    SCOPE_NAMES,
    SCOPES,
    Claim,
    FindNetwork,
    Write,
    enumerated,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_rules import (
    Case,
    Problem,
    beyond_reach,
    problems_of,
    settled,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

# Entries in a diff. More of them nobody reads, and with those of 1 000 NICs a result is more than AWX keeps.
SHOWN = 200


@dataclass(frozen=True)
class Change:
    """What is to be written for one NIC, by scope. Scopes that are as they should be are not in it."""

    domain: str
    uuid: str
    nic: Nic
    writes: Mapping[str, Write]
    # The NIC of the running guest is to be plugged anew without a bandwidth of its own before it is written: that
    # gives it its portgroup's again, and it is what takes a policer off the device where libvirt would leave it.
    renew: bool = False

    @property
    def raises_floor(self) -> bool:
        """Whether the running guest is to be guaranteed more than it is."""
        live = self.writes.get("live")
        return live is not None and live.after.inbound.floor > live.before.inbound.floor


# What a policy can do about a NIC that it cannot be for.
_EXCLUDE = (
    'or keep such NICs out of the match (beside network: "*" or bridge: "*" it fits none without a network or a '
    "bridge), or put a policy with state=absent for them before it"
)


def plan(claims: Sequence[Claim], find_network: FindNetwork, problems: Problems) -> list[Change]:
    """Return what is to be written so that these NICs have what is wanted, in each scope where they differ.

    Whatever libvirt would refuse, ignore, or write and not be able to read back is added to ``problems``.
    """
    changes = []
    found: dict[tuple[str, Problem], dict[tuple[str, str], list[str]]] = {}
    alike: set[tuple[Any, ...]] = set()  # those that need nothing: on most hosts nearly all, and few kinds of them
    for claim in claims:
        changing: dict[str, Write] = {}
        renew = False
        for scope, nic in claim.nics.items():
            wanted = claim.wanted[scope]
            like = (id(wanted), id(nic.own), nic.type, nic.network)
            if like in alike:
                continue
            after = wanted.of(nic.own)
            network = find_network(nic.network) if nic.network else None
            if (after == nic.own and settled(nic, network, wanted)) or beyond_reach(nic, wanted):
                alike.add(like)
                continue
            write = Write(nic.own, after, wanted.policy)
            case = Case(scope, nic, network, wanted, write, claim.domain.policer_stays)
            for problem in problems_of(case):
                places = found.setdefault(_placed(problem, wanted), {})
                places.setdefault((str(claim.nic), claim.domain.name), []).append(SCOPE_NAMES[scope])
            if write.before != write.after:
                changing[scope] = write
                renew = renew or case.renew
        if changing:
            changes.append(Change(claim.domain.name, claim.domain.uuid, claim.nic, changing, renew))
    for (option, problem), places in found.items():
        nics = [f"{nic} in the {' and the '.join(where)} of domain '{name}'" for (nic, name), where in places.items()]
        subject = nics[0] if len(nics) == 1 else f"each of {len(nics)} NICs ({enumerated(nics)})"
        problems.add(option, problem.value, f"{subject} {problem.predicate}", problem.remedy)
    return changes


def _placed(problem: Problem, wanted: Wanted) -> tuple[str, Problem]:
    """Return a problem with its option. That a policy cannot be for a NIC is a matter of its match."""
    if wanted.policy is None or not problem.of_nic:
        return wanted.path + problem.option, problem
    return f"{wanted.path}match", replace(problem, value=None, remedy=f"{problem.remedy}, {_EXCLUDE}")


def results(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return what was or would be written: an entry for each NIC, two where its scopes change differently."""
    entries: list[dict[str, Any]] = []
    for change in changes:
        nic = change.nic
        same: list[dict[str, Any]] = []
        for scope in (scope for scope in SCOPES if scope in change.writes):
            write = change.writes[scope]
            pair = (("before", write.before), ("after", write.after))
            sides = {
                side: {direction: bandwidth[direction].text() for direction in write.directions}
                for side, bandwidth in pair
            }
            # Which policy it was, where there are any.
            by = {} if write.policy is None else {"policy": write.policy}
            alike = next((entry for entry in same if {**by, **sides}.items() <= entry.items()), None)
            if not alike:
                names = {"domain": change.domain, "mac": nic.mac, "target": nic.target, "alias": nic.alias}
                own: dict[str, list[str]] = {"before": [], "after": []}
                alike = {**names, "type": nic.type, "scopes": [], "own": own, **by, **sides}
                same.append(alike)
            alike["scopes"].append(scope)
            for side, bandwidth in pair:
                alike["own"][side] += [] if bandwidth.unlimited else [scope]
        entries += same
    return entries


def diff(changes: Sequence[Change]) -> dict[str, str]:
    """Return the text before and after of what is touched, in the form its options are written in."""
    sides: dict[str, list[str]] = {"before": [], "after": []}
    entries = results(changes)
    for entry in entries[:SHOWN]:
        names = ", ".join(name for name in (entry["target"], entry["alias"]) if name)
        head = f"{entry['domain']} {entry['mac']}{names and f' ({names})'} {'+'.join(entry['scopes'])}:"
        for side, lines in sides.items():
            lines.append(head)
            for direction, limit in entry[side].items():
                pairs = ", ".join(f"{name}: {value}" for name, value in limit.items())
                lines.append(f"  {direction}: {{{pairs}}}")
    for lines in sides.values():
        if len(entries) > SHOWN:
            lines.append(f"and {len(entries) - SHOWN} more, which the result has under interfaces")
    return {side: "".join(f"{line}\n" for line in lines) for side, lines in sides.items()}


def unmet(change: Change, domain: Domain) -> list[str]:
    """Return a sentence for each scope in which a change that libvirt accepted does not read back."""
    found = []
    for scope, write in change.writes.items():
        own = [nic.own for nic in domain.nics.get(scope, ()) if nic.mac == change.nic.mac]
        if own != [write.after]:
            what = (
                "the NIC is gone"
                if not own
                else f"{' and '.join(own[0].differing(write.after))} reads back differently"
            )
            found.append(
                f"domain '{change.domain}', NIC {change.nic}: libvirt accepted the change of the {SCOPE_NAMES[scope]}, "
                f"but {what}: libvirt ignored it, or somebody else changed it meanwhile; run again."
            )
    return found
