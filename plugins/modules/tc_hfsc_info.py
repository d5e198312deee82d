#!/usr/bin/python
#
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tc_hfsc_info
short_description: Show the HFSC classes of a host's devices, their filters, counters and present rates
version_added: 0.1.0
description:
  - Returns the HFSC tree of one device or of all devices, nested as people think of it, with what its classes are
    guaranteed, share and may use, which packets belong to them, and what they sent and dropped.
  - RV(devices[].classes) is the same tree as M(virtnet.qos.tc_hfsc_class) takes it. So what somebody else set
    up, such as oVirt's vdsm, can be put into an inventory as it is.
  - What is on a device and not the collection's, and what is not as it should be, is named.
notes:
  - Looking takes no privilege, but for O(netns).
  - The kernel is asked several times. What is changed meanwhile may be shown in part.
extends_documentation_fragment:
  - virtnet.qos._attributes.info
options:
  device:
    description:
      - The device to show.
      - When omitted, all devices with an HFSC root qdisc are shown, in the order of their names.
    type: str
  netns:
    description:
      - The network namespace to look into, by its name in C(ip netns) or by an absolute path.
      - This takes C(CAP_SYS_ADMIN), and pyroute2.
    type: str
  handle:
    description:
      - Look only at a root qdisc with this handle, a hexadecimal number from V(1:) to V(fffe:).
      - When omitted, at whatever HFSC root qdisc there is.
    type: str
  interval:
    description:
      - For how many seconds to look, so that there are rates. From 0.1 to 3600.
      - When omitted, there are none, and the module does not wait.
    type: float
requirements:
  - python >= 3.9
  - pyroute2 >= 0.7.2, only for O(netns)
seealso:
  - module: virtnet.qos.tc_hfsc_class
  - name: tc-hfsc(7)
    description: What the three curves do.
    link: https://man7.org/linux/man-pages/man7/tc-hfsc.7.html
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
- name: See what there is on all devices of the host
  virtnet.qos.tc_hfsc_info:
  register: there

- name: Look at the bond for five seconds, for the rates that it has now
  virtnet.qos.tc_hfsc_info:
    device: bond0
    interval: 5
  register: now

- name: Show how much each class below the root sends
  ansible.builtin.debug:
    msg: "{{ item.name }} sends {{ item.rate }} and drops {{ item.drop_rate | default(0) }} packets/s"
  loop: "{{ now.devices[0].tree }}"
  loop_control:
    label: "{{ item.name }}"

- name: Declare what is there, so that whatever is added to it later goes again
  virtnet.qos.tc_hfsc_class:
    device: bond0
    handle: "{{ now.devices[0].handle }}"
    classes: "{{ now.devices[0].classes }}"
    prune: true
