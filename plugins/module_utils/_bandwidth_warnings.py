# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What can be done, but is hardly what was meant: told as warnings, each once for all NICs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    BURSTS,
    CLEAR,
    DIRECTIONS,
    NO_BANDWIDTH,
    RATES,
    UNLIMITED,
    Limit,
    Wanted,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Claim, FindNetwork, enumerated
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_rules import beyond_reach, plugged
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Network, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, SIZE

HZ = 100  # ticks a second of the slowest kernels that are built, and of tc-htb(8)
PACKET = 2  # KiB, one Ethernet frame
SEGMENT = 64  # KiB, what a guest with segmentation offload hands over as one packet


def warnings(claims: Sequence[Claim], find_network: FindNetwork) -> list[str]:
    """Return what libvirt takes without a word, and what then does not hold or is easily overlooked."""
    said: dict[_Warning, _Where] = {}
    # What one policy wants is the same for a thousand NICs, and those are of few kinds.
    found: dict[tuple[Any, ...], list[_Warning]] = {}
    for claim in claims:
        for scope, wanted in claim.wanted.items():
            nic = claim.nics[scope]
            alike = (id(wanted), id(nic.own), nic.type, nic.openvswitch, nic.network, nic.portgroup)
            if alike not in found:
                found[alike] = list(_of(nic, wanted, find_network))
            for warning in found[alike]:
                said.setdefault(warning, _Where()).add(wanted, nic.mac)
    return [where.told(warning) for warning, where in said.items()]


def network_warnings(wanted: Mapping[str, Wanted]) -> list[str]:
    """Return the same of networks and portgroups, which are limited as taps are; by what they are called."""
    said: dict[_Warning, _Where] = {}
    tap = Nic("", "network")
    for subject, each in wanted.items():
        for warning in (*_peak(tap, each), *_burst(tap, each)):
            said.setdefault(warning, _Where()).add(each, subject)
    return [where.told(warning) for warning, where in said.items()]


def _of(nic: Nic, wanted: Wanted, find_network: FindNetwork) -> Iterator[_Warning]:
    network = find_network(nic.network) if nic.network else None
    running = plugged(nic, network)
    yield from (*_peak(running, wanted), *_burst(running, wanted), *_stale(nic, wanted))
    yield from _portgroup(nic, wanted, network)


class _Warning(NamedTuple):
    """An option with its value, and what is to be said of it; the NICs are the end of the sentence."""

    option: str
    text: str


class _Where:
    """The policies and NICs that a warning is about; a thousand policies can have the same profile."""

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}
        self._subjects: set[str] = set()

    def add(self, wanted: Wanted, subject: str) -> None:
        self._paths[wanted.path] = None
        self._subjects.add(subject)

    def told(self, warning: _Warning) -> str:
        path, *more = self._paths
        also = f" (and in {len(more)} more policies)" if more else ""
        return f"{path}{warning.option}{also}{warning.text} {enumerated(sorted(self._subjects))}."


def warn_of_saved(changes: Iterable[Change], saved: Collection[str]) -> list[str]:
    """Return what to know of domains that will be resumed with what they had when they were ``saved`` (UUIDs)."""
    names = {change.domain for change in changes if change.uuid in saved}
    if not names:
        return []
    return [
        "These domains will be resumed with the limits that they were saved with, whatever their definition says; "
        f"run again when they run: {enumerated(sorted(names))}."
    ]


