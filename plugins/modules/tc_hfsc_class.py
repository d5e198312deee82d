#!/usr/bin/python
#
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tc_hfsc_class
short_description: Share, guarantee and limit the outbound bandwidth of a host
version_added: 0.1.0
description:
  - Declares classes of the HFSC qdisc on a NIC or bond. A class is the outbound bandwidth of a VLAN, of packets that
    O(match) describes, or of all traffic that has no class of its own (see O(default)).
  - The options declare one class, or with O(classes) any number of them in one run, which is much faster. With
    O(prune) they are all that there is.
  - The layout is that of oVirt's vdsm. The root qdisc is V(1389:), the default class C(1389:1388), and the minor
    number of a VLAN's class is the VLAN's id in hexadecimal. A device that vdsm set up is taken over as it is.
  - A class is declared whole. A curve, a match or an option of the qdisc inside that is not named is taken away, or is
    the kernel's default again.
  - Changes are made in place. Where the kernel cannot do that, since it takes no curve away from a class and moves none
    below another parent, a temporary class carries the traffic while the class is made anew. Nothing else that is on
    the device is touched.
  - There is always a default class, as the kernel drops traffic that has no class. Where there is none and none is
    declared, one is made with the highest O(ls) of all classes, or the highest O(rt) where none has O(ls), without a
    limit and with V(fq_codel) inside. It is left alone from then on, however large later classes are, until
    O(default=true) declares it.
  - VLANs are found with one hash lookup, however many classes there are, and whatever a frame's priority bits are. Tags
    that packet sockets or macvtap guests put into the frame themselves are seen too.
  - Everything that is wrong with the options is refused at once, before anything is changed. When the kernel refuses
    something half-way, what was done is undone.
  - The result survives a reboot with O(persistent=true).
  - With O(confirm_timeout), a change that cuts the host off is taken back by the host itself.
notes:
  - Two runs on one device wait for each other, up to 30 seconds.
  - Some kernels, such as 6.1.176, can stop serving a class with a O(parent) for good when another one below the same
    parent has a V(fq_codel). Use O(leaf=sfq) in such classes until the kernel has commit C(90b662ea25f5).
  - Classes and filters that somebody else put below the root qdisc are left alone, unless O(prune) says otherwise. The
    module's own are the classes that are declared, the temporary ones of a run that was interrupted, with
    minor numbers above C(8000), and all filters at the preferences from 6000 to 6999.
extends_documentation_fragment:
  - virtnet.qos._attributes
  - virtnet.qos._safety
