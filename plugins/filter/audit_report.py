# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: audit_report
short_description: Make a report of what the playbook audit read on its hosts
version_added: 0.1.0
description:
  - Takes what the playbook C(virtnet.qos.audit) registered on its hosts, and returns what it found, as its JSON has it.
  - The page on the audit in the collection's documentation describes the findings and the report.
positional: _input, hosts, made
options:
  _input:
    description: The variables of the hosts, as in C(hostvars).
    type: dict
    required: true
  hosts:
    description: The names of the hosts that the report is about, in the order in which it shall have them.
    type: list
    elements: str
    required: true
  made:
    description: When the audit was made, in words.
    type: str
    required: true
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Name the hosts that are not as declared, in a play after the playbook audit
  ansible.builtin.debug:
    msg: "{{ report.findings | selectattr('kind', '==', 'drift') | map(attribute='host') | unique }}"
  run_once: true
  vars:
    report: "{{ hostvars | virtnet.qos.audit_report(ansible_play_hosts_all, now(utc=true) | string) }}"
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    format:
      description: The version of this format, which rises when something in it becomes something else.
      type: int
    made:
      description: When the audit was made.
      type: str
    totals:
      description: Numbers of all hosts, of those that were looked at, and of their NICs, errors, warnings and infos.
      type: dict
    kinds:
      description: What can be found, by name; how bad it is, the way out, and on how many hosts it was found.
      type: dict
    hosts:
      description: The hosts, each with the numbers of its NICs, its uplinks, networks and bridges.
      type: list
      elements: dict
    findings:
      description: What was found, each with its host, kind, severity, object, message and remedy.
      type: list
      elements: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_report import report


def audit_report(hostvars: Any, hosts: Any, made: Any) -> dict[str, Any]:
    """Return the report."""
    if not isinstance(hostvars, Mapping) or not isinstance(hosts, Sequence) or isinstance(hosts, str):
        raise AnsibleFilterError("audit_report: it takes hostvars, and a list of names of hosts.")
    # What hosts and inventories say is no template; ansible-core 2.18 would take it for one.
    said: dict[str, Any] = wrap_var(report(hostvars, hosts, str(made)))
    return said


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"audit_report": audit_report}
