# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: resolve_profiles
short_description: Give policies and networks the limits of the profiles that they name
version_added: 0.1.0
description:
  - Takes elements as the roles of this collection have them in inventory, and returns them as its modules take them.
  - An element that names a profile gets its C(inbound) and C(outbound). What it says of a direction itself takes the
    place of what the profile says of it. One with C(state=absent) gets nothing.
  - The C(portgroups) of an element are resolved in the same way.
  - A key without a value counts as not given.
positional: _input, profiles, path
options:
  _input:
    description:
      - The elements. Each may have C(profile), C(inbound), C(outbound), C(state) and C(portgroups); what else it has
        stays as it is.
    type: list
    elements: dict
    required: true
  profiles:
    description:
      - The profiles by their names, each with C(inbound), C(outbound) or both. V(none) stands for no profiles.
      - Messages call this C(qos_profiles), as the variable of the roles is called.
    type: dict
    required: true
  path:
    description: What messages call the elements, such as V(vm_qos_policies).
    type: str
    required: true
  floors:
    description: Whether what the elements stand for can have a floor. NICs can, networks and portgroups cannot.
    type: bool
    default: true
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Refuse what is wrong with profiles
  ansible.builtin.assert:
    that: limits.problems | length == 0
    fail_msg: "{{ limits.problems | join(' ') }}"
  vars: &limits
    limits: "{{ wanted | virtnet.qos.resolve_profiles(profiles, 'wanted', floors=false) }}"
    profiles:
      silver: {inbound: {average: 100mbit}, outbound: {average: 100mbit}}
    wanted:
      - name: limited
        inbound: {average: 5gbit}
        portgroups:
          - {name: web, profile: silver, outbound: {average: 50mbit}}

- name: Limit networks by profiles
  virtnet.qos.virt_network_bandwidth:
    networks: "{{ limits.resolved }}"
    # [{name: limited, inbound: {average: 5gbit}, portgroups: [
    #   {name: web, inbound: {average: 100mbit}, outbound: {average: 50mbit}}]}]
  vars: *limits
"""

RETURN = r"""
_value:
  description: What came of it.
  type: dict
  contains:
    resolved:
      description: The elements with the limits of their profiles, and without the names of those.
      type: list
      elements: dict
    problems:
      description: All that is wrong, a sentence each. What is in C(resolved) can be used where this is empty.
      type: list
      elements: str
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import DIRECTIONS
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems


class Resolver:
    """Gives elements the limits of their profiles, and collects what is wrong."""

    def __init__(self, profiles: Any, floors: bool) -> None:
        self.problems = Problems()
        self.floors = floors
        self.profiles: Mapping[Any, Any] = {}
        if isinstance(profiles, Mapping):
            self.profiles = profiles
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
            self.problems.add(path, element, "this is not a mapping", "write keys and values, such as profile: gold")
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
        names = list(self.profiles)  # in which a name that cannot be hashed can be looked for, too
        if name not in names:
            rule = f"qos_profiles has {', '.join(map(str, names)) or 'no profiles'}"
            self.problems.add(f"{path}.profile", name, rule, "correct the name, or add the profile")
            return {}
        profile = self.profiles[name]
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


def resolve_profiles(elements: Any, profiles: Any, path: str, floors: bool = True) -> dict[str, Any]:
    """Return the elements with the limits of their profiles, and all that is wrong with them."""
    resolver = Resolver(profiles, floors)
    resolved = resolver.elements(elements, path)
    resolver.check_profiles()
    return {"resolved": resolved, "problems": resolver.problems.found}


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"resolve_profiles": resolve_profiles}
