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
seealso:
  - module: virtnet.qos.virt_iface_bandwidth
  - module: virtnet.qos.virt_network_bandwidth
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

from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.plugin_utils._profiles import resolve


def resolve_profiles(elements: Any, profiles: Any, path: str, floors: bool = True) -> dict[str, Any]:
    """Return the elements with the limits of their profiles, and all that is wrong with them."""
    resolved, problems = resolve(elements, profiles, path, floors)
    return {"resolved": resolved, "problems": problems}


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"resolve_profiles": resolve_profiles}