options:
  device:
    description:
      - The NIC or bond that the traffic leaves through. A VLAN device on it, a bridge over it, a tap and the loopback
        device are refused.
    type: str
    required: true
  netns:
    description:
      - The network namespace that the device is in, by its name in C(ip netns).
    type: str
  classes:
    description:
      - The classes, as a list in which each element has the options of one class. They may be in any order.
      - Mutually exclusive with the options of one class beside it, except for O(state), which is then that of the
        elements that have none.
    type: list
    elements: dict
    suboptions:
      vlan:
        description:
          - See O(vlan).
        type: int
      classid:
        description:
          - See O(classid).
        type: str
      parent:
        description:
          - See O(parent).
        type: str
      default:
        description:
          - See O(default).
        type: bool
        default: false
      ls:
        description:
          - See O(ls).
        type: raw
      share:
        description:
          - See O(share).
        type: int
      rt:
        description:
          - See O(rt).
        type: raw
      ul:
        description:
          - See O(ul).
        type: raw
      sc:
        description:
          - See O(sc).
        type: raw
      match:
        description:
          - See O(match).
        type: list
        elements: dict
        suboptions:
          vlan:
            description:
              - See O(match[].vlan).
            type: int
          fwmark:
            description:
              - See O(match[].fwmark).
            type: str
          dscp:
            description:
              - See O(match[].dscp).
            type: str
          src:
            description:
              - See O(match[].src).
            type: str
          dst:
            description:
              - See O(match[].dst).
            type: str
          ip_proto:
            description:
              - See O(match[].ip_proto).
            type: str
          src_port:
            description:
              - See O(match[].src_port).
            type: str
          dst_port:
            description:
              - See O(match[].dst_port).
            type: str
      leaf:
        description:
          - See O(leaf).
        type: raw
      ignore:
        description:
          - Whether this class is to stay as it is, whatever O(prune) says, and whether it is there or not.
          - Only O(classes[].vlan), O(classes[].classid) and O(classes[].default) can stand beside it.
        type: bool
        default: false
      state:
        description:
          - See O(state). The default is what that is.
        type: str
        choices:
          - present
          - absent
  prune:
    description:
      - Whether classes that are not in O(classes) are taken away, with this module's filters that point to them.
        A filter of somebody else that does so is named, and nothing is done.
      - Where none of those is the default class, that is made, or changed, as if the device had none.
    type: bool
    default: false
  vlan:
    description:
      - The VLAN, from 0 to 4094, whose class this is. Its id is the class's minor number, unless O(classid) gives
        another.
      - This is the same as a O(match) of that VLAN beside the class's id. VLAN 0 is frames that have a priority only,
        and needs O(classid).
      - One of this, O(classid) and O(default=true) is needed.
    type: int
  classid:
    description:
      - The class's id in hexadecimal, such as V("1389:10") or V(":10"), in quotes. The major number, if it is there, is
        that of O(handle), and the minor number from C(1) to C(3fff).
      - Minor numbers above C(ffe) are never those of a VLAN. C(1388) is for the default class alone.
    type: str
  parent:
    description:
      - The id of the class that this one is below, written like O(classid). Without it, that is the root.
      - A class that has others below it has O(ls) and perhaps O(ul), which those share. It has no O(rt), and no traffic
        of its own, so neither O(vlan) nor O(match), O(default) or O(leaf).
    type: str
  default:
    description:
      - Whether this is the class of all traffic that has no other, untagged traffic above all.
      - Its id is C(1388), unless O(vlan) or O(classid) gives another.
    type: bool
    default: false
  ls:
    description:
      - The link-share curve. It says in which proportion classes share what is left once all guarantees are met.
      - Either a rate, such as V(100mbit), V(1.5gbit) or V(12.5MB/s), or a dictionary of C(m2), the rate in the long
        run, C(m1), the rate at the start of a backlog, and C(d), the time such as V(10ms) for which C(m1) holds.
        C(m1) and C(d) go together.
      - The unit is needed, and V(100Mbps) and the like are refused since they are read in two ways.
      - A rate must be a whole number of bytes/s, that is a multiple of 8 bit, up to V(34359738360bit), which is what
        the kernel can hold.
      - Either O(ls), O(share), O(rt) or O(sc) is needed.
    type: raw
  share:
    description:
      - The link-share curve as a plain weight, from 1 to 34359. A class with V(60) gets one and a half times what a
        class with V(40) gets while both want more than there is.
      - One share is the same as an O(ls) of V(1mbit), so shares and rates can stand side by side. Among shares alone,
        only the proportions matter.
      - Mutually exclusive with O(ls) and O(sc).
    type: int
  rt:
    description:
      - The real-time curve. It is what the class is guaranteed, before anything is shared.
      - Written like O(ls).
    type: raw
  ul:
    description:
      - The upper-limit curve. The class gets no more than this, though others leave more.
      - It must not be below O(rt), and needs O(ls) or O(share), as it limits only what those give.
      - Written like O(ls).
    type: raw
  sc:
    description:
      - The service curve, which is O(rt) and O(ls) in one.
      - Written like O(ls), and mutually exclusive with O(ls), O(rt) and O(share).
    type: raw
  match:
    description:
      - The packets that belong to the class. A packet belongs to it if it fits one of these elements, and it fits an
        element if it fits all fields of it. Whether a frame has a VLAN tag does not matter, unless
        O(match[].vlan) is there.
      - Where a packet fits matches of several classes, the match that fixes more of the packet's bits wins. A VLAN is
        12 bits, O(match[].dscp) 6, O(match[].ip_proto) 8, a network as many as its prefix is long, and a port 16. A
        range of ports is 16 less as many bits as it takes to write its last port less its first, so V(8000-8999) is 6.
      - A match with O(match[].fwmark) wins over all that have none, and among marks the one whose mask has more bits.
      - Matches of two classes that fix as many bits are refused if there is a packet that fits both. So which class
        wins never depends on the order in which classes were declared.
      - A match that belongs to a class already goes to another one only if that class is declared without it, too.
      - A packet in fragments has no ports here, not even in the first one.
    type: list
    elements: dict
    suboptions:
      vlan:
        description:
          - The VLAN, from 0 to 4094.
        type: int
      fwmark:
        description:
          - The packet's mark, such as V(16), V(0x10), or V(0x10/0xff) where only the bits of a mask count. It is never
            0, and nothing else can stand beside it.
          - Two masks on a device are the same, or have different numbers of bits.
        type: str
      dscp:
        description:
          - The DSCP of IPv4 or IPv6, as a number from V(0) to V(63) or a name such as V(ef), V(af41) or V(cs1).
        type: str
      src:
        description:
          - The IPv4 or IPv6 address or network that the packet comes from, such as V(10.0.0.0/8).
        type: str
      dst:
        description:
          - The IPv4 or IPv6 address or network that the packet goes to.
        type: str
      ip_proto:
        description:
          - The protocol, as a number from V(0) to V(255) or a name such as V(tcp), V(udp) or V(icmpv6).
        type: str
      src_port:
        description:
          - The port that the packet comes from, such as V(443), or a range such as V(8000-8999).
          - O(match[].ip_proto) must be V(tcp), V(udp) or V(sctp).
        type: str
      dst_port:
        description:
          - The port that the packet goes to, written like O(match[].src_port).
        type: str
  leaf:
    description:
      - The qdisc inside the class, which decides about the order of its packets. Either its kind or a dictionary of
        C(kind) and its options, which are those of C(tc).
      - With V(fq_codel), the default, those are C(limit), C(flows) and C(drop_batch), C(target), C(interval) and
        C(ce_threshold) as times such as V(5ms), C(quantum) and C(memory_limit) as sizes such as V(1514B) or V(32MiB),
        and C(ecn), which is true or false.
      - With V(sfq) they are C(limit), C(quantum) as a size, and C(perturb) as whole seconds such as V(10s).
      - With V(pfifo) it is C(limit).
      - With V(none) it is the kernel's own first-in, first-out queue.
      - Where the kernel cannot make a change in place, as with another kind or other C(flows), the packets that are
        waiting in this class are sent first.
    type: raw
  handle:
    description:
      - The handle of the root qdisc, a hexadecimal number from V(1:) to V(fffe:).
      - Where a whole tree is taken away that O(persistent) kept, it need not be given.
    type: str
    default: "1389:"
  replace_root:
    description:
      - Whether to replace a root qdisc that somebody else put there, with all that is below it. It is taken away
        first, and not brought back when something fails later.
      - The qdiscs that the kernel itself gives to a device are always replaced.
    type: bool
    default: false
  allow_overcommit:
    description:
      - Whether guarantees may add up to more than the O(ul) of a class above them, or the speed of the link where it is
        known, can give. They hold for nobody then, once all of them are asked for.
    type: bool
    default: false
  state:
    description:
      - With V(present), the class is there with exactly what is named.
      - With V(absent), the class and its filters are not there. The root qdisc and the default class stay, also when
        the last other class goes. A class that has others below it goes only together with those.
      - With V(absent) and O(default=true), the root qdisc is removed, so that the kernel's own one comes back. That
        is refused while there are other classes.
      - With V(absent) and neither a class nor O(classes), the root qdisc is removed with all that is below it, once its
        classes have sent what waited in them, for a second at most. What waits in the default class then is dropped.
    type: str
    choices:
      - present
      - absent
    default: present
