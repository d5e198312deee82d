#!/usr/bin/python
#
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_iface_bandwidth
short_description: Limit the bandwidth of the NICs of libvirt guests
version_added: 0.1.0
description:
  - Sets, changes and clears what a NIC of a libvirt domain may receive and send.
  - Applies to the running guest and to its persistent definition. Each is read, compared and written on its own, and
    only where it differs. A transient domain has only the former, a domain that is shut off only the latter.
  - A NIC that has what is wanted is not touched. This matters, since libvirt rebuilds the queues of a NIC even when
    it is given the value that it has, and the packets in them are lost.
  - Everything that is wrong with the options is refused at once, before anything is changed.
extends_documentation_fragment:
  - virtnet.qos._attributes
  - virtnet.qos._libvirt
options:
  domain:
    description:
      - Name or UUID of the domain.
    type: str
    required: true
  interface:
    description:
      - Which NIC of the domain, by its MAC address, its target device (such as V(vnet0)), or its alias (such as
        V(net0) or V(ua-uplink)).
      - V(all) stands for every NIC of the domain.
      - Target devices and aliases that libvirt made up are known only while the guest is running. A MAC address
        always is.
      - A NIC whose MAC address is not unique within the domain is refused.
    type: str
    required: true
  inbound:
    description:
      - What the guest receives.
      - The direction is replaced as a whole, so that a peak, burst or floor that is not named here is cleared.
      - When omitted, the direction is left as it is.
    type: dict
    suboptions:
      average:
        description:
          - The rate that the NIC may have, such as V(100mbit), V(1.5gbit) or V(12.5MB/s).
          - The unit is needed, and V(Mbps) and the like are refused since they are read in two ways.
          - It must be a whole number of kB/s, that is a multiple of 8kbit, up to 4294967295 kB/s.
          - V(unlimited) clears the direction.
          - It may be omitted only beside O(inbound.floor).
        type: str
      peak:
        description:
          - The highest rate, for as long as O(inbound.burst) lasts. Not below O(inbound.average), which it needs.
          - libvirt ignores it on macvtap devices, and the module then warns.
        type: str
      burst:
        description:
          - The amount that may pass at peak rate, such as V(512KiB) or V(1MiB). Needs O(inbound.average).
          - It must be a whole number of KiB, up to 4194303 KiB.
        type: str
      floor:
        description:
          - The rate that is guaranteed to the NIC.
          - Only for NICs of type network, on a network with forward mode V(none), V(nat), V(route) or V(open) that
            has an inbound average itself. libvirt guarantees it for IPv4 only.
          - libvirt refuses floors that add up to more than the network has, but only while the guest is running.
        type: str
  outbound:
    description:
      - What the guest sends.
      - The direction is replaced as a whole, so that a peak or burst that is not named here is cleared.
      - When omitted, the direction is left as it is.
    type: dict
    suboptions:
      average:
        description:
          - The rate that the NIC may have, written as in O(inbound.average).
          - V(unlimited) clears the direction.
        type: str
      peak:
        description:
          - The highest rate, not below O(outbound.average), which it needs.
          - libvirt ignores it on tap devices other than those of Open vSwitch, and the module then warns.
        type: str
      burst:
        description:
          - The amount that may pass at once, written as in O(inbound.burst). Needs O(outbound.average).
        type: str
  state:
    description:
      - V(present) makes the directions that are named what they are named. At least one of O(inbound) and O(outbound)
        is needed.
      - V(absent) takes from the NIC the bandwidth of its own in both directions. Neither O(inbound) nor O(outbound)
        is allowed.
      - With V(absent), a NIC of a running guest gets at once what the portgroup of its network gives, if anything.
    type: str
    choices:
      - present
      - absent
    default: present
notes:
  - Directions are seen from the guest. On a tap device of the host they are the other way round, which is why C(tc)
    shows the inbound limit of a guest as the HTB class by which its tap device sends.
  - libvirt shapes on the host, in the tap or macvtap device of the NIC. What it does not shape is refused, by the
    type that the NIC has in the running guest. These are NICs of type user, vhostuser, hostdev, vdpa and others.
  - A bandwidth of its own replaces, in both directions, what a NIC is given by the portgroup of its network. Where a
    direction that is omitted would lose the portgroup's limit by that, the module refuses and asks for the direction
    to be named.
  - libvirt 12.4 and later do not take a policer off a running NIC whose direction is cleared (the outbound one of a
    tap, the inbound one of a macvtap). The module then has libvirt plug the NIC anew without limits, which takes it
    off, and sets what remains.
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Limit a NIC in both directions, in the running guest and for good
  virtnet.qos.virt_iface_bandwidth:
    domain: web1
    interface: "52:54:00:6b:3c:58"
    inbound:
      average: 100mbit
      peak: 200mbit
      burst: 1MiB
    outbound:
      average: 100mbit

- name: Let every NIC of a guest send without limit, and leave what they receive as it is
  virtnet.qos.virt_iface_bandwidth:
    domain: web1
    interface: all
    outbound:
      average: unlimited

