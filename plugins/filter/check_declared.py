# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: check_declared
short_description: Find what is wrong with what an inventory declares of a host
version_added: 0.1.0
description:
  - Reads variables of the roles of this collection as the roles and their modules do, and returns all that is wrong
    with them, without asking the host. The playbook C(virtnet.qos.site) does so before it changes anything.
  - What only the host can tell, such as whether it has a device, is not found.
positional: _input
options:
  _input:
    description:
      - The variables by their names. C(qos_profiles) and all other options of the roles are looked at, and each may be
        missing.
    type: dict
    required: true
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Refuse what cannot be
  ansible.builtin.assert:
    that: wrong | length == 0
    fail_msg: "{{ wrong | join(' ') }}"
  vars:
    wrong: "{{ {'qos_profiles': qos_profiles, 'vm_qos_policies': vm_qos_policies} | virtnet.qos.check_declared }}"
    # [vm_qos_policies[0].profile 'golden': qos_profiles has gold; correct the name, or add the profile.]
    qos_profiles:
      gold: {inbound: {average: 1gbit}}
    vm_qos_policies:
      - {match: {domain: "db-*"}, profile: golden}
"""

RETURN = r"""
_value:
  description: All that is wrong, a sentence each.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.plugin_utils._declared import problems_of


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"check_declared": problems_of}
