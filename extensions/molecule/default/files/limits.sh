# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# All that a run can change: what libvirt and the kernel have now, and what the next boot brings.
set -e
virsh dumpxml guest1
virsh dumpxml --inactive guest1
virsh net-dumpxml --inactive lab-a
for device in uplink0 virbr-lab-a $(virsh domiflist guest1 | awk '/lab-/ {print $1}'); do
  # Not the flows that happen to be in a queue, nor how the kernel numbers actions
  for object in qdisc class; do tc $object show dev "$device" | grep -v '^class fq_codel' | sort; done
  for side in '' ingress; do tc filter show dev "$device" $side | sed 's/^\(\s*\)index [0-9]*/\1index/'; done
done
cat /etc/virtnet-qos/*.tc 2>&1
