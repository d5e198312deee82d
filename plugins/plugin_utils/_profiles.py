# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""Profiles: named limits, and what the elements of an inventory get from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import CLEAR, DIRECTIONS, FIELDS, parse_limit
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE


def not_a_mapping(element: Any, path: str) -> list[str]:
    """Return what is wrong with an element of a list that is something else."""
    problems = Problems()
    problems.add(path, element, "this is not a mapping", "write keys and values, such as profile: gold")
    return problems.found


class Resolver:
    """Gives elements the limits of their profiles, and collects what is wrong."""

    def __init__(self, profiles: Any, floors: bool) -> None:
        self.problems = Problems()
        self.floors = floors
        self.profiles: Mapping[str, Any] = {}
        if isinstance(profiles, Mapping):
            self.profiles = {str(name): profile for name, profile in profiles.items()}  # YAML reads some as numbers
        elif profiles:
            self.problems.add("qos_profiles", profiles, "this is not a mapping", "write names and what they limit")

    def elements(self, elements: Any, path: str) -> list[dict[Any, Any]]:
        """Return elements with the limits of their profiles."""
        if not isinstance(elements, (list, tuple)):
            self.problems.add(path, elements, "this is not a list", "write a list, be it of one element")
            return []
        return [self._element(element, f"{path}[{index}]") for index, element in enumerate(elements)]

    def _element(self, element: Any, path: str) -> dict[Any, Any]:
        if not isinstance(element, Mapping):
            self.problems.found += not_a_mapping(element, path)
            return {}
        said = {key: value for key, value in element.items() if key != "profile" and value is not None}
        profile = element.get("profile")
        if profile not in (None, "") and said.get("state") != "absent":
            said = {**self._limits(profile, path, said), **said}
        if "portgroups" in said:
            said["portgroups"] = self.elements(said["portgroups"], f"{path}.portgroups")
        return said

    def _limits(self, name: Any, path: str, said: Mapping[Any, Any]) -> dict[str, Any]:
        """Return what a profile adds to what an element has ``said``."""
        if str(name) not in self.profiles:
            rule = f"qos_profiles has {', '.join(self.profiles) or 'no profiles'}"
            self.problems.add(f"{path}.profile", name, rule, "correct the name, or add the profile")
            return {}
        profile = self.profiles[str(name)]
        if not isinstance(profile, Mapping):
            return {}
        given = [each for each in DIRECTIONS if profile.get(each) is not None]
        limits = {each: profile[each] for each in given if each not in said}
        inbound = limits.get("inbound")
        if not self.floors and isinstance(inbound, Mapping) and inbound.get("floor") is not None:
            rule = f"qos_profiles.{name} has inbound.floor, and a floor is guaranteed to NICs, not to networks"
            remedy = "write inbound beside the profile, or name a profile without a floor"
            self.problems.add(f"{path}.profile", name, rule, remedy)
        return limits

    def check_profiles(self) -> None:
        """Add what is wrong with the profiles, whether or not they are used."""
        for name, profile in self.profiles.items():
            if not isinstance(profile, Mapping):
                rule = "a profile has inbound, outbound or both"
                self.problems.add(f"qos_profiles.{name}", profile, rule, "write what it limits, or drop it")
        for name, profile in self.profiles.items():
            for key in profile if isinstance(profile, Mapping) else ():
                if key not in DIRECTIONS:
                    rule = "a profile has inbound and outbound, and nothing else"
                    self.problems.add(f"qos_profiles.{name}.{key}", None, rule, "correct the name, or drop it")
                elif profile[key] is not None:
                    self._check_limit(
                        profile[key], f"qos_profiles.{name}.{key}", FIELDS[: 4 if key == "inbound" else 3]
                    )

    def _check_limit(self, limit: Any, path: str, fields: Sequence[str]) -> None:
        """Add what is wrong with a limit itself, once rather than with all that has it."""
        if not isinstance(limit, Mapping):
            rule = f"a direction has {', '.join(fields)}"
            self.problems.add(path, limit, rule, f"write {{average: {RATE.example}}} or the like")
            return
        for key in limit:
            if key not in fields:
                rule = f"a direction has {', '.join(fields)}"
                self.problems.add(f"{path}.{key}", None, rule, "correct the name, or drop it")
        said = {field: None if limit.get(field) is None else str(limit[field]) for field in FIELDS if field in fields}
        if any(said.values()) or not set(limit) - set(fields):
            parse_limit(said, self.problems, path)


def resolve(elements: Any, profiles: Any, path: str, floors: bool = True) -> tuple[list[dict[Any, Any]], list[str]]:
    """Return the elements with the limits of their profiles, and all that is wrong with them, a sentence each."""
    resolver = Resolver(profiles, floors)
    resolved = resolver.elements(elements, path)
    resolver.check_profiles()
    return resolved, resolver.problems.found


def stand_in(elements: Sequence[Any]) -> list[Any]:
    """Return the elements with a limit that nothing is wrong with in the place of what their profiles give."""
    return [_stand_in(element) if isinstance(element, Mapping) else element for element in elements]


def _stand_in(element: Mapping[Any, Any]) -> dict[Any, Any]:
    said = {key: value for key, value in element.items() if key != "profile" and value is not None}
    if element.get("profile") not in (None, "") and said.get("state") != "absent":
        said = {"inbound": {"average": CLEAR}, **said}
    if isinstance(said.get("portgroups"), (list, tuple)):
        said["portgroups"] = stand_in(said["portgroups"])
    return said
