#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes more guests, which need no operating system to have NICs, in one call of virsh.
set -eu
type=qemu
[ ! -c /dev/kvm ] || type=kvm
directory=$(mktemp -d)

# usage: nic MAC NETWORK [BANDWIDTH]
nic() {
    echo "<interface type='network'><mac address='$1'/><source network='$2'/><model type='virtio'/>${3-}</interface>"
}

# usage: guest NAME NICS [TITLE]
guest() {
    cat > "$directory/$1" << XML
<domain type='$type'><name>$1</name>${3-}<memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
<devices><controller type='usb' model='none'/>$2<memballoon model='none'/></devices></domain>
XML
}

limited="<bandwidth><inbound average='77'/></bandwidth>"
guest web-1 "$(nic 52:54:00:4d:00:11 lab-a)$(nic 52:54:00:4d:00:12 lab-b)"
guest web-2 "$(nic 52:54:00:4d:00:21 lab-a)"
guest night "$(nic 52:54:00:4d:00:31 lab-b)" '<title>batch jobs</title>'
guest brief "$(nic 52:54:00:4c:0b:41 lab-a)"
guest exempt "$(nic 52:54:00:4d:00:51 lab-a "$limited")"
guest bystander "$(nic 52:54:00:4d:00:61 lab-a "$limited")"
cd "$directory"
virsh --quiet 'define web-1; define web-2; define night; define exempt; define bystander; create --paused brief;
    start --paused web-1; start --paused night; start --paused exempt; start --paused bystander'
rm -r "$directory"