requirements:
  - python >= 3.9
  - A Linux kernel with C(sch_hfsc), C(sch_fq_codel), C(cls_flower), C(cls_fw), C(cls_u32) and C(act_vlan)
  - pyroute2 >= 0.7.2, for O(netns) only
seealso:
  - module: virtnet.qos.tc_hfsc_info
  - name: tc-hfsc(7)
    description: What the three curves do.
    link: https://man7.org/linux/man-pages/man7/tc-hfsc.7.html
  - name: tc-fq_codel(8)
    description: The options of the qdisc that is inside a class by default.
    link: https://man7.org/linux/man-pages/man8/tc-fq_codel.8.html
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
- name: Give what has no class of its own 40 shares, and never more than 5 Gbit/s (first, so that it is not made up)
  virtnet.qos.tc_hfsc_class:
    device: bond0
    default: true
    share: 40
    ul: 5gbit

- name: Give the storage VLAN 60 shares of the bond and guarantee it 1 Gbit/s
  virtnet.qos.tc_hfsc_class:
    device: bond0
    vlan: 100
    share: 60
    rt: 1gbit

- name: Let voice start with 2 Mbit/s for the first 10 ms of a backlog, for a low delay
  virtnet.qos.tc_hfsc_class:
    device: bond0
    vlan: 20
    ls: 1mbit
    rt:
      m1: 2mbit
      d: 10ms
      m2: 1mbit

