# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: measure_rows
short_description: Compare what iperf3 measured of a NIC with its limits
version_added: 0.1.0
description:
  - Takes a NIC as P(virtnet.qos.measure_plan#filter) returns it and what became of its streams, and returns the lines
    that the report of the playbook C(virtnet.qos.measure) has of it.
positional: _input, said, tolerance, low
options:
  _input:
    description: The NIC.
    type: dict
    required: true
  said:
    description: The results of the playbook's tasks. V(none) says that nothing was to be sent, as in check mode.
    type: dict
    required: true
  tolerance:
    description: By how many per cent of its limit a NIC may be faster.
    type: float
    required: true
  low:
    description: Below how many per cent of its limit a NIC is worth a look.
    type: float
    required: true
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Look at the NICs
  virtnet.qos.virt_bandwidth_info:
  register: found

- name: Say which NICs would be measured
  ansible.builtin.debug:
    msg: "{{ plan.nics | map('virtnet.qos.measure_rows', none, 5, 60) | flatten }}"
  vars:
    plan: "{{ found.interfaces | virtnet.qos.measure_plan([{'domain': '*'}], 6, '4GiB') }}"
"""

RETURN = r"""
_value:
  description: A line for each direction that has a limit.
  type: list
  elements: dict
  contains:
    domain:
      description: Name of the domain.
      type: str
    mac:
      description: MAC address of the NIC.
      type: str
    direction:
      description: Seen from the guest, C(inbound) or C(outbound).
      type: str
    declared:
      description: The limit that is in effect, as libvirt has it.
      type: str
    enforced:
      description: The limit as the kernel has it.
      type: str
    measured:
      description: The rate of TCP's payload in bit/s. Null where nothing was measured.
      type: float
    ratio:
      description: That rate, divided by the limit.
      type: float
      returned: when it was measured
    verdict:
      description: One of C(as declared), C(above), C(below), C(not limited), C(not measured) and C(would be measured).
      type: str
    note:
      description: Why that is so.
      type: str
"""

from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.plugin_utils._measured import rows


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"measure_rows": rows}
