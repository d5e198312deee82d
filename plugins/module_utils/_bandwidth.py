# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What libvirt calls the bandwidth of a NIC: the model, what options say of it, and how people read it.

Directions are seen from the guest: inbound is what the guest receives, outbound what it sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, SIZE, Scale

# The typed parameters of virDomainSetInterfaceParameters are 32 bits wide, whatever the XML can hold.
RATES = Scale(8000, 1, 2**32 - 1, "libvirt keeps rates as a whole number of kB/s (8kbit each), 4294967295 at most")
# tc takes bursts as 32 bits of bytes. libvirt checks this since 10.8.0 (virNetDevBandwidthValidate); before that
# it stored any value, and the guest did not start.
BURSTS = Scale(1024, 1, 4194303, "libvirt keeps bursts as a whole number of KiB, 4194303 at most")

DIRECTIONS = ("inbound", "outbound")
FIELDS = ("average", "peak", "burst", "floor")
CLEAR = "unlimited"

_ZERO = re.compile(r"\s*0+(?:\.0+)?\s*[A-Za-z/]*\s*", re.ASCII)


@dataclass(frozen=True)
class Limit:
    """One direction as libvirt stores it: rates in kB/s (1000 bytes), burst in KiB (1024 bytes), 0 where not set.

    Without average and floor a direction is not limited, whatever else is set (src/conf/netdev_bandwidth_conf.c).
    """

    average: int = 0
    peak: int = 0
    burst: int = 0
    floor: int = 0

    @property
    def unlimited(self) -> bool:
        """Whether this direction is neither capped nor guaranteed anything."""
        return self == UNLIMITED

    @property
    def wide(self) -> bool:
        """Whether it says more than a call of libvirt can hold, as a definition can."""
        return any(getattr(self, name) > RATES.largest for name in FIELDS)

    @property
    def cap(self) -> int:
        """The most that may pass, in kB/s; 0 where nothing caps it."""
        return self.peak or self.average

    def text(self) -> dict[str, str]:
        """Return it as a user would write it: only what is set, and always an average."""
        return dict(_shown(self))


@lru_cache(maxsize=1024)  # a thousand NICs have a few limits among them
def _shown(limit: Limit) -> tuple[tuple[str, str], ...]:
    shown = {"average": RATE.format(limit.average, RATES) if limit.average else CLEAR}
    for name in ("peak", "floor"):
        if getattr(limit, name):
            shown[name] = RATE.format(getattr(limit, name), RATES)
    if limit.burst:
        shown["burst"] = SIZE.format(limit.burst, BURSTS)
    return tuple(shown.items())


UNLIMITED = Limit()


@dataclass(frozen=True)
class Bandwidth:
    """Both directions of a NIC, a network or a portgroup."""

    inbound: Limit = UNLIMITED
    outbound: Limit = UNLIMITED

    def __getitem__(self, direction: str) -> Limit:
        limit: Limit = getattr(self, direction)
        return limit

    @property
    def unlimited(self) -> bool:
        """Whether neither direction is limited: what libvirt stores as no `<bandwidth>` or an empty one."""
        return self == NO_BANDWIDTH

    def differing(self, other: Bandwidth) -> list[str]:
        """Return the directions in which the two differ."""
        return [direction for direction in DIRECTIONS if self[direction] != other[direction]]


NO_BANDWIDTH = Bandwidth()


@dataclass(frozen=True)
class Wanted:
    """What options ask of a NIC: a limit for each direction they name. A direction they omit is left as it is."""

    limits: Mapping[str, Limit]
    # Take away whatever the NIC has of its own (state=absent), as opposed to wanting it unlimited.
    absent: bool = False
    # What precedes the name of an option in messages, such as "policies[3].".
    path: str = ""
    # The number of the policy that asks it, from 0; None where no policy does.
    policy: int | None = None

    @property
    def clears(self) -> bool:
        """Whether it only takes limits away."""
        return all(limit.unlimited for limit in self.limits.values())

    def of(self, before: Bandwidth) -> Bandwidth:
        """Return the bandwidth wanted of a NIC that has ``before``."""
        return Bandwidth(self.limits.get("inbound", before.inbound), self.limits.get("outbound", before.outbound))