- name: Have these classes and no others, but leave alone what the backup tool does with its own
  virtnet.qos.tc_hfsc_class:
    device: bond0
    prune: true
    classes:
      - default: true
        share: 40
        ul: 5gbit
      - vlan: 100
        share: 60
        rt: 1gbit
        leaf:
          kind: fq_codel
          limit: 20480
          target: 2ms
      - classid: ":3000"
        ignore: true

- name: Let two kinds of traffic share what a tenant may have
  virtnet.qos.tc_hfsc_class:
    device: bond0
    classes:
      - classid: ":2000"
        share: 20
        ul: 2gbit
      - classid: ":2001"
        parent: ":2000"
        sc: 500mbit
        match:
          - src: 192.0.2.0/24
          - src: 2001:db8::/32
          - fwmark: 0x10/0xff
      - classid: ":2002"
        parent: ":2000"
        ls: 100mbit
        match:
          - vlan: 30
            ip_proto: tcp
            dst_port: 8000-8999
          - dscp: cs1
        leaf: sfq

- name: Change it, have it taken back if that cuts the host off, and keep it for the next boot
  virtnet.qos.tc_hfsc_class:
    device: bond0
    vlan: 100
    share: 60
    ul: 4gbit
    confirm_timeout: 30
    persistent: true

- name: Have no class for VLAN 100
  virtnet.qos.tc_hfsc_class:
    device: bond0
    vlan: 100
    state: absent

- name: Limit VLAN 10 on a device in the network namespace blue
  virtnet.qos.tc_hfsc_class:
    device: uplink
    netns: blue
    vlan: 10
    ls: 10mbit
    ul: 20mbit

- name: Have no class on the bond at all, but the kernel's own qdisc, now and after the next boot
  virtnet.qos.tc_hfsc_class:
    device: bond0
    state: absent
    persistent: true
"""

RETURN = r"""
device:
  description: The device.
  returned: success
  type: str
  sample: bond0
actions:
  description: What was done, or would be done in check mode, in this order. Empty when nothing differs.
  returned: success
  type: list
  elements: dict
  contains:
    op:
      description:
        - What was done to it.
        - V(recreate) is used for a class from which a curve was taken away, with a temporary class meanwhile.
      type: str
      sample: change
    object:
      description:
        - V(qdisc) for the root qdisc, V(class), V(leaf) for the qdisc inside a class, V(filter), or V(file) for what
          O(persistent) keeps.
      type: str
      sample: class
    id:
      description: Its handle or class id, or the VLAN of a filter.
      type: str
      sample: "1389:64"
    before:
      description: What it was. Rates are written so that they can be pasted back.
      returned: when it was there
      type: str
      sample: ls 60mbit
    after:
      description: What it is now.
      returned: when it is still there
      type: str
      sample: rt 1gbit, ls 60mbit
  sample:
    - op: change
      object: class
      id: "1389:64"
      before: ls 60mbit
      after: rt 1gbit, ls 60mbit
