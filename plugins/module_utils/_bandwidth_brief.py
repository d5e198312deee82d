# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A host of a thousand NICs in few bytes: what is noteworthy of each, and the sums of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import CLEAR, DIRECTIONS, RATES
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_info import NOTEWORTHY
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, Scale

WHOSE = ("domain", "mac", "target", "network", "portgroup", "bridge", "running")
# A sum of rates, which can be more than libvirt can be told of one.
SUMS = Scale(RATES.step, 0, 2**64, "libvirt keeps rates in kB/s")


def brief(interface: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is noteworthy of a NIC, by what interface_info() says of it; what it has not is left out."""
    said = {key: interface[key] for key in WHOSE if interface[key] is not None}
    said["limited"] = NOTEWORTHY["limited"](interface)
    if interface["drift"]:
        said["drift"] = {
            direction: {scope: words(interface[scope]["effective"][direction]) for scope in SCOPES}
            for direction in interface["drift"]
        }
    enforced = interface["enforced"] or {}
    wrong = [direction for direction in DIRECTIONS if enforced and enforced[direction]["agrees"] is False]
    if wrong:
        note = {"note": enforced["note"]} if "note" in enforced else {}
        said["unenforced"] = {
            direction: {
                "promised": words(interface["live"]["effective"][direction]),
                "enforced": words(enforced[direction]),
                **note,
            }
            for direction in wrong
        }
    if interface.get("undeclared"):
        said["undeclared"] = interface["undeclared"]
    return said


def words(limit: Mapping[str, Any]) -> str:
    """Return a limit as one text, such as ``average 8mbit, burst 64KiB``."""
    return ", ".join(f"{key} {value or 'unknown'}" for key, value in limit.items() if key != "agrees")


def summary(interfaces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over NICs as interface_info() returns them."""
    running = [each for each in interfaces if each["live"]]
    return {
        "running": len(running),
        "limited": sum(map(NOTEWORTHY["limited"], interfaces)),
        "unknown": sum(map(_unknown, running)),
        "averages": {
            direction: dict(Counter(_holds(each)[direction]["average"] for each in interfaces))
            for direction in DIRECTIONS
        },
        "promised": _promised(running),
    }


def _holds(interface: Mapping[str, Any]) -> Any:
    """Return what holds, for a guest that is off from its next start on."""
    return (interface["live"] or interface["config"])["effective"]


def _unknown(interface: Mapping[str, Any]) -> bool:
    """Whether it has a limit of which nobody knows if the kernel enforces it."""
    limited = any(_holds(interface)[direction] != {"average": CLEAR} for direction in DIRECTIONS)
    return limited and any(interface["enforced"][direction]["agrees"] is None for direction in DIRECTIONS)


def _promised(running: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for each in running:
        where = (each["network"] or "", each["bridge"] or "")
        total = sums.setdefault(where, {"nics": 0, "unlimited": _zero(), **_zero()})
        total["nics"] += 1
        for direction in DIRECTIONS:
            average = _holds(each)[direction]["average"]
            if average == CLEAR:
                total["unlimited"][direction] += 1
            else:
                total[direction] += RATE.parse(average, RATES)
    return [
        {"network": network or None, "bridge": bridge or None, **total, **_text(total)}
        for (network, bridge), total in sorted(sums.items())
    ]


def _zero() -> dict[str, int]:
    return dict.fromkeys(DIRECTIONS, 0)


def _text(total: Mapping[str, Any]) -> dict[str, str]:
    return {direction: RATE.format(total[direction], SUMS) for direction in DIRECTIONS}
