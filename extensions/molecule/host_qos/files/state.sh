#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# What the collection could leave on a host, as tc, find and systemctl say: the same text whenever the host is the same.
set -eu
export LC_ALL=C
echo "# qdiscs"
tc qdisc show | sort
for device in uplink0 "$1"; do
    echo "# classes and filters of $device"
    # Not the flows that happen to be in a queue, nor how the kernel numbers actions
    tc class show dev "$device" | grep -v '^class fq_codel' | sort
    tc filter show dev "$device" | sed 's/^\(\s*\)index [0-9]*/\1index/'
done
echo "# /etc"
find /etc -xdev -type f -exec sha256sum {} + | sort -k 2
find /etc -xdev ! -type f -printf '%M %p %l\n' | sort -k 2
find /etc -xdev -type f -path '*virtnet*' -printf '%M %u %p\n' | sort
echo "# units"
systemctl list-unit-files --no-legend --no-pager 'virtnet-qos@*' | tr -s ' ' | sort
systemctl list-units --all --no-legend --no-pager --plain 'virtnet-qos@*' | cut -d ' ' -f 1 | sort
