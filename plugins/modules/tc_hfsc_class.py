#!/usr/bin/python
#
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tc_hfsc_class
short_description: Share, guarantee and limit the outbound bandwidth of a host's VLANs
version_added: 0.1.0
description:
  - Declares one class of the HFSC qdisc on a NIC or bond, which is the outbound bandwidth of one VLAN, or of all
    traffic that has no class of its own (see O(default)).
  - The layout is that of oVirt's vdsm. The root qdisc is V(1389:), the default class C(1389:1388), and the minor
    number of a VLAN's class is the VLAN's id in hexadecimal.
  - Changes are made in place. Where the kernel cannot do that, since it takes no curve away from a class, a temporary
    class carries the traffic while the class is made anew. Nothing else that is on the device is touched.
  - There is always a default class, as the kernel drops traffic that has no class. Where there is none, the first
    class that is declared on a device makes one, with the same O(ls), or its O(rt) as O(ls) where it has no O(ls), no
    limit, and a V(fq_codel) inside. It is left alone from then on, however large later classes are, until
    O(default=true) declares it. So declare O(default=true) first.
  - Frames are classified by their VLAN id with one hash lookup, however many VLANs there are, and whatever their
    priority bits. Tags that packet sockets or macvtap guests put into the frame themselves are seen too.
  - Everything that is wrong with the options is refused at once, before anything is changed. When the kernel refuses
    something half-way, what was done is undone.
  - The result does not survive a reboot by itself. RV(script) is what to persist.
notes:
  - The sum of all O(rt) on a device is not checked yet. Keep it well below the speed of the link, as guarantees that
    do not fit together hold for nobody.
  - Two runs on one device wait for each other, up to 30 seconds.
  - Classes and filters that somebody else put below the root qdisc are left alone. Below V(1389:), the module's own are
    the classes that are declared, those with a minor number from C(fff0) to C(fffe), which are temporary, and the
    filters at the preferences 4998 and 4999.
extends_documentation_fragment:
  - virtnet.qos._attributes
options:
  device:
    description:
      - The NIC or bond that the traffic leaves through. A VLAN device on it, a bridge over it, a tap and the loopback
        device are refused.
    type: str
    required: true
  vlan:
    description:
      - The VLAN, from 1 to 4094, whose class this is.
      - Either this or O(default=true) is needed.
    type: int
  default:
    description:
      - Whether this is the class of all traffic that has no other, untagged traffic above all.
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
      - Either O(ls), O(share) or O(rt) is needed.
    type: raw
  share:
    description:
      - The link-share curve as a plain weight, from 1 to 34359. A class with V(60) gets one and a half times what a
        class with V(40) gets while both want more than there is.
      - One share is the same as an O(ls) of V(1mbit), so shares and rates can stand side by side. Among shares alone,
        only the proportions matter.
      - Mutually exclusive with O(ls).
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
  leaf:
    description:
      - The qdisc inside the class, which decides about the order of its packets.
      - With V(none) it is the kernel's own first-in, first-out queue.
      - Changing this drops the packets that are waiting in this class.
    type: str
    choices:
      - fq_codel
      - none
    default: fq_codel
  handle:
    description:
      - The handle of the root qdisc, a hexadecimal number from V(1:) to V(fffe:).
    type: str
    default: "1389:"
  replace_root:
    description:
      - Whether to replace a root qdisc that somebody else put there, with all that is below it. It is taken away
        first, and not brought back when something fails later.
      - The qdiscs that the kernel itself gives to a device are always replaced.
    type: bool
    default: false
  state:
    description:
      - With V(present), the class is there with exactly the curves that are named. A curve that is not named is taken
        away.
      - With V(absent), the class and its filter are not there. The root qdisc and the default class stay, also when
        the last VLAN's class goes.
      - With V(absent) and O(default=true), the root qdisc is removed, so that the kernel's own one comes back. That
        is refused while there are other classes.
    type: str
    choices:
      - present
      - absent
    default: present
requirements:
  - pyroute2 >= 0.7.2
  - A Linux kernel with C(sch_hfsc), C(sch_fq_codel), C(cls_flower), C(cls_u32) and C(act_vlan)
