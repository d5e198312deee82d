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
  - Where nothing is wrong with them, what the host does not have of it is told, if it is given what it has.
  - Of names that are nearly those of the roles it warns, since nothing reads them.
positional: _input, names, has, host
options:
  _input:
    description:
      - The variables by their names. C(qos_profiles) and all other options of the roles are looked at, and each may be
        missing.
    type: dict
    required: true
  names:
    description: The names of all variables that may be misspelt ones of the roles.
    type: list
    elements: str
    default: []
  has:
    description:
      - The names of the host's network devices, and the paths of the sockets of libvirt that it has, of those of
        C(qemu:///system).
      - Without it, the host is not known.
    type: list
    elements: str
  host:
    description: The name of the host, with which warnings begin, since Ansible prints equal ones of several hosts once.
    type: str
    default: ""
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

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.utils.display import Display

from ansible_collections.virtnet.qos.plugins.plugin_utils._declared import lacking, misspelt, problems_of


def check_declared(
    declared: Mapping[str, Any], names: Sequence[str] = (), has: Sequence[str] | None = None, host: str = ""
) -> list[str]:
    """Return all that is wrong or that the host lacks, a sentence each, and warn of misspelt names."""
    for name, meant in misspelt(names, declared).items():
        said = f"No role of virtnet.qos reads the variable {name}. If {meant} is meant, correct the name."
        Display().warning(f"{host}: {said}" if host else said)
    return problems_of(declared) or ([] if has is None else lacking(declared, has))


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"check_declared": check_declared}
