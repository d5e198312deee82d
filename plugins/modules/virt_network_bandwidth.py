#!/usr/bin/python
#
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_network_bandwidth
short_description: Limit the bandwidth of libvirt's virtual networks, while they run
version_added: 0.1.0
description:
  - Sets, changes and clears what all guests of a virtual network may receive and send together through its bridge, and
    what its portgroups give to each NIC in them.
  - Applies to the persistent definition and to the running network, each read, compared and written on its own, and
    only where it differs. All else in the definition stays.
  - libvirt itself changes the limit of a network only when it is started anew, which cuts its guests off. This module
    brings the bridge of the running network in the kernel to the new limit instead. No guest is disturbed, and what
    libvirt and its firewall put there stays, the guarantees (floors) of guests among it.
  - Everything that is wrong with the options is refused at once, before anything is changed.
extends_documentation_fragment:
  - virtnet.qos._attributes
  - virtnet.qos._libvirt
options:
  name:
    description:
      - Name or UUID of the network. Either this or O(networks) is needed.
    type: str
  inbound:
    description:
      - What the guests receive together.
      - The direction is replaced as a whole. When omitted, it is left as it is.
    type: dict
    suboptions: &inbound
      average:
        description:
          - The rate, such as V(5gbit). See O(virtnet.qos.virt_iface_bandwidth#module:inbound.average).
          - V(unlimited) clears the direction.
        type: str
      peak:
        description: The highest rate, for as long as the burst lasts. Not below the average, which it needs.
        type: str
      burst:
        description: The amount that may pass at peak rate, such as V(1MiB). Needs an average.
        type: str
  outbound:
    description:
      - What the guests send together.
      - The direction is replaced as a whole. When omitted, it is left as it is.
    type: dict
    suboptions: &outbound
      average:
        description:
          - The rate, written as in O(inbound.average).
          - V(unlimited) clears the direction.
        type: str
      peak:
        description: Taken by libvirt, and ignored, of which the module warns.
        type: str
      burst:
        description: The amount that may pass at once. Needs an average.
        type: str
  state:
    description:
      - V(absent) clears the limit of the network in both directions. Portgroups have a state of their own.
    type: str
    choices: &states
      - present
      - absent
    default: present
  portgroups:
    description:
      - What portgroups of the network give to NICs that have no bandwidth of their own.
      - They have to be there. Everything else of them stays.
    type: list
    elements: dict
    suboptions: &portgroups
      name:
        description: Name of the portgroup.
        type: str
        required: true
      inbound:
        description: What a NIC in it receives. When omitted, the direction is left as it is.
        type: dict
        suboptions: *inbound
      outbound:
        description: What a NIC in it sends. When omitted, the direction is left as it is.
        type: dict
        suboptions: *outbound
      state:
        description: V(absent) clears the limits of the portgroup. The portgroup stays.
        type: str
        choices: *states
        default: present
  prune:
    description: Whether to clear the limits of portgroups that are not in O(portgroups). The portgroups stay.
    type: bool
    default: false
  update_running:
    description:
      - Whether running guests get at once what their portgroup gives by now. Otherwise a NIC keeps what it was given
        when it was plugged in, until the guest is restarted.
      - Link, MAC address, connections and counters of the guests stay as they are.
    type: bool
    default: false
  restart:
    description:
      - Whether to start a running network anew where libvirt would otherwise go on to believe in another limit of its
        own than is defined (see RV(pending_restart)). Limits are in force without that; new floors of guests may need
        it.
      - Refused while anything is plugged into the network, unless O(force_restart=true).
      - Refused where it would bring more into force than limits, because the network is defined otherwise than it runs.
    type: bool
    default: false
  force_restart:
    description:
      - Whether O(restart) may cut off what is plugged into the network, for some seconds. All of it is plugged in
        again afterwards, with its limits, and no guest needs a restart. Running NICs then have what their portgroup
        gives by now, whatever O(update_running) says.
    type: bool
    default: false
  networks:
    description:
      - What is wanted of several networks. Replaces the options of one.
    type: list
    elements: dict
    suboptions:
      name:
        description: See O(name).
        type: str
        required: true
      inbound:
        description: See O(inbound).
        type: dict
        suboptions: *inbound
      outbound:
        description: See O(outbound).
        type: dict
        suboptions: *outbound
      state:
        description: See O(state).
        type: str
        choices: *states
        default: present
      portgroups:
        description: See O(portgroups).
        type: list
        elements: dict
        suboptions: *portgroups
      prune:
        description: See O(prune).
        type: bool
        default: false
      update_running:
        description: See O(update_running).
        type: bool
        default: false
      restart:
        description: See O(restart).
        type: bool
        default: false
      force_restart:
        description: See O(force_restart).
        type: bool
        default: false
  affect:
    description:
      - Restricts what is read, compared and written to the running network (V(live)) or to its persistent definition
        (V(config)).
      - The limit of a running network is the kernel's, so that V(live) needs the task to run on the host of the
        daemon.
    type: list
    elements: str
    choices:
      - live
      - config
    default:
      - live
      - config
notes:
  - Directions are seen from the guests, as everywhere in this collection.
  - libvirt goes on to believe in the limit that the network was started with, see RV(pending_restart). When a guest
    with a floor is plugged in or out, libvirt therefore rewrites the class of those without one; the next run of this
    module repairs it.
  - A network that was started with an inbound limit keeps its classes in the kernel when that is cleared, with the
    highest rate there is, since libvirt may put a floor below them at any time.
seealso:
  - module: virtnet.qos.virt_iface_bandwidth
  - module: virtnet.qos.virt_bandwidth_info
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Limit what all guests of a network receive together, while it runs
  virtnet.qos.virt_network_bandwidth:
    name: limited
    inbound:
      average: 5gbit
      peak: 8gbit
      burst: 16MiB

- name: Change what a portgroup gives, for guests that run as well
  virtnet.qos.virt_network_bandwidth:
    name: limited
    portgroups:
      - name: web
        inbound:
          average: 100mbit
        outbound:
          average: 100mbit
    prune: true
    update_running: true

- name: Change the definitions only
  virtnet.qos.virt_network_bandwidth:
    networks:
      - name: limited
        outbound:
          average: 1gbit
      - name: spare
        state: absent
    affect:
      - config
"""

RETURN = r"""
diff:
  description: The text of RV(networks) and RV(interfaces) before and after. It is the same in check mode.
  returned: in diff mode
  type: dict
  contains:
    before:
      description: What there was.
      type: str
    after:
      description: What there is.
      type: str
networks:
  description:
    - What was changed, or would be in check mode, an entry for each network and portgroup; two where the running
      network and the definition change differently.
  returned: success, and failure while changing
  type: list
  elements: dict
  contains:
    name:
      description: Name of the network.
      type: str
      sample: prod
    portgroup:
      description: Name of the portgroup; V(null) for the network itself.
      type: str
      sample: web
    scopes:
      description: Where it changed. V(live) is the running network, V(config) the persistent definition.
      type: list
      elements: str
      sample:
        - live
        - config
    before:
      description:
        - What it had, for the directions that changed. Of a running network itself, what the kernel did; where its
          limit is the same, the classes, such as C(class 1:2), and the policer that differ.
      type: dict
      sample:
        inbound:
          average: unlimited
    after:
      description: What it has.
      type: dict
      sample:
        inbound:
          average: 5gbit
interfaces:
  description: The NICs of running guests that got, or would get, what their portgroup gives by now.
  returned: success, and failure while changing
  type: list
  elements: dict
  contains:
    domain:
      description: Name of the guest.
      type: str
    mac:
      description: MAC address of the NIC.
      type: str
    target:
      description: Its device on the host.
      type: str
    network:
      description: The network.
      type: str
    portgroup:
      description: The portgroup.
      type: str
    before:
      description: What was in effect, for the directions that changed.
      type: dict
    after:
      description: What is in effect.
      type: dict
notes:
  description: Guests that went away while this ran, and for how long a restart cut off what is plugged in.
  returned: success, and failure while changing
  type: list
  elements: str
pending_restart:
  description:
    - The running networks of which libvirt believes, until they are started anew, that they have other limits than
      they have or are defined with. Limits are in force all the same, but libvirt gives floors to guests by what it
      believes. O(restart) makes it believe what is defined, where it believes something else.
  returned: success, and failure while changing
  type: list
  elements: str
  sample:
    - prod
restarted:
  description: The networks that were started anew, or would be in check mode.
  returned: success, and failure while changing
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import OPTIONS, TOGETHER
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import HostError
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import LIBVIRT_IMPORT_ERROR
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import LXML_IMPORT_ERROR
from ansible_collections.virtnet.qos.plugins.module_utils._network_plan import diff, interfaces, results
from ansible_collections.virtnet.qos.plugins.module_utils._network_run import converge
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Refused
from ansible_collections.virtnet.qos.plugins.module_utils._warning import warn


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the options ask and return what the module returns."""
    outcome = converge(module.params, module.check_mode)
    warn(module, outcome.warnings)
    stands = any(failure.stands for failure in outcome.failures)
    result: dict[str, Any] = {
        "changed": bool(outcome.changes) or stands,
        "networks": results(outcome.changes),
        "interfaces": interfaces(outcome.changes),
        "notes": outcome.notes,
        "pending_restart": sorted(outcome.pending_restart),
        "restarted": outcome.restarted,
    }
    if module._diff:
        result["diff"] = diff(outcome.changes)
    if outcome.failures:
        result["msg"] = str(Refused([str(failure) for failure in outcome.failures]))
    return result


def main() -> None:
    """Run the module."""
    limit = {"type": "dict", "options": {key: {"type": "str"} for key in ("average", "peak", "burst")}}
    state = {"type": "str", "choices": ["present", "absent"], "default": "present"}
    limits = {"inbound": limit, "outbound": limit, "state": state}
    name = {"type": "str", "required": True}
    network: dict[str, Any] = {
        **limits,
        "portgroups": {"type": "list", "elements": "dict", "options": {"name": name, **limits}},
        "prune": {"type": "bool", "default": False},
        **{name: {"type": "bool", "default": False} for name in ("update_running", "restart", "force_restart")},
    }
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "name": {"type": "str"},
            **network,
            "networks": {"type": "list", "elements": "dict", "options": {"name": name, **network}},
            "affect": {
                "type": "list",
                "elements": "str",
                "choices": ["live", "config"],
                "default": ["live", "config"],
            },
        },
        required_one_of=[("name", "networks")],
        required_together=[TOGETHER],
        mutually_exclusive=[("networks", each) for each in ("name", "inbound", "outbound", "portgroups")],
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