before:
  description: What the device had, so that it can be given back.
  returned: when something differed, also when the change failed half-way
  type: dict
  contains: &side
    handle:
      description: The handle of its HFSC root qdisc. Null without one, where O(state=absent) gives that back.
      type: str
      sample: "1389:"
    classes:
      description:
        - All its classes, as O(classes) takes them with O(prune=true) and O(allow_overcommit=true).
        - One that cannot be written is one to be left alone.
      type: list
      elements: dict
      sample:
        - default: true
          leaf: fq_codel
          ls: 40mbit
    root:
      description: The root qdisc of somebody else, which would not come back. Null without one.
      type: str
      sample: "htb 1:"
    kept:
      description: Whether the next boot brings the same. Null without O(persistent).
      type: bool
      sample: true
after:
  description: What the device has, or would have in check mode, in the same form.
  returned: when something differed, also when the change failed half-way
  type: dict
  contains: *side
confirmed:
  description: Whether the change was confirmed. If it was not, the task fails, and its message says what stands.
  returned: when O(confirm_timeout) is given and something differed
  type: bool
  sample: true
script:
  description:
    - The whole tree of the device as input for C(tc -batch), which makes it on a device that has none.
    - Empty when the device has no tree.
  returned: success
  type: str
  sample: |
    # The HFSC tree of bond0; tc -batch makes it on a device without one.
    qdisc add dev bond0 root handle 1389: hfsc default 1388
    # what no filter claims
    class add dev bond0 parent 1389: classid 1389:1388 hfsc ls m2 40000000bit
    qdisc add dev bond0 parent 1389:1388 handle 1388: fq_codel
"""

import gc
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtnet.qos.plugins.module_utils._guard import SAFETY, NotKept
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_apply import NotApplied
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_confirm import conclude, pending
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import CLASS, ELEMENT, HANDLE
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_run import converge
from ansible_collections.virtnet.qos.plugins.module_utils._hold import Held, NotConfirmed
from ansible_collections.virtnet.qos.plugins.module_utils._netns import enter_netns
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Refused
from ansible_collections.virtnet.qos.plugins.module_utils._tc_lock import Locked
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "device": {"type": "str", "required": True},
            "netns": {"type": "str"},
            "classes": {"type": "list", "elements": "dict", "options": {**CLASS, **ELEMENT}},
            "prune": {"type": "bool", "default": False},
            **CLASS,
            "handle": {"type": "str", "default": HANDLE},
            "replace_root": {"type": "bool", "default": False},
            "allow_overcommit": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **SAFETY,
        },
        supports_check_mode=True,
    )
    enter_netns(module)
    # What a run makes stays until its end; looking for garbage in it takes a quarter of a silent run of 1 000 classes.
    gc.disable()
    confirm = module.params["_confirm"]
    told: dict[str, Any] = {}  # what was before and after a change that has begun, whatever becomes of it
    try:
        result = converge(module, told) if not confirm or confirm["stage"] == "arm" else conclude(module)
    except Refused as error:
        module.fail_json(msg=str(error))
    except NotApplied as error:
        module.fail_json(msg=str(error), changed=error.changed, **told, **pending(module))
    except NotKept as error:
        stands = {"confirmed": True} if confirm and confirm["stage"] == "confirm" else {}
        module.fail_json(msg=str(error), changed=True, **told, **stands)
    except NotConfirmed as error:
        module.fail_json(msg=f"{module.params['device']}: cannot be confirmed: {error}.")
    except (Locked, Held) as error:
        module.fail_json(msg=f"{module.params['device']}: {error}.")
    except (TcError, OSError) as error:
        text = f"{module.params['device']}: could not read its tree: {error}."
        module.fail_json(msg=text, changed=bool(told), **told, **pending(module))
    except Exception as error:
        text, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
        module.fail_json(msg=text, exception=trace, changed=bool(told), **told, **pending(module))
    finally:
        gc.enable()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
