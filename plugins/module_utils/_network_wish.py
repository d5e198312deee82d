# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What is wanted of virtual networks, from the options of a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    DIRECTIONS,
    UNLIMITED,
    Limit,
    Wanted,
    parse_wanted,
)
from ansible_collections.virtnet.qos.plugins.module_utils._network_xml import Place
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

SWITCHES = ("prune", "update_running", "restart", "force_restart")


@dataclass(frozen=True)
class NetworkWish:
    """What is wanted of a network and of its portgroups.

    ``path`` is what precedes the names of its options in messages, such as "networks[3].".
    """

    name: str
    places: Mapping[Place, Wanted]
    prune: bool
    update_running: bool
    restart: bool
    force_restart: bool
    path: str

    @property
    def inbound(self) -> Limit | None:
        """What all guests are to receive together, where that is named."""
        return self.places[None].limits.get("inbound") if None in self.places else None

    def pruned(self, portgroups: Sequence[str]) -> dict[Place, Wanted]:
        """Return what is wanted, of those portgroups as well that are there and not listed, if that is asked."""
        listed = dict(self.places)
        for name in portgroups if self.prune else ():
            listed.setdefault(
                name, Wanted(dict.fromkeys(DIRECTIONS, UNLIMITED), absent=True, path=f"{self.path}prune.")
            )
        return listed


def parse_networks(options: Mapping[str, Any], problems: Problems) -> list[NetworkWish]:
    """Read the options of one network, or the list of them; everything that is wrong is added to ``problems``."""
    if options["networks"] is None:
        return [_parse_network(options, problems, "")]
    for name in ("state", *SWITCHES):
        if options[name] not in ("present", False):
            rule = "beside networks it would be for none of them"
            problems.add(name, options[name], rule, "write it into each of the networks that it is meant for")
    wishes = [_parse_network(each, problems, f"networks[{index}].") for index, each in enumerate(options["networks"])]
    _check_twice([wish.name for wish in wishes], "networks[{}].name", "network", problems)
    return wishes


def _parse_network(options: Mapping[str, Any], problems: Problems, path: str) -> NetworkWish:
    places: dict[Place, Wanted] = {}
    groups = options["portgroups"] or []
    named = any(options[direction] is not None for direction in DIRECTIONS)
    if named or options["state"] == "absent" or not (groups or options["prune"] or options["restart"]):
        places[None] = parse_wanted(options, problems, path)
    _check_twice([group["name"] for group in groups], f"{path}portgroups[{{}}].name", "portgroup", problems)
    for index, group in enumerate(groups):
        places[group["name"]] = parse_wanted(group, problems, f"{path}portgroups[{index}].")
    if options["force_restart"] and not options["restart"]:
        problems.add(f"{path}force_restart", True, "it says how to restart", "set restart as well, or drop it")
    return NetworkWish(options["name"], places, path=path, **{name: options[name] for name in SWITCHES})


def _check_twice(names: Sequence[str], option: str, what: str, problems: Problems) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            problems.add(
                option.format(index), name, f"this {what} is in the list twice", "write all of it in one element"
            )