"""

RETURN = r"""
devices:
  description: The device that was named, or all with an HFSC root qdisc.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: Its name.
      type: str
      sample: bond0
    managed:
      description: Whether it has an HFSC root qdisc, and with O(handle) one with that handle.
      type: bool
      sample: true
    handle:
      description: The handle of that root qdisc. Null without one.
      type: str
      sample: "1389:"
    default:
      description: The class of all traffic that has no other. Null without an HFSC root qdisc.
      type: str
      sample: "1389:1388"
    speed:
      description: How fast the device says it is. Null where it says nothing that can be believed.
      type: str
      sample: 10gbit
    root:
      description:
        - The root qdisc where it is another one that was put there by somebody.
        - Null where it is HFSC, and where it is the kernel's own.
      type: str
      sample: "htb 1:"
    vdsm:
      description:
        - Whether there are filters of oVirt's vdsm.
        - M(virtnet.qos.tc_hfsc_class) then replaces them with its own, without a gap, and writes
          O(virtnet.qos.tc_hfsc_class#module:ls) as it was meant, since vdsm writes it times eight.
      type: bool
      sample: false
    classes:
      description:
        - All classes, parents first, as O(virtnet.qos.tc_hfsc_class#module:classes) takes them. Given back to it, with
          O(virtnet.qos.tc_hfsc_class#module:prune=true) too, they change nothing. On a device of vdsm's they make it
          the collection's own.
        - A class that cannot be written, such as one with a C(netem) inside, is one to be left alone
          (O(virtnet.qos.tc_hfsc_class#module:classes[].ignore=true)).
        - Guarantees that add up to more than there is need O(virtnet.qos.tc_hfsc_class#module:allow_overcommit=true).
      type: list
      elements: dict
      sample:
        - default: true
          leaf: fq_codel
          ls: 40mbit
          ul: 5gbit
        - leaf: fq_codel
          ls: 60mbit
          rt: 1gbit
          vlan: 100
        - classid: "1389:2000"
          leaf:
            kind: fq_codel
            target: 1ms
          ls: 10mbit
          match:
            - dscp: ef
            - dst_port: "5060"
              ip_proto: udp
    tree:
      description: The classes below the root, with those below them inside.
      type: list
      elements: dict
      contains:
        name:
          description: The VLANs whose class it is, and C(default). For any other class its id.
          type: str
          sample: VLAN 100
        classid:
          description: Its id.
          type: str
          sample: "1389:64"
        rt:
          description: What it is guaranteed.
          returned: when it has a real-time curve
          type: str
          sample: 1gbit
        ls:
          description: Its part of the rest.
          returned: when it has a link-share curve
          type: str
          sample: m1 120mbit d 10ms m2 60mbit
        ul:
          description: Its limit.
          returned: when it has an upper-limit curve
          type: str
          sample: 5gbit
        match:
          description:
            - The packets that belong to it, one text a match. Of two that fit a packet, the first of all classes' in
              the order of their filters' preferences wins.
            - A match that has not all the filters it takes is C(of some frames only).
          type: list
          elements: str
          sample:
            - VLAN 100
            - ip_proto udp, dst_port 5060
        leaf:
          description:
            - The qdisc inside, its handle, and the options that are not the kernel's defaults.
            - V(none) for the kernel's own first-in, first-out queue.
          returned: when it has no children
          type: str
          sample: "fq_codel 64: target 1000us"
        counters:
          description:
            - What the kernel counted since the class was made. A class that was made anew begins at 0.
            - A class with children sends nothing itself, and the kernel counts but the bytes that went through it.
          returned: when the class was still there
          type: dict
          contains:
            bytes:
              description: What it sent, or let through from the classes below it, in bytes of whole frames.
              type: int
              sample: 187441920
            packets:
              description: What it sent, in packets.
              returned: when it has no children
              type: int
              sample: 123808
            drops:
              description: The packets that it, or the qdisc inside, dropped.
              returned: when it has no children
              type: int
              sample: 17
            overlimits:
              description: Always 0 today, since the kernel counts at the root how often it had to wait.
              returned: when it has no children
              type: int
              sample: 0
            backlog_bytes:
              description: What waits in it, in bytes.
              returned: when it has no children
              type: int
              sample: 3028
            backlog_packets:
              description: What waits in it, in packets.
              returned: when it has no children
              type: int
              sample: 2
        rate:
          description: What it sent during O(interval), or let through, in whole bit/s of whole frames.
          returned: with O(interval), unless the class was made anew meanwhile
          type: str
          sample: 9.6mbit
        packet_rate:
          description: What it sent during O(interval), in packets/s.
          returned: as RV(devices[].tree[].rate), when it has no children
          type: float
          sample: 792.6
        drop_rate:
          description: What it, or the qdisc inside, dropped during O(interval), in packets/s.
          returned: as RV(devices[].tree[].rate), when it has no children
          type: float
          sample: 0.4
        children:
          description: The classes below it, each as this one.
          type: list
          elements: dict
          sample: []
    foreign:
      description: What is on the device and not of the collection.
      type: list
      elements: str
      sample:
        - fw filter 0x1 at preference 7
        - "qdisc netem 64: in class 1389:64"
    notes:
      description: What is not as it should be, and what M(virtnet.qos.tc_hfsc_class) would put right.
      type: list
      elements: str
      sample:
        - class 1389:8064 is a temporary one for 1389:64, of a run that is under way or was interrupted
"""

import errno
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_info import Counted, device_info
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import parse_handle
from ansible_collections.virtnet.qos.plugins.module_utils._netns import enter_netns
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems, Refused
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import check_name, devices
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Tc, TcError, roots

MAJOR = 0x1389
INTERVALS = (0.1, 3600.0)


class Look:
    """What is seen of a device: its tree, and what is counted at two times. Raises `TcError`."""

    def __init__(self, tc: Tc) -> None:
        self.tc = tc
        self.tree = tc.read()
        self.counted = Counted()
        self._time = 0.0
        self.count()

    def count(self) -> None:
        """Read the counters; the second time there is something to compare them with."""
        now = time.monotonic()
        before, seconds = self.counted.now, now - self._time
        self.counted = Counted(self.tc.statistics() if self.tree.qdisc else {}, before, seconds)
        self._time = now

    def seen(self) -> dict[str, Any]:
        """Return it all."""
        return device_info(self.tc.device, self.tree, self.tc.link, self.counted)


def look(options: dict[str, Any]) -> list[dict[str, Any]]:
    """Parse, read, wait, read again; return what there is to know of each device."""
    problems = Problems()
    name, interval = options["device"], options["interval"]
    major = 0 if options["handle"] is None else parse_handle(options["handle"], problems)
    if interval is not None and not INTERVALS[0] <= interval <= INTERVALS[1]:
        rule = f"an interval is from {INTERVALS[0]:g} to {INTERVALS[1]:g} seconds"
        problems.add("interval", interval, rule, "write one of those, or leave it out to have no rates")
    there = devices()
    if name is not None and name not in there:
        check_name(name, there, problems)
    problems.refuse_if_any()

    majors = {index: found for index, (kind, found) in roots().items() if kind == "hfsc" and major in (0, found)}
    names = [each for each in sorted(there) if there[each] in majors] if name is None else [name]
    looks = []
    for each in names:
        index = there[each]
        try:
            looks.append(Look(Tc(each, index, majors.get(index, major or MAJOR))))
        except TcError as error:
            _unless_gone(error, name)
    if interval is not None:
        time.sleep(interval)
        for each in looks.copy():
            try:
                each.count()
            except TcError as error:
                _unless_gone(error, name)
                looks.remove(each)
    return [each.seen() for each in looks]


def _unless_gone(error: TcError, name: str | None) -> None:
    """Of all devices, those that vanish meanwhile are not there; the one that was named is an error."""
    if name is not None or error.number != errno.ENODEV:
        raise error


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "device": {"type": "str"},
            "netns": {"type": "str"},
            "handle": {"type": "str"},
            "interval": {"type": "float"},
        },
        supports_check_mode=True,
    )
    enter_netns(module)
    try:
        found = look(module.params)
    except Refused as error:
        module.fail_json(msg=str(error))
    except (TcError, OSError) as error:
        module.fail_json(msg=f"{module.params['device'] or 'The qdiscs'}: could not be read: {error}.")
    module.exit_json(changed=False, devices=found)


if __name__ == "__main__":
    main()
