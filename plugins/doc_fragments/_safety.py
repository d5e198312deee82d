# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this document fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

from __future__ import annotations


class ModuleDocFragment:
    """What keeps a change of a device's tree safe; its argument spec is SAFETY in _guard.py."""

    DOCUMENTATION = r"""
options:
  confirm_timeout:
    description:
      - Commit-confirm. How many seconds, from V(5) to V(3600), the controller has to come back over a new connection
        and confirm a change. The host prepares the way back before it changes anything, and brings its old tree back by
        itself if nothing comes, whatever became of Ansible, the controller or the network. The task fails then.
      - Where nothing differs, there is nothing to confirm, and no other connection.
      - Until then other runs on the device fail, and say who holds it.
      - A tree that is brought back is made anew, with C(tc), so what waits in its queues is lost. A root qdisc of
        somebody else that O(replace_root) took away does not come back; the kernel's own does.
      - Without it, what the kernel refuses half-way is undone too, but a change that it accepts stands.
      - It cannot be combined with C(async), nor with connections that stay on the host, such as C(local).
    type: int
    version_added: 0.1.0
  _confirm:
    description:
      - For the action plugin of this name, which says with it what to do of a change with O(confirm_timeout). A task
        that has it is refused.
    type: dict
    version_added: 0.1.0
    suboptions:
      stage:
        description:
          - To change, to confirm that, or to ask what became of it.
        type: str
        choices:
          - arm
          - confirm
          - outcome
        required: true
      token:
        description:
          - The name of the change.
        type: str
        required: true
      by:
        description:
          - Who it is, for the message that somebody else gets meanwhile.
        type: str
  persistent:
    description:
      - Whether the next boot, and the device whenever it appears, bring the tree that this run leaves; with
        O(confirm_timeout), once that is confirmed. It is kept as a C(tc) batch in C(/etc/virtnet-qos), which the
        systemd unit C(virtnet-qos@DEVICE.service) applies.
      - With O(state=absent) for the whole device, they are removed, also where the device itself is gone.
      - Where it is false, nothing of that is touched.
      - Needs systemd, and no O(netns).
    type: bool
    default: false
    version_added: 0.1.0
requirements:
  - tc of iproute2, and flock of util-linux or busybox, for O(confirm_timeout) and O(persistent) only
"""
