# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Networks that have a bridge of the host in common, which can have one limit only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Bridge, difference, shaped
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Network, NetworkByScope
from ansible_collections.virtnet.qos.plugins.module_utils._network_plan import NetworkNow
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import NetworkWish
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

# A running network whose own limit a task names.
Asked = tuple[NetworkWish, NetworkNow]


def check_shared(asked: Sequence[Asked], problems: Problems) -> None:
    """Refuse limits of which each run would put one in the place of the other."""
    for index, (wish, now) in enumerate(asked):
        for other in asked[:index]:
            if _device(other[1]) == _device(now) and now.bridge and _apart(now.bridge, other, (wish, now)):
                shares = f"shares bridge {_device(now)} with network '{other[1].name}', which is to have another limit"
                remedy = "write the same limits into both, or limit only one of them"
                problems.add(f"{wish.path}name", wish.name, f"network '{now.name}' {shares}", remedy)


def shared_warnings(asked: Sequence[Asked], networks: Iterable[NetworkByScope]) -> list[str]:
    """Return a sentence for each network whose bridge another one that runs, and is not asked for, limits otherwise."""
    names = {now.name for _wish, now in asked}
    running = [
        (each.name, each.scopes["live"]) for each in networks if "live" in each.scopes and each.name not in names
    ]
    return [
        f"Network '{now.name}' shares bridge {_device(now)} with network '{name}', which has another limit of its own: "
        "libvirt, and runs that are about that one, put one in the place of the other. Limit only one of them."
        for wish, now in asked
        for name, other in running
        if other.bridge == _device(now) and _limited_otherwise(other, wish)
    ]


def _device(now: NetworkNow) -> str | None:
    return now.said["live"].bridge


def _apart(bridge: Bridge, first: Asked, second: Asked) -> bool:
    """Whether one is not as it is to be any more when the other is."""
    for wish, now in (first, second, first):
        before = bridge
        bridge = shaped(bridge, wish.places[None].limits, bool(now.said["live"].bandwidth.inbound.average))
    return bool(difference(before, bridge))


def _limited_otherwise(network: Network, wish: NetworkWish) -> bool:
    own = network.bandwidth
    return any(own[name].average and own[name] != limit for name, limit in wish.places[None].limits.items())
