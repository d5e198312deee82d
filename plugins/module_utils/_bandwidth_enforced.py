# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What the kernel does for a NIC or a network, from the guest's view, and whether that is what libvirt says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    BURSTS,
    CLEAR,
    DIRECTIONS,
    RATES,
    Bandwidth,
    Limit,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_rules import SHAPED_TYPES
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Nic
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Enforced, Limits, Other, Shape
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, SIZE, Scale

KERNEL_RATES = Scale(8, 0, 2**64 - 1, "the kernel keeps rates as a whole number of bytes/s")
KERNEL_BURSTS = Scale(1, 0, 2**64 - 1, "a burst is a whole number of bytes")
BYTES = RATES.step // KERNEL_RATES.step  # in a kB


@dataclass(frozen=True)
class Kernel:
    """What limits devices, by their names, or why nothing is known of any."""

    limits: Mapping[str, Limits] = field(default_factory=dict)
    unknown: str | None = None

    def of(self, device: str | None) -> tuple[Limits | None, str | None]:
        """Return what limits a device; or None, and why that is not known."""
        found = self.limits.get(device or "")
        if found or self.unknown:
            return found, self.unknown
        return None, f"there is no device {device} in this network namespace" if device else "it has no device"


def of_nic(nic: Nic, promised: Bandwidth, kernel: Kernel) -> dict[str, Any]:
    """Return what is done for the NIC of a running guest, beside what libvirt says is."""
    if nic.type not in SHAPED_TYPES:
        # libvirt itself only logs that it does not do what it goes on to show (virNetDevSupportsBandwidth).
        agrees = {direction: None if promised[direction].unlimited else False for direction in DIRECTIONS}
        return {**_unknown(agrees), "note": f"libvirt does not limit NICs of type {nic.type}"}
    policed = nic.policed
    if policed is None:
        return {**_unknown(), "note": "Open vSwitch limits its ports itself"}
    limits, why = kernel.of(nic.target)
    if limits is None:
        return {**_unknown(), "note": why}
    bridge = kernel.limits.get(nic.bridge or "") if nic.network else None
    floor = bridge.guaranteed.get(nic.mac, 0) if bridge else None
    by_direction = {name: limits.received if name == policed else limits.sent for name in DIRECTIONS}
    said = {name: _said(promised[name], enforced, name == policed) for name, enforced in by_direction.items()}
    _add_floor(said["inbound"], promised.inbound.floor, floor)
    return {**said, **_note(by_direction)}


def of_network(bridge: str, promised: Bandwidth, kernel: Kernel) -> dict[str, Any]:
    """Return what is done on the bridge of an active network, as for a guest: its inbound is what the bridge sends."""
    limits, why = kernel.of(bridge)
    if limits is None:
        return {**_unknown(), "note": why}
    by_direction = {"inbound": _unless_widest(limits.sent), "outbound": limits.received}
    said = {name: _said(promised[name], enforced, name == "outbound") for name, enforced in by_direction.items()}
    return {**said, **_note(by_direction)}


def _unknown(agrees: Mapping[str, bool | None] | None = None) -> dict[str, Any]:
    return {direction: {"average": None, "agrees": (agrees or {}).get(direction)} for direction in DIRECTIONS}


def _note(by_direction: Mapping[str, Enforced]) -> dict[str, str]:
    others = [each.what for each in by_direction.values() if isinstance(each, Other)]
    return {"note": f"{others[0]} is not libvirt's"} if others else {}


def _said(promised: Limit, enforced: Enforced, policed: bool) -> dict[str, Any]:
    if isinstance(enforced, Other):
        return {"average": None, "agrees": None}
    return {**_text(enforced), "agrees": _agrees(promised, enforced, policed)}


def limit_text(promised: Limit, enforced: Enforced, policed: bool) -> dict[str, str]:
    """Return what a device does, in the words of what is promised where it does that."""
    shape = _unless_widest(enforced)
    if isinstance(shape, Other):
        return {"average": f"unknown ({shape.what})"}
    return promised.text() if _agrees(promised, shape, policed) else _text(shape)


def _unless_widest(enforced: Enforced) -> Enforced:
    """Return what limits a network. The highest rate limits nothing, and keeps the classes that floors need."""
    widest = isinstance(enforced, Shape) and enforced.rate == RATES.largest * BYTES
    return None if widest else enforced


def _text(shape: Shape | None) -> dict[str, str]:
    if shape is None:
        return {"average": CLEAR}
    peak = {"peak": RATE.format(shape.ceil, KERNEL_RATES)} if shape.ceil != shape.rate else {}
    burst = SIZE.format(shape.burst, KERNEL_BURSTS)
    return {"average": RATE.format(shape.rate, KERNEL_RATES), **peak, "burst": burst}


def _agrees(promised: Limit, shape: Shape | None, policed: bool) -> bool:
    """Whether the kernel does what is promised.

    A policer has no peak: libvirt takes one, and ignores it. Where no burst is promised, any will do: tc chooses one
    for a queue, and libvirt one for a policer.
    """
    if shape is None or not promised.average:
        return shape is None and not promised.average
    burst = promised.burst * BURSTS.step
    return (
        shape.rate == promised.average * BYTES
        and (policed or shape.ceil == promised.cap * BYTES)
        and (not burst or abs(shape.burst - burst) <= shape.tolerance)
    )


def _add_floor(said: dict[str, Any], promised: int, found: int | None) -> None:
    """Add what the bridge guarantees to the NIC, in bytes/s; None where the bridge is not known."""
    if found:
        said["floor"] = RATE.format(found, KERNEL_RATES)
    if found is None:
        said["agrees"] = None if promised and said["agrees"] else said["agrees"]
    elif found != promised * BYTES:
        said["agrees"] = False
