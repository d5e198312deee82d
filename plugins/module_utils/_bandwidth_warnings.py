# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What can be done, but is hardly what was meant: told as warnings, each once for all NICs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    RATES,
    Wanted,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Claim, enumerated
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Nic
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE


def warnings(claims: Iterable[Claim]) -> list[str]:
    """Return what libvirt takes without a word, and does not do."""
    said: dict[str, dict[str, None]] = {}
    for claim in claims:
        for wanted in claim.wanted.values():
            for warning in _peak(claim.nic, wanted):
                said.setdefault(warning, {})[claim.nic.mac] = None
    return [f"{warning} {enumerated(sorted(macs))}." for warning, macs in said.items()]


def warn_of_saved(claims: Iterable[Claim], changes: Iterable[Change]) -> list[str]:
    """Return what to know of domains that will be resumed with what they had when they were saved."""
    changed = {change.uuid for change in changes}
    names = {claim.domain.name: None for claim in claims if claim.domain.saved and claim.domain.uuid in changed}
    if not names:
        return []
    return [
        "These domains will be resumed with the limits that they were saved with, whatever their definition says; "
        f"run again when they run: {enumerated(sorted(names))}."
    ]


def _peak(nic: Nic, wanted: Wanted) -> Iterator[str]:
    direction = nic.policed
    limit = wanted.limits.get(direction or "")
    if limit and limit.peak:  # a policer has none
        device = "tap" if direction == "outbound" else "macvtap"
        yield (
            f"{wanted.path}{direction}.peak {RATE.format(limit.peak, RATES)}: libvirt ignores the {direction} peak on "
            f"{device} devices, the average is what holds for"
        )
