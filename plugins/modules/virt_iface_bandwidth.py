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
  - Sets, changes and clears what NICs of libvirt domains may receive and send, of one domain with O(domain) or of a
    whole host with O(policies).
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
      - Name or UUID of the domain. Either this or O(policies) is needed.
    type: str
  interface:
    description:
      - Which NIC of O(domain), by its MAC address, its target device (such as V(vnet0)), or its alias (such as
        V(net0) or V(ua-uplink)).
      - A MAC address is written with colons, and in quotes, since YAML makes a number of one that has digits only.
      - V(all) stands for every NIC of the domain.
      - Target devices and aliases that libvirt made up are known only while the guest is running. A MAC address
        always is.
      - A NIC whose MAC address is not unique within the domain is refused.
    type: str
  policies:
    description:
      - What is wanted of the NICs of all domains of the host. The first policy that fits a NIC is the one that counts
        for it; what a later one says does not matter. A NIC that none fits is not touched.
      - The running guest and its persistent definition are matched each by itself. A NIC that is to be on another
        network with the next start gets in its definition what holds there.
      - A NIC that a policy fits and cannot be for, such as one of type user, is an error. Nothing is changed then.
        Keep it out of the match, or put a policy with O(policies[].state=absent) before it.
      - Guests may be started, shut off, undefined or migrated meanwhile. That is no error, see RV(notes).
      - Replaces O(domain), O(interface), O(inbound), O(outbound) and O(state).
    type: list
    elements: dict
    suboptions:
      match:
        description:
          - Which NICs the policy is for. All keys that are given have to fit. At least one is needed; for every NIC of
            the host, write V("*") for O(policies[].match.domain).
          - Each key is a glob or a list of globs, of which any has to fit. In a glob V(*) stands for any text, V(?) for
            any character, and V([abc]) and V([!abc]) for one that is, and is not, among these. For one of these
            characters itself, write it in brackets, such as V([[]).
          - Case matters. A text with a comma has to be written as a list, even if it is the only one.
          - What a NIC or a domain does not have is fitted by nothing, not even by V(*). So V("*") for
            O(policies[].match.bridge) leaves out the NICs that are on no bridge.
        type: dict
        required: true
        suboptions:
          domain:
            description: Name of the domain.
            type: list
            elements: str
          network:
            description: Virtual network that the NIC is on.
            type: list
            elements: str
          portgroup:
            description: Portgroup of that network that the NIC is in, be it because it is the default one.
            type: list
            elements: str
          bridge:
            description: Bridge of the host that the NIC is on, be it through a virtual network.
            type: list
            elements: str
          mac:
            description: MAC address of the NIC, in any case, with colons, and in quotes as in O(interface).
            type: list
            elements: str
          title:
            description: Title of the domain, as C(virsh desc --title) sets it.
            type: list
            elements: str
          metadata:
            description:
              - An element or an attribute in the metadata of the domain, as C(virsh metadata) or a cloud platform
                sets them.
              - The text that has to fit is V(PREFIX:ELEMENT=TEXT) for an element and V(PREFIX:ELEMENT@ATTRIBUTE=VALUE)
                for an attribute, with the prefix of the namespace as C(virsh dumpxml) shows it. An example is
                V(nova:flavor@name=m1.*).
              - An element without text is one with an empty one, such as V(app:backup=).
            type: list
            elements: str
      inbound:
        description: What the guest receives. See O(inbound).
        type: dict
        suboptions:
          average:
            description: See O(inbound.average).
            type: str
          peak:
            description: See O(inbound.peak).
            type: str
          burst:
            description: See O(inbound.burst).
            type: str
          floor:
            description: See O(inbound.floor).
            type: str
      outbound:
        description: What the guest sends. See O(outbound).
        type: dict
        suboptions:
          average:
            description: See O(outbound.average).
            type: str
          peak:
            description: See O(outbound.peak).
            type: str
          burst:
            description: See O(outbound.burst).
            type: str
      state:
        description: See O(state).
        type: str
        choices:
          - present
          - absent
        default: present
  require_match:
    description:
      - Whether a policy that is for no NIC, since it fits none or earlier policies have all that it fits, is an error.
        Otherwise it is a warning.
    type: bool
    default: false
  affect:
    description:
      - Restricts what is read, compared and written to the running guests (V(live)) or to the persistent definitions
        (V(config)).
      - With O(domain), one that has neither of what is named here is an error. With O(policies), it is left out.
    type: list
    elements: str
    choices:
      - live
      - config
    default:
      - live
      - config
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
            Without a burst it is of no use, and the module then warns.
          - libvirt ignores it on macvtap devices, and the module then warns.
        type: str
      burst:
        description:
          - The amount that may pass at peak rate, such as V(512KiB) or V(1MiB). Needs O(inbound.average).
          - It must be a whole number of KiB, up to 4194303 KiB.
          - The module warns of one that does not hold what comes at average rate in a tick of the kernel's clock, a
            hundredth of a second (the rule rate / HZ of tc-htb(8)), or a packet. This is 2 KiB for a queue, and 64 KiB,
            the largest segment that a guest hands over, for a policer, which drops what is larger than its burst.
          - Without one libvirt gives a policer as many KiB as the average has kB/s. The module warns where not even a
            packet fits in that.
        type: str
      floor:
        description:
          - The rate that is guaranteed to the NIC.
          - Only for NICs of type network, on a network with forward mode V(none), V(nat), V(route) or V(open) that
            has an inbound average itself. libvirt guarantees it for IPv4 only.
          - Floors that add up to more than the network's inbound peak, or average if it has no peak, are refused. This
            counts the floors of all guests that run, and of those that are shut off what this run wants of them.
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
    to be named. Of a limit that differs from the portgroup's it warns.
  - A guest that is paused is treated as one that runs. One that is being migrated, saved or dumped is left as it is,
    since libvirt would only let the change time out; this is an error with O(domain), and told in RV(notes) with
    O(policies). A domain that is shut off with a saved state will be resumed with the limits that it had, of which the
    module warns when it changes the definition.
  - libvirt 12.4 and later do not take a policer off a running NIC whose direction is cleared (the outbound one of a
    tap, the inbound one of a macvtap). The module then has libvirt plug the NIC anew without limits, which takes it
    off, and sets what remains.
seealso:
  - module: virtnet.qos.virt_network_bandwidth
  - module: virtnet.qos.virt_bandwidth_info
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

- name: Limit the guests of a host by what they are, and leave those alone that no policy is for
  virtnet.qos.virt_iface_bandwidth:
    policies:
      - match:
          domain:
            - db-*
            - cache-[0-9]
          bridge: br-storage
        inbound:
          average: 1gbit
        outbound:
          average: 1gbit
      - match:
          metadata: "nova:flavor@name=m1.small"
        inbound:
          average: 100mbit
        outbound:
          average: 100mbit
      - match:
          domain: test-*
        state: absent

- name: Limit what runs on a network until it is shut off, and fail if nothing does
  virtnet.qos.virt_iface_bandwidth:
    policies:
      - match:
          network: limited
        outbound:
          average: 80mbit
    affect:
      - live
    require_match: true

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
    - Of more than 200 entries the first 200, and how many more there are.
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
    policy:
      description: The number of the policy that it was changed for, from 0.
      returned: with O(policies)
      type: int
      sample: 0
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
    own:
      description:
        - Where of these it had, and has, anything of its own, in whichever direction. Where it had nothing, that is
          given back by O(state=absent), not by V(unlimited).
      type: dict
      contains:
        before:
          description: Where it had.
          type: list
          elements: str
          sample: []
        after:
          description: Where it has.
          type: list
          elements: str
          sample:
            - live
            - config
  sample:
    - domain: web1
      mac: "52:54:00:6b:3c:58"
      target: vnet3
      alias: net0
      type: bridge
      scopes:
        - live
        - config
      own:
        before: []
        after:
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
notes:
  description:
    - What came in between, a sentence each. Guests that were shut off, undefined or started while this ran, or are
      being migrated, saved or dumped, and NICs that were unplugged, where that kept a change from being made.
    - Such a NIC is left as it is, but the definition of a guest that was shut off has what is wanted. Empty in check
      mode.
  returned: with O(policies)
  type: list
  elements: str
  sample:
    - "Domain 'web1' was started meanwhile, perhaps with what it had before; run again."
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import diff, results
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_run import converge
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import OPTIONS, TOGETHER
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import LIBVIRT_IMPORT_ERROR
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import LXML_IMPORT_ERROR
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Refused
from ansible_collections.virtnet.qos.plugins.module_utils._warning import warn

MATCH = ("domain", "network", "portgroup", "bridge", "mac", "title", "metadata")
TOLD = 10_000  # characters of policies that the result has again


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _given(value) if isinstance(value, dict) else value
        for name, value in options.items()
        if value is not None
    }


