# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: measure_report
short_description: Make one report of what was measured on several hosts
version_added: 0.1.0
description:
  - Takes what P(virtnet.qos.measure_rows#filter) returned for the NICs of each host, and returns the report of the
    playbook C(virtnet.qos.measure).
positional: _input, refused
options:
  _input:
    description: The lines of each host, by the names of the hosts.
    type: dict
    required: true
  refused:
    description: Why nothing was measured on a host at all, by the names of such hosts.
    type: dict
    required: true
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Look at the NICs
  virtnet.qos.virt_bandwidth_info:
  register: found

- name: Print what would be measured as a table
  ansible.builtin.debug:
    msg: "{{ ({'this host': lines} | virtnet.qos.measure_report({})).table }}"
  vars:
    plan: "{{ found.interfaces | virtnet.qos.measure_plan([{'domain': '*'}], 6, '4GiB') }}"
    lines: "{{ plan.nics | map('virtnet.qos.measure_rows', none, 5, 60) | flatten }}"
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    rows:
      description: The lines, each with the name of its C(host).
      type: list
      elements: dict
    table:
      description: The same as a table, line by line.
      type: list
      elements: str
    count:
      description: How many lines there are of each verdict.
      type: dict
"""

from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.plugin_utils._measured import report


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"measure_report": report}