def parse_wanted(options: Mapping[str, Any], problems: Problems, path: str = "", policy: int | None = None) -> Wanted:
    """Read ``inbound``, ``outbound`` and ``state``; everything that is wrong with them is added to ``problems``."""
    named = [direction for direction in DIRECTIONS if options.get(direction) is not None]
    if options["state"] == "absent":
        for direction in named:
            problems.add(path + direction, None, "not allowed with state=absent", "drop it, or drop state=absent")
        return Wanted(dict.fromkeys(DIRECTIONS, UNLIMITED), absent=True, path=path, policy=policy)
    if not named:
        rule = "state=present needs inbound, outbound or both"
        problems.add(path + "state", "present", rule, "name a direction, or use state=absent to clear both")
    limits = {direction: parse_limit(options[direction], problems, f"{path}{direction}") for direction in named}
    return Wanted(limits, path=path, policy=policy)


def parse_limit(options: Mapping[str, str | None], problems: Problems, path: str) -> Limit:
    """Read one direction: average, peak and burst, and for inbound floor.

    ``average: unlimited`` clears. peak and burst need an average (src/conf/netdev_bandwidth_conf.c refuses them
    without), a peak is not below it (libvirt would accept that; it can only be a mistake), and a floor is no more
    than the NIC may use. Returns a limit even where problems were found; it is of no use then.
    """
    average, unlimited = _parse_average(options["average"], problems, f"{path}.average")
    peak = problems.quantity(f"{path}.peak", options["peak"], RATE, RATES)
    burst = problems.quantity(f"{path}.burst", options["burst"], SIZE, BURSTS)
    floor = problems.quantity(f"{path}.floor", options.get("floor"), RATE, RATES)
    if options["average"] is None or unlimited:
        for name in ("peak", "burst"):
            if options[name] is not None:
                rule = f"it cannot stand beside average={CLEAR}" if unlimited else "it needs an average"
                problems.add(f"{path}.{name}", options[name], rule, f"give {path}.average a rate, or drop {name}")
    if all(value is None for value in options.values()):
        remedy = f"give it a rate such as {RATE.example}, or '{CLEAR}' to clear the direction"
        problems.add(f"{path}.average", None, "a direction that is named needs an average", remedy)
    if average and peak and peak < average:
        rule = f"it is below the average of {options['average']}"
        problems.add(f"{path}.peak", options["peak"], rule, "raise the peak to the average or above, or drop it")
    cap = max(average or 0, peak or 0)
    if average and floor and floor > cap:
        rule = f"it guarantees more than the {RATE.format(cap, RATES)} the NIC may use"
        problems.add(f"{path}.floor", options["floor"], rule, "lower the floor, or raise the average")
    return Limit(average or 0, peak or 0, burst or 0, floor or 0)


def _parse_average(text: str | None, problems: Problems, option: str) -> tuple[int | None, bool]:
    """Return the average in kB/s, and whether the text asks for no limit."""
    if text is not None and text.strip().lower() == CLEAR:
        return None, True
    # virsh clears with a 0; whoever is used to that learns how it is written here, whatever the unit.
    if text is not None and _ZERO.fullmatch(text):
        problems.add(option, text, "a rate cannot be zero", f"write '{CLEAR}' to clear the direction")
        return None, False
    return problems.quantity(option, text, RATE, RATES), False


def to_parameters(bandwidth: Bandwidth, directions: list[str]) -> dict[str, int]:
    """Return the typed parameters that replace these directions as a whole.

    The names are those of VIR_DOMAIN_BANDWIDTH_IN_AVERAGE and its siblings. A direction that is sent is replaced in
    full (qemuDomainSetInterfaceParameters), so of what is not set only what clears is sent: an average of 0, and for
    inbound a floor of 0 beside it.
    """
    parameters = {}
    for direction in directions:
        limit = bandwidth[direction]
        parameters[f"{direction}.average"] = limit.average
        clearing = {"floor": 0} if direction == "inbound" and not limit.average else {}
        set_ = {name: value for name in FIELDS[1:] if (value := getattr(limit, name))}
        parameters.update({f"{direction}.{name}": value for name, value in {**clearing, **set_}.items()})
    return parameters


def from_parameters(parameters: Mapping[str, int]) -> Bandwidth:
    """Return the bandwidth in what virDomainGetInterfaceParameters answered."""
    # libvirt-python hands the upper half of the unsigned range over as negative numbers.
    return Bandwidth(
        **{
            direction: canonical({name: parameters.get(f"{direction}.{name}", 0) & 0xFFFFFFFF for name in FIELDS})
            for direction in DIRECTIONS
        }
    )


def canonical(values: Mapping[str, int]) -> Limit:
    """Return the limit, with the many ways libvirt can spell `none` made one."""
    limit = Limit(**values)
    return limit if limit.average or limit.floor else UNLIMITED