def _told(options: dict[str, Any]) -> dict[str, Any]:
    # Ansible would tell what was not given, too; and with a thousand policies more than AWX keeps of a result.
    policies = [_given(policy) for policy in options["policies"]]
    long = len(json.dumps(policies)) > TOLD
    return {**options, "policies": f"{len(policies)} policies, too long to be told again" if long else policies}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the options ask and return what the module returns."""
    outcome = converge(module.params, module.check_mode)
    warn(module, outcome.warnings)
    stands = any(failure.stands for failure in outcome.failures)
    result: dict[str, Any] = {"changed": bool(outcome.changes) or stands, "interfaces": results(outcome.changes)}
    if module.params["policies"] is not None:
        result["notes"] = outcome.notes
        result["invocation"] = {"module_args": _told(module.params)}
    if module._diff:
        result["diff"] = diff(outcome.changes)
    if outcome.failures:
        result["msg"] = str(Refused([str(failure) for failure in outcome.failures]))
    return result


def main() -> None:
    """Run the module."""
    limit: dict[str, Any] = {"average": {"type": "str"}, "peak": {"type": "str"}, "burst": {"type": "str"}}
    wanted: dict[str, Any] = {
        "inbound": {"type": "dict", "options": {**limit, "floor": {"type": "str"}}},
        "outbound": {"type": "dict", "options": limit},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    globs = {"type": "list", "elements": "str"}
    match = {"type": "dict", "required": True, "options": dict.fromkeys(MATCH, globs)}
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "domain": {"type": "str"},
            "interface": {"type": "str"},
            **wanted,
            "policies": {"type": "list", "elements": "dict", "options": {"match": match, **wanted}},
            "require_match": {"type": "bool", "default": False},
            "affect": {
                "type": "list",
                "elements": "str",
                "choices": ["live", "config"],
                "default": ["live", "config"],
            },
        },
        required_one_of=[("domain", "policies")],
        required_together=[("domain", "interface"), TOGETHER],
        mutually_exclusive=[("policies", each) for each in ("domain", "interface", "inbound", "outbound")],
        supports_check_mode=True,
    )
    for library, missing in (("libvirt-python", LIBVIRT_IMPORT_ERROR), ("lxml", LXML_IMPORT_ERROR)):
        if missing:
            module.fail_json(msg=missing_required_lib(library), exception=missing)
    try:
        result = run(module)
    except (Refused, HostError) as error:
        module.fail_json(msg=str(error))
    if "msg" in result:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
