# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: measure_plan
short_description: Say which streams of iperf3 show what guests' NICs get
version_added: 0.1.0
description:
  - Takes NICs as P(virtnet.qos.virt_bandwidth_info#module) returns them, and returns what the playbook
    C(virtnet.qos.measure) sends to measure those that are named.
  - A stream never sends faster than twice the limit that it is to show, and begins by spending the burst.
positional: _input, guests, seconds, size, shares
options:
  _input:
    description: The NICs, as RV(virtnet.qos.virt_bandwidth_info#module:interfaces) has them.
    type: list
    elements: dict
    required: true
  guests:
    description:
      - Which NICs, as C(qos_measure_guests) of the playbook has them. The first element that fits a NIC counts.
    type: list
    elements: dict
    required: true
  seconds:
    description: How many seconds of a stream count.
    type: int
    required: true
  size:
    description: How much a stream may send at most, such as V(4GiB). Fewer seconds count where that is needed.
    type: str
    required: true
  shares:
    description:
      - Options that are per cent of a limit, such as C(qos_measure_low), by their names. They are only checked here,
        before anything is sent.
    type: dict
    default: {}
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Look at the NICs
  virtnet.qos.virt_bandwidth_info:
  register: found

- name: Say what would be sent to measure one of them
  ansible.builtin.debug:
    msg: "{{ (found.interfaces | virtnet.qos.measure_plan(guests, 6, '4GiB')).nics | map(attribute='streams') }}"
  vars:
    guests:
      - {domain: web1, mac: "52:54:00:6b:3c:59"}
"""

RETURN = r"""
_value:
  description: What is to be done.
  type: dict
  contains:
    nics:
      description: The NICs to measure, each with its C(streams).
      type: list
      elements: dict
    rows:
      description: What is not measured, and why, as lines of the report.
      type: list
      elements: dict
    problems:
      description: All that is wrong with what was asked, a sentence each. Unless it is empty, nothing is to be sent.
      type: list
      elements: str
"""

from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.plugin_utils._measure import plan


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"measure_plan": plan}