def _peak(nic: Nic, wanted: Wanted) -> Iterator[_Warning]:
    direction = nic.policed
    for name, each in wanted.limits.items() if nic.openvswitch else ():
        if each.peak not in (0, each.average):
            yield _Warning(
                f"{name}.peak {RATE.format(each.peak, RATES)}",
                ": on ports of Open vSwitch libvirt makes it the rate that holds, and the average nothing, for",
            )
        elif name == "inbound" and each.average and not each.peak:
            # min-rate without max-rate, for which linux-htb takes the speed of the link, 10 Mbit/s of a tap. Measured.
            yield _Warning(
                f"{name}.average {RATE.format(each.average, RATES)}",
                ": without a peak it is only guaranteed on ports of Open vSwitch, whose highest rate of a tap is then "
                "10mbit; give a peak of the same rate. This is so for",
            )
    limit = wanted.limits.get(direction or "")
    if limit and limit.peak:  # a policer has none
        device = "tap" if direction == "outbound" else "macvtap"
        yield _Warning(
            f"{direction}.peak {RATE.format(limit.peak, RATES)}",
            f": libvirt ignores the {direction} peak on {device} devices, the average is what holds for",
        )
    for name, each in wanted.limits.items():
        if name != direction and not nic.openvswitch and each.peak > each.average and not each.burst:
            yield _Warning(
                f"{name}.peak {RATE.format(each.peak, RATES)}",
                f" lasts as long as {name}.burst, and without one tc takes 1600 bytes, one packet: the average is what "
                "holds for",
            )


def smallest_burst(average: int, policed: bool) -> int:
    """Return the burst in KiB below which an average in kB/s may not be reached.

    What accrues in a tick is lost where the bucket does not hold it: rate / HZ (tc-htb(8), tc-tbf(8)). A packet larger
    than the bucket never gets through a policer (tcf_police_act in net/sched/act_police.c); a queue lets it wait.
    """
    tick = -(-average * 1000 // HZ // 1024)
    return max(tick, SEGMENT if policed else PACKET)


def _burst(nic: Nic, wanted: Wanted) -> Iterator[_Warning]:
    for direction, limit in wanted.limits.items():
        policed = nic.policed == direction
        needed = min(smallest_burst(limit.average, policed), BURSTS.largest) if limit.average else 0
        if limit.burst and limit.burst < needed:
            least = f"a segment of {SEGMENT}KiB, since a policer drops what" if policed else f"a packet of {PACKET}KiB"
            least += " is larger" if policed else ""
            yield _Warning(
                f"{direction}.burst {SIZE.format(limit.burst, BURSTS)}",
                f" is below {SIZE.format(needed, BURSTS)}, and {RATE.format(limit.average, RATES)} may not be reached: "
                "it should hold what comes in a tick "
                f"(rate / HZ, see tc-htb(8), HZ = {HZ}) and {least}. This is so for",
            )
        # libvirt gives a policer as many KiB as the average has kB/s (virNetDevBandwidthSet).
        elif policed and not limit.burst and 0 < limit.average < PACKET:
            yield _Warning(
                f"{direction}.average {RATE.format(limit.average, RATES)}",
                f": without a burst libvirt gives the policer one of {SIZE.format(limit.average, BURSTS)}, and what is "
                f"larger, as a packet of {PACKET}KiB, never gets through; give a burst of {SEGMENT}KiB. This is so for",
            )


def _portgroup(nic: Nic, wanted: Wanted, network: Network | None) -> Iterator[_Warning]:
    given = NO_BANDWIDTH if network is None or wanted.absent else network.given_to(nic)
    after = wanted.of(nic.own)
    if network is None or given.unlimited or after.unlimited:
        return
    for direction in DIRECTIONS:
        if direction in wanted.limits and after[direction] != given[direction] != UNLIMITED:
            yield _Warning(
                f"{direction} {_text(after[direction])}",
                f" takes the place of {_text(given[direction])} of portgroup '{network.portgroup_of(nic)}' of network "
                f"'{network.name}' for",
            )


def _stale(nic: Nic, wanted: Wanted) -> Iterator[_Warning]:
    if beyond_reach(nic, wanted) and not nic.own.unlimited:
        direction, *_other = wanted.limits
        yield _Warning(
            "state absent" if wanted.absent else f"{direction}.average {CLEAR}",
            f": libvirt neither enforces the limit in the definition of a NIC of type {nic.type} nor takes it away; "
            "take it out with virsh edit if it disturbs. This is so for",
        )


def _text(limit: Limit) -> str:
    return f"{{{', '.join(f'{name}: {value}' for name, value in limit.text().items())}}}"
