#!/usr/bin/python
#
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_bandwidth_info
short_description: Show the bandwidth of the NICs and virtual networks of a libvirt host, and what the kernel enforces
version_added: 0.1.0
description:
  - Returns, for each NIC of each domain, the bandwidth of its own, that of its portgroup, and the one that is in
    effect, in the running guest and in its persistent definition, with the directions in which the two differ.
  - For running guests, returns also what the kernel does on the tap or macvtap device of the NIC, and whether that is
    what libvirt says. So a NIC is seen whose definition promises what nobody enforces.
  - For each virtual network, returns its own bandwidth, what the kernel does on its bridge, its portgroups, and what
    of its inbound bandwidth is guaranteed to guests by floors.
  - Reads a whole host at once, and changes nothing.
extends_documentation_fragment:
  - virtnet.qos._attributes.info
  - virtnet.qos._libvirt
options:
  match:
    description:
      - Which NICs to return, in the form of O(virtnet.qos.virt_iface_bandwidth#module:policies[].match). All keys that
        are given have to fit, and of each at least one glob.
      - A NIC is returned as a whole when it fits in the running guest or in the persistent definition.
      - Networks are then returned only where a NIC that is returned is on them.
      - When omitted, all NICs and networks of the host are returned.
    type: dict
    suboptions: &match
      domain:
        description: See O(virtnet.qos.virt_iface_bandwidth#module:policies[].match.domain).
        type: list
        elements: str
      network:
        description: See O(virtnet.qos.virt_iface_bandwidth#module:policies[].match.network).
        type: list
        elements: str
      portgroup:
        description: See O(virtnet.qos.virt_iface_bandwidth#module:policies[].match.portgroup).
        type: list
        elements: str
      bridge:
        description: See O(virtnet.qos.virt_iface_bandwidth#module:policies[].match.bridge).
        type: list
        elements: str
      mac:
        description: See O(virtnet.qos.virt_iface_bandwidth#module:policies[].match.mac).
        type: list
        elements: str
      title:
        description: See O(virtnet.qos.virt_iface_bandwidth#module:policies[].match.title).
        type: list
        elements: str
      metadata:
        description: See O(virtnet.qos.virt_iface_bandwidth#module:policies[].match.metadata).
        type: list
        elements: str
  only:
    description:
      - Which of these NICs to return, so that the result of a whole host stays small. One that is any of what is named
        here is returned.
      - V(drift) are those whose bandwidth in the running guest is not that of the persistent definition.
      - V(unenforced) are those of which the kernel does not do what libvirt says.
      - V(limited) are those that have a limit or a guaranteed rate, be it in the running guest, in the persistent
        definition or in the kernel.
      - V(undeclared) are those that nothing in O(declared) is for, be it in the running guest or in the persistent
        definition.
      - When omitted, all of them are returned. Networks are returned whatever is named here.
    type: list
    elements: str
    choices:
      - drift
      - unenforced
      - limited
      - undeclared
  declared:
    description:
      - The NICs that somebody has declared, each element in the form of O(match), as the policies of
        O(virtnet.qos.virt_iface_bandwidth#module:policies) have it. An empty list declares none.
      - O(only=undeclared) needs it, and RV(interfaces[].undeclared) is returned with it.
    type: list
    elements: dict
    suboptions: *match
  brief:
    description:
      - Whether to say of NICs only what is noteworthy, and to sum up the rest in RV(summary). An entry then takes 100
        to 500 bytes.
    type: bool
    default: false
notes:
  - The connection to libvirt is a read-only one. libvirt refuses nothing of what is asked on it, so the user needs
    neither root nor the group libvirt, unless polkit on the host was told otherwise. Nor does the kernel ask for any
    privilege.
  - Directions are seen from the guest. On a tap device of the host they are the other way round, on a macvtap device
    they are not.
  - The kernel is asked after libvirt. What is changed in between may be shown as not agreeing.
  - The kernel that is asked is that of the host where the module runs, in its network namespace. What libvirt on
    another host has done (O(uri) with a host name) is not known to it.
  - A NIC takes about 900 bytes of the result, and AWX cuts what is more than 700000 bytes. Where a host has many, use
    O(only), O(match) or O(brief).
seealso:
  - module: virtnet.qos.virt_iface_bandwidth
  - module: virtnet.qos.virt_network_bandwidth
  - module: virtnet.qos.tc_hfsc_info
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
- name: See what there is on the whole host
  virtnet.qos.virt_bandwidth_info:
  register: there

- name: Name the NICs whose limits are not enforced as libvirt says
  ansible.builtin.debug:
    msg: "{{ item.domain }} {{ item.mac }} has {{ item.live.effective }}, the kernel does {{ item.enforced }}"
  loop: "{{ there.interfaces | selectattr('enforced') }}"
  loop_control:
    label: "{{ item.mac }}"
  when: false in [item.enforced.inbound.agrees, item.enforced.outbound.agrees]

- name: Name the guests that would have other limits after their next start
  ansible.builtin.debug:
    msg: "{{ there.interfaces | selectattr('drift') | map(attribute='domain') | unique }}"

- name: Look at all NICs of a large host, and return those that need attention
  virtnet.qos.virt_bandwidth_info:
    only:
      - drift
      - unenforced
  register: odd

- name: Say how many there are
  ansible.builtin.debug:
    msg: "{{ odd.interfaces | length }} of {{ odd.considered }} NICs are not as declared"

- name: Find the NICs that none of the policies is for, in few words
  virtnet.qos.virt_bandwidth_info:
    only:
      - undeclared
    declared: "{{ vm_qos_policies | map(attribute='match') }}"
    brief: true
  register: left

- name: Name their guests
  ansible.builtin.debug:
    msg: "{{ left.interfaces | map(attribute='domain') | unique }}"

- name: Look at the NICs of some guests on a network, and at what the network has left to guarantee
  virtnet.qos.virt_bandwidth_info:
    match:
      domain: db*
      network: limited
  register: databases

- name: Show it
  ansible.builtin.debug:
    msg: "{{ databases.networks[0].floors.left }} of {{ databases.networks[0].live.inbound.average }} can be guaranteed"
"""

RETURN = r"""
considered:
  description: How many NICs were looked at, that is all of the host, or those that O(match) is for.
  returned: success
  type: int
  sample: 1000
interfaces:
  description:
    - The NICs, sorted by the names of their domains.
    - With O(brief), an entry has RV(interfaces[].domain) to RV(interfaces[].running) as far as they are not null,
      C(limited), whether it has a limit, and what it is noteworthy for. C(drift) then has the directions that differ,
      each with C(live) and C(config), and C(unenforced) those in which the kernel does not do what libvirt says, each
      with C(promised), C(enforced) and perhaps a C(note); limits are one text each.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: Name of the domain.
      type: str
      sample: web1
    mac:
      description: MAC address of the NIC, in lower case.
      type: str
      sample: "52:54:00:6b:3c:58"
    target:
      description: Its device on the host. Null where the domain is shut off and the device has no fixed name.
      type: str
      sample: vnet3
    alias:
      description: Its alias. Null where it has none.
      type: str
      sample: net0
    type:
      description: Its type, in the running guest what it turned out to be.
      type: str
      sample: network
    network:
      description: The virtual network that it is on. Null where it is on none.
      type: str
      sample: prod
    portgroup:
      description: The portgroup of that network that it is in, be it because it is the default one. Null without one.
      type: str
      sample: web
    bridge:
      description: The bridge that it is on, be it through a virtual network. Null where it is on none.
      type: str
      sample: virbr0
    running:
      description: Whether the domain is running.
      type: bool
      sample: true
    live:
      description:
        - What it has in the running guest. Null where the domain is shut off, and where the running guest has no such
          NIC.
      type: dict
      contains: &scope
        own:
          description: What it has of its own. This replaces a portgroup's in both directions.
          type: dict
          contains: &bandwidth
            inbound:
              description: What the guest receives.
              type: dict
              contains: &limit
                average:
                  description: The rate, or V(unlimited).
                  type: str
                  sample: 8mbit
                peak:
                  description: The highest rate.
                  returned: when it has one
                  type: str
                  sample: 16mbit
                burst:
                  description: The amount that may pass at peak rate.
                  returned: when it has one
                  type: str
                  sample: 128KiB
                floor:
                  description: The rate that is guaranteed. Only of a NIC, and only in its inbound direction.
                  returned: when it has one
                  type: str
                  sample: 1.6mbit
            outbound:
              description: What the guest sends.
              type: dict
              contains: *limit
        portgroup:
          description: What the portgroup gives today to a NIC without a bandwidth of its own. Null without a portgroup.
          type: dict
          contains: *bandwidth
        effective:
          description:
            - What holds. In the running guest this is what its portgroup had when it was plugged in, which can be
              something else than the portgroup has today.
          type: dict
          contains: *bandwidth
    config:
      description: What it has in the persistent definition, that is from the next start on. Null where it is not in it.
      type: dict
      contains: *scope
    drift:
      description:
        - The directions in which the effective bandwidth of the running guest differs from that of the persistent
          definition. Empty where the NIC is not in both.
      type: list
      elements: str
      sample:
        - outbound
    undeclared:
      description:
        - Where nothing in O(declared) is for it, V(live) in the running guest, V(config) in the persistent definition.
        - With O(brief), only where it is not empty.
      returned: with O(declared)
      type: list
      elements: str
      sample: []
    enforced:
      description: What the kernel does with the device of a running guest. Null where that has no such NIC.
      type: dict
      contains: &enforced
        inbound:
          description: What the guest receives.
          type: dict
          contains: &shape
            average:
              description: The rate, or V(unlimited). Null where that is not known.
              type: str
              sample: 8mbit
            peak:
              description: The highest rate.
              returned: when it is another one
              type: str
              sample: 16mbit
            burst:
              description:
                - The amount that may pass at once, in whole bytes. Where none was asked for, C(tc) or libvirt chose it.
              returned: when there is a rate
              type: str
              sample: 128KiB
            floor:
              description: The rate that the bridge of the network guarantees. Only of a NIC, and only inbound.
              returned: when it guarantees one
              type: str
              sample: 1.6mbit
            agrees:
              description:
                - Whether this is what libvirt says, for a NIC the effective bandwidth of the running guest. Null where
                  that cannot be known.
                - Rates have to be exactly the same. A burst, if libvirt has one, may differ by what passes in about a
                  microsecond, since C(tc) tells the kernel the time that it takes.
                - A peak is left out of account where the device polices, that is outbound on a tap and inbound on a
                  macvtap, because libvirt ignores it there.
                - V(false) also where libvirt shows a limit for a NIC of a type that it does not limit.
              type: bool
              sample: true
        outbound:
          description: What the guest sends.
          type: dict
          contains: *shape
        note:
          description: Why something is not known, or not as libvirt says.
          returned: when there is something to say
          type: str
          sample: Open vSwitch limits its ports itself
  sample:
    - domain: web1
      mac: "52:54:00:6b:3c:58"
      target: vnet3
      alias: net0
      type: network
      network: prod
      portgroup: web
      bridge: virbr0
      running: true
      live:
        own:
          inbound:
            average: unlimited
          outbound:
            average: unlimited
        portgroup:
          inbound:
            average: 8mbit
            peak: 16mbit
            burst: 128KiB
          outbound:
            average: unlimited
        effective:
          inbound:
            average: 8mbit
            peak: 16mbit
            burst: 128KiB
          outbound:
            average: unlimited
      config:
        own:
          inbound:
            average: unlimited
          outbound:
            average: 4mbit
        portgroup:
          inbound:
            average: 8mbit
            peak: 16mbit
            burst: 128KiB
          outbound:
            average: unlimited
        effective:
          inbound:
            average: unlimited
          outbound:
            average: 4mbit
      drift:
        - inbound
        - outbound
      enforced:
        inbound:
          average: 8mbit
          peak: 16mbit
          burst: 128KiB
          agrees: true
        outbound:
          average: unlimited
          agrees: true
summary:
  description: Sums over the NICs that were looked at, whichever of them O(only) returns.
  returned: with O(brief)
  type: dict
  contains:
    running:
      description: How many are in a running guest.
      type: int
      sample: 900
    limited:
      description: How many have a limit, as V(limited) of O(only).
      type: int
      sample: 850
    unknown:
      description: How many of those that run have a limit of which is not known whether the kernel enforces it.
      type: int
      sample: 0
    averages:
      description:
        - How many NICs have which average, for both directions. What counts is the running guest, and for one that is
          off, its definition.
      type: dict
      sample:
        inbound:
          4mbit: 800
          unlimited: 200
        outbound:
          unlimited: 1000
    promised:
      description: What the NICs of running guests are promised together, a sum for each network and bridge.
      type: list
      elements: dict
      contains:
        network:
          description: The virtual network. Null for NICs that are on none.
          type: str
          sample: prod
        bridge:
          description: The bridge. Null for NICs that are on none.
          type: str
          sample: virbr0
        nics:
          description: How many they are.
          type: int
          sample: 20
        unlimited:
          description: How many of them have no average, for both directions.
          type: dict
          sample:
            inbound: 2
            outbound: 20
        inbound:
          description: The sum of the others' inbound averages.
          type: str
          sample: 72mbit
        outbound:
          description: The sum of the others' outbound averages.
          type: str
          sample: 0bit
networks:
  description: The virtual networks, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: prod
    active:
      description: Whether it is active.
      type: bool
      sample: true
    forward:
      description: Its forward mode, V(none) where it has none.
      type: str
      sample: nat
    bridge:
      description: Its bridge. Null where it has none.
      type: str
      sample: virbr0
    live:
      description:
        - What it has of its own while it is active. libvirt keeps this as it was when the network was started. Null
          where it is not active.
      type: dict
      contains: *bandwidth
    config:
      description: What it has in its persistent definition. Null where it has none.
      type: dict
      contains: *bandwidth
    drift:
      description: The directions in which the two differ. Empty where it has not both.
      type: list
      elements: str
      sample: []
    enforced:
      description:
        - What the kernel does on its bridge. Null where it is not active, and where it has no bridge.
        - Here RV(ignore:agrees) is about the persistent definition, if there is one, since a bridge can be changed
          without libvirt's running network knowing.
      type: dict
      contains: *enforced
    floors:
      description: What of its inbound bandwidth is guaranteed to guests.
      type: dict
      contains:
        used:
          description: The sum of the floors of all running NICs on it.
          type: str
          sample: 1.6mbit
        left:
          description:
            - What libvirt would still let be guaranteed. That is the inbound peak of the network, or its average if it
              has no peak, less what is used; V(0bit) where more is used.
            - Null where it has no inbound average, and so cannot guarantee anything.
          type: str
          sample: 38.4mbit
    portgroups:
      description: Its portgroups.
      type: list
      elements: dict
      contains:
        name:
          description: Its name.
          type: str
          sample: web
        default:
          description: Whether NICs that name no portgroup are in it.
          type: bool
          sample: false
        live:
          description: What it gives while the network is active. Null where it is not there.
          type: dict
          contains: *bandwidth
        config:
          description: What it gives by the persistent definition of the network. Null where it is not there.
          type: dict
          contains: *bandwidth
        drift:
          description: The directions in which the two differ. Empty where it is not in both.
          type: list
          elements: str
          sample: []
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_info import NOTEWORTHY
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_info_run import look
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import OPTIONS, TOGETHER
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import LIBVIRT_IMPORT_ERROR
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import LXML_IMPORT_ERROR
from ansible_collections.virtnet.qos.plugins.module_utils._nic_match import DOMAIN_KEYS, NIC_KEYS
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Refused
from ansible_collections.virtnet.qos.plugins.module_utils._warning import warn


def main() -> None:
    """Run the module."""
    globs = {"type": "list", "elements": "str"}
    match = dict.fromkeys((*DOMAIN_KEYS, *NIC_KEYS), globs)
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "match": {"type": "dict", "options": match},
            "only": {"type": "list", "elements": "str", "choices": list(NOTEWORTHY)},
            "declared": {"type": "list", "elements": "dict", "options": match},
            "brief": {"type": "bool", "default": False},
        },
        required_together=[TOGETHER],
        supports_check_mode=True,
    )
    for library, missing in (("libvirt-python", LIBVIRT_IMPORT_ERROR), ("lxml", LXML_IMPORT_ERROR)):
        if missing:
            module.fail_json(msg=missing_required_lib(library), exception=missing)
    try:
        found, warnings = look(module.params)
    except (Refused, HostError) as error:
        module.fail_json(msg=str(error))
    warn(module, warnings)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