- name: Guarantee a rate on a virtual network that has an inbound average
  virtnet.qos.virt_iface_bandwidth:
    domain: db1
    interface: net0
    inbound:
      floor: 50mbit

- name: Take away every limit that the NIC has of its own
  virtnet.qos.virt_iface_bandwidth:
    domain: web1
    interface: vnet3
    state: absent

- name: See what would change
  virtnet.qos.virt_iface_bandwidth:
    domain: web1
    interface: all
    inbound:
      average: 1gbit
  check_mode: true
  diff: true
"""

RETURN = r"""
diff:
  description:
    - The text of RV(interfaces) before and after, one NIC after the other. It is the same in check mode.
  returned: in diff mode
  type: dict
  contains:
    before:
      description: What the NICs that are touched had of their own.
      type: str
    after:
      description: What they have of their own.
      type: str
interfaces:
  description:
    - What was changed, or would be in check mode. NICs that have what is wanted are not in it.
    - Each entry is one change of one NIC. Where the running guest and the persistent definition change differently,
      there is an entry for each.
    - When the module fails halfway, this is what was changed and stands.
  returned: success, and failure while changing
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
      description: Its device on the host, V(null) where the domain is shut off and the device has no fixed name.
      type: str
      sample: vnet3
    alias:
      description: Its alias, V(null) where it has none.
      type: str
      sample: net0
    type:
      description: Its type, in the running guest what it turned out to be.
      type: str
      sample: bridge
    scopes:
      description: Where it changed. V(live) is the running guest, V(config) the persistent definition.
      type: list
      elements: str
      sample:
        - live
        - config
    before:
      description: What it had of its own, for the directions that changed.
      type: dict
      contains: &bandwidth
        inbound:
          description: What the guest receives, when that changed.
          type: dict
          contains: &limit
            average:
              description: The rate, or V(unlimited).
              type: str
              sample: 100mbit
            peak:
              description: The highest rate, if it has one.
              type: str
              sample: 200mbit
            burst:
              description: The amount that may pass at peak rate, if it has one.
              type: str
              sample: 1MiB
            floor:
              description: The rate guaranteed to the NIC, if any. Only in RV(ignore:inbound).
              type: str
              sample: 50mbit
        outbound:
          description: What the guest sends, when that changed.
          type: dict
          contains: *limit
    after:
      description: What it has of its own, for the directions that changed.
      type: dict
      contains: *bandwidth
  sample:
    - domain: web1
      mac: "52:54:00:6b:3c:58"
      target: vnet3
      alias: net0
      type: bridge
      scopes:
        - live
        - config
      before:
        inbound:
          average: unlimited
      after:
        inbound:
          average: 100mbit
          peak: 200mbit
          burst: 1MiB
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import parse_wanted
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import diff, plan, results, select, warnings
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import (
    LIBVIRT_IMPORT_ERROR,
    Host,
    HostError,
    check_uri,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import LXML_IMPORT_ERROR
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems, Refused


def converge(module: AnsibleModule) -> dict[str, Any]:
    """Parse, read, plan, apply; return what the module returns."""
    options = module.params
    problems = Problems()
    check_uri(options["uri"], problems)
    if "\0" in options["domain"]:
        problems.add("domain", options["domain"], "no name has such a character", "give the name or UUID of a domain")
    wanted = parse_wanted(options, problems)
    problems.refuse_if_any()

    host = Host(options["uri"])
    domain = host.domain(options["domain"])
    macs = select(domain, options["interface"], problems)
    changes = plan(domain, macs, wanted, host.network, problems)
    problems.refuse_if_any()
    for warning in warnings(domain, macs, wanted):
        module.warn(warning)

    failures: list[HostError] = []
    if not module.check_mode:
        changes, failures = host.converge(changes)
    stands = any(failure.stands for failure in failures)
    result = {"changed": bool(changes) or stands, "interfaces": results(changes)}
    if module._diff:
        result["diff"] = diff(changes)
    if failures:
        result["msg"] = " ".join(str(failure) for failure in failures)
    return result


def main() -> None:
    """Run the module."""
    limit: dict[str, Any] = {"average": {"type": "str"}, "peak": {"type": "str"}, "burst": {"type": "str"}}
    module = AnsibleModule(
        argument_spec={
            "uri": {"type": "str", "default": "qemu:///system"},
            "domain": {"type": "str", "required": True},
            "interface": {"type": "str", "required": True},
            "inbound": {"type": "dict", "options": {**limit, "floor": {"type": "str"}}},
            "outbound": {"type": "dict", "options": limit},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    for library, missing in (("libvirt-python", LIBVIRT_IMPORT_ERROR), ("lxml", LXML_IMPORT_ERROR)):
        if missing:
            module.fail_json(msg=missing_required_lib(library), exception=missing)
    try:
        result = converge(module)
    except (Refused, HostError) as error:
        module.fail_json(msg=str(error))
    if "msg" in result:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
