# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: record_run
short_description: Tell what a run changed on a host, and what was before
version_added: 0.1.0
description:
  - Takes what the tasks of a run answered, and returns the record from which P(virtnet.qos.way_back#filter) finds the
    way back. The playbook C(virtnet.qos.site) keeps it on the host.
  - Tasks that failed count with what they had changed until then. Those that were skipped do not count.
positional: _input, run, time
options:
  _input:
    description:
      - The registered results, with or without a loop, by what they are about. These are C(devices) of
        M(virtnet.qos.tc_hfsc_class), C(networks) of M(virtnet.qos.virt_network_bandwidth), and C(interfaces) of
        M(virtnet.qos.virt_iface_bandwidth). Each may be missing.
    type: dict
    required: true
  run:
    description: The name of the run, which is the same on all its hosts.
    type: str
    required: true
  time:
    description: When it was, in a form that can be sorted.
    type: str
    required: true
  former:
    description:
      - The record that the run went back from. The new one is then the way forward again, also for what had been
        brought back before.
    type: dict
  earlier:
    description:
      - The record that is there. Where it is of the same run, the new one is of both parts, with what was before the
        first.
    type: dict
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Limit the guests
  virtnet.qos.virt_iface_bandwidth:
    policies:
      - match: {domain: "web*"}
        inbound: {average: 100mbit}
  register: limited

- name: Say what was before
  ansible.builtin.debug:
    msg: "{{ {'interfaces': limited} | virtnet.qos.record_run('first', '2026-03-01T10:15:02Z') }}"
"""

RETURN = r"""
_value:
  description:
    - The record, with C(version), C(run), C(time), C(undid) (the run that it went back from, if any), C(devices),
      C(networks) and C(interfaces).
    - Empty where nothing was changed that can be brought back.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.plugin_utils._record import record_of


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"record_run": record_of}
