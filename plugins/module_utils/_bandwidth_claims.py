# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Which NICs are meant, and what is wanted of each in the running guest and in its persistent definition."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Callable, NamedTuple, Optional

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import Bandwidth, Wanted
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Network, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

SCOPES = ("live", "config")
SCOPE_NAMES = {"live": "running guest", "config": "persistent definition"}
LISTED = 20  # NICs, domains or policies in one sentence; there can be a thousand

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)
_BARE_MAC = re.compile(r"[0-9a-f]{12}", re.ASCII)

FindNetwork = Callable[[str], Optional[Network]]


class Claim(NamedTuple):  # there are thousands
    """A NIC of a domain, and what is wanted of it, both by scope."""

    domain: Domain
    nics: dict[str, Nic]
    wanted: dict[str, Wanted]

    @property
    def nic(self) -> Nic:
        """The NIC as it is known best: in the running guest, where it runs."""
        return self.nics.get("live") or self.nics["config"]


@dataclass(frozen=True)
class Write:
    """What one scope of a NIC has of its own, and shall have."""

    before: Bandwidth
    after: Bandwidth
    # The number of the policy that asks for it; None where no policy does.
    policy: int | None = None

    @property
    def directions(self) -> list[str]:
        """The directions that change; the others are not sent to libvirt."""
        return self.before.differing(self.after)


def enumerated(items: Sequence[str]) -> str:
    """Return the items as one text, of many only the first."""
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more


def claim_all(domain: Domain, macs: Iterable[str], wanted: Wanted) -> list[Claim]:
    """Return a claim of the same for each of these NICs, in every scope that has it."""
    claims = []
    for mac in macs:
        scopes = {scope: nic for scope, nics in domain.nics.items() for nic in nics if nic.mac == mac}
        claims.append(Claim(domain, scopes, dict.fromkeys(scopes, wanted)))
    return claims


def mac_meant(text: str) -> tuple[str, str] | None:
    """Return what is wrong with a MAC that is written as libvirt does not, and the way out; None for any other text."""
    bare = re.sub("[-.]", "", text.strip().lower())
    if _BARE_MAC.fullmatch(bare):
        mac = ":".join(bare[start : start + 2] for start in range(0, 12, 2))
        return "libvirt writes MACs with colons", f'write "{mac}"'
    # YAML 1.1 has numbers of base 60: 52:54:00:12:34:56 is 41135085296. (A MAC that begins with 0 stays a text.)
    if re.fullmatch("[1-9][0-9]{9,10}", bare) and 10 <= int(bare) // 60**5 < 100:
        groups = [int(bare) // 60**5, *(int(bare) // 60**power % 60 for power in range(4, -1, -1))]
        mac = ":".join(f"{group:02}" for group in groups)
        return "without quotes, YAML makes such a number of a MAC that has digits only", f'write "{mac}", in quotes'
    return None


def select(domain: Domain, interface: str, problems: Problems, path: str = "") -> list[str]:
    """Return the MACs of the NICs that ``interface`` names: a MAC, a target device, an alias, or ``all``.

    libvirt finds a NIC by its MAC or its target device and takes the first that fits (virDomainNetFind), while a
    vnet device is not in the persistent definition: so NICs are known by MAC, and one that is not unique is refused.
    """
    everything = [nic for scope in SCOPES for nic in domain.nics.get(scope, ())]
    wanted = interface.strip()
    if wanted.lower() == "all":
        macs = {nic.mac: None for nic in everything}
    elif _MAC.fullmatch(wanted.lower()):
        macs = {nic.mac: None for nic in everything if nic.mac == wanted.lower()}
    else:
        macs = {nic.mac: None for nic in everything if wanted in (nic.target, nic.alias)}
        if len(macs) > 1:
            listed = _listed(nic for nic in _once(everything) if nic.mac in macs)
            rule = f"it names more than one NIC of domain '{domain.name}': {listed}"
            problems.add(f"{path}interface", interface, rule, "name the one you mean by its MAC")
            return []
    if not macs and wanted.lower() != "all":
        rule = f"domain '{domain.name}' has no such NIC; it has {_listed(_once(everything)) or 'none at all'}"
        why, remedy = mac_meant(wanted) or ("", "name one of them by MAC, target device or alias")
        problems.add(f"{path}interface", interface, f"{rule}{why and f'; {why}'}", remedy)
    for scope in SCOPES:
        present = [nic.mac for nic in domain.nics.get(scope, ())]
        twice = [mac for mac in macs if present.count(mac) > 1]
        if twice:
            listed = _listed(nic for nic in domain.nics[scope] if nic.mac in twice)
            rule = f"the {SCOPE_NAMES[scope]} of domain '{domain.name}' has NICs with the same MAC: {listed}"
            problems.add(f"{path}interface", interface, rule, "give each NIC a MAC of its own first")
            return []
    return list(macs)


def _once(nics: Sequence[Nic]) -> Iterable[Nic]:
    """Return each NIC as the first scope that has it shows it."""
    return {nic.mac: nic for nic in reversed(nics)}.values()


def _listed(nics: Iterable[Nic]) -> str:
    return ", ".join(sorted(str(nic) for nic in nics))