seealso:
  - name: tc-hfsc(7)
    description: What the three curves do.
    link: https://man7.org/linux/man-pages/man7/tc-hfsc.7.html
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

- name: Have no class for VLAN 100
  virtnet.qos.tc_hfsc_class:
    device: bond0
    vlan: 100
    state: absent
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
      description: V(qdisc) for the root qdisc, V(class), V(leaf) for the qdisc inside a class, or V(filter).
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

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Wish, declare, withdraw
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_apply import NotApplied, carry_out
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import (
    check_device,
    check_kind,
    check_withdrawal,
    parse_class,
    parse_handle,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import blocked, plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import action_list, diff, step_text
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems, Refused
from ansible_collections.virtnet.qos.plugins.module_utils._tc_lock import Locked, only_run
from ansible_collections.virtnet.qos.plugins.module_utils._tc_messages import PYROUTE2_ERROR
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import (
    Tc,
    TcError,
    check_name,
    devices,
    may_change,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_script import script


def converge(module: AnsibleModule) -> dict[str, Any]:
    """Parse, read, plan, apply, read again; return what the module returns."""
    options = module.params
    problems = Problems()
    device = options["device"]
    major = parse_handle(options["handle"], problems)
    wish = parse_class(options, problems)
    there = devices()
    check_name(device, there, problems)
    capable = may_change()
    if not capable:
        problems.add("device", device, "changing its qdiscs needs CAP_NET_ADMIN", "run the task with become: true")
    if not (capable and major and device in there):
        problems.refuse_if_any()

    tc = Tc(device, there[device], major)
    with contextlib.nullcontext() if module.check_mode else only_run(tc.index):
        return bring_about(module, tc, wish, problems)


def bring_about(module: AnsibleModule, tc: Tc, wish: Wish, problems: Problems) -> dict[str, Any]:
    """Read, plan, apply, read again, with nobody else of us on the device meanwhile."""
    options = module.params
    device, major, absent = tc.device, tc.major, options["state"] == "absent"
    now = tc.read()
    if absent:
        check_withdrawal(now, wish, options["handle"], problems)
    else:
        check_kind(tc.link(), device, problems)
        check_device(now, device, options["handle"], options["replace_root"], problems)
    problems.refuse_if_any()

    wanted = withdraw(now, major, wish) if absent else declare(now, major, wish)
    actions = plan(now, wanted)
    for reason in blocked(now, actions):
        problems.add("device", device, reason, "remove that first, since the kernel keeps the class for it")
    problems.refuse_if_any()

    after = wanted
    if actions and not module.check_mode:
        for warning in carry_out(tc, now, actions):
            module.warn(warning)
        try:
            after = tc.read()
        except TcError as error:
            raise NotApplied(f"{device}: changed, but could not be read again: {error}.", changed=True) from error
        left = "; ".join(step_text(action, major) for action in plan(after, wanted))
        if left:
            text = f"{device}: something else changes it too. This would have to be done still: {left}."
            raise NotApplied(text, changed=True)
    result = {
        "changed": bool(actions),
        "device": device,
        "actions": action_list(actions, major),
        "script": script(after, device),
    }
    if module._diff:
        result["diff"] = diff(now, wanted, actions, major)
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "device": {"type": "str", "required": True},
            "vlan": {"type": "int"},
            "default": {"type": "bool", "default": False},
            "ls": {"type": "raw"},
            "share": {"type": "int"},
            "rt": {"type": "raw"},
            "ul": {"type": "raw"},
            "leaf": {"type": "str", "choices": ["fq_codel", "none"], "default": "fq_codel"},
            "handle": {"type": "str", "default": "1389:"},
            "replace_root": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    if PYROUTE2_ERROR:
        module.fail_json(msg=missing_required_lib("pyroute2 >= 0.7.2"), exception=PYROUTE2_ERROR)
    try:
        result = converge(module)
    except Refused as error:
        module.fail_json(msg=str(error))
    except NotApplied as error:
        module.fail_json(msg=str(error), changed=error.changed)
    except Locked as error:
        module.fail_json(msg=f"{module.params['device']}: {error}.")
    except (TcError, OSError) as error:
        module.fail_json(msg=f"{module.params['device']}: could not read its tree: {error}.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
