# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: way_back
short_description: Find the way back to what was before a run
version_added: 0.1.0
description:
  - Takes the record that P(virtnet.qos.record_run#filter) made, and returns what the modules of this collection are to
    be given so that all is as it was before.
positional: _input
options:
  _input:
    description: The record, as text.
    type: str
    required: true
  interfaces:
    description: The NICs that there are, as M(virtnet.qos.virt_bandwidth_info) returns them.
    type: list
    elements: dict
    default: []
  networks:
    description: The networks that there are, as M(virtnet.qos.virt_bandwidth_info) returns them.
    type: list
    elements: dict
    default: []
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Read what the last run recorded
  ansible.builtin.slurp:
    src: /var/lib/virtnet-qos/last-run.json
  register: recorded

- name: Look at the NICs
  virtnet.qos.virt_bandwidth_info:
  register: seen

- name: Limit the NICs as they were before
  virtnet.qos.virt_iface_bandwidth:
    policies: "{{ item.policies }}"
    affect: "{{ item.affect }}"
  loop: "{{ (recorded.content | b64decode | virtnet.qos.way_back(seen.interfaces, seen.networks)).guests }}"
"""

RETURN = r"""
_value:
  description: The way back.
  type: dict
  contains:
    problem:
      description: Why the text is no record that can be used. The rest is empty then; this is empty otherwise.
      type: str
    record:
      description: The record itself.
      type: dict
    devices:
      description: Options of M(virtnet.qos.tc_hfsc_class), a dictionary a device. These come first.
      type: list
      elements: dict
    networks_first:
      description:
        - Options of M(virtnet.qos.virt_network_bandwidth), a dictionary a task. These come second.
        - They are of networks whose limit is to rise or stay, since floors of guests need that.
      type: list
      elements: dict
    guests:
      description: Options of M(virtnet.qos.virt_iface_bandwidth), a dictionary a task. These come third.
      type: list
      elements: dict
    networks_last:
      description: As C(networks_first), of networks whose limit is to sink. These come last.
      type: list
      elements: dict
    gone:
      description: What is not there any more, such as V(NIC 52:54:00:6b:3c:58 of domain 'web1').
      type: list
      elements: str
    notes:
      description: What does not come back, a sentence each.
      type: list
      elements: str
"""

from collections.abc import Sequence
from typing import Any, Callable

from ansible_collections.virtnet.qos.plugins.plugin_utils._record import EMPTY
from ansible_collections.virtnet.qos.plugins.plugin_utils._record_read import parse_record
from ansible_collections.virtnet.qos.plugins.plugin_utils._way_back import find_way_back


def way_back(text: str, interfaces: Sequence[Any] = (), networks: Sequence[Any] = ()) -> dict[str, Any]:
    """Return the way back from the record in a file."""
    record, problem = parse_record(text)
    return {"problem": problem, "record": record, **find_way_back(record or EMPTY, interfaces, networks)}


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"way_back": way_back}
