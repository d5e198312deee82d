#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes a guest with NICs that the others have not: a macvtap, one in a portgroup with limits, and one with a link that is
# down and a filter, on a network that has floors to give.
set -eu
type=qemu
[ ! -c /dev/kvm ] || type=kvm
directory=$(mktemp -d)
cd "$directory"
ip link add kinds0 type dummy
ip link set kinds0 up
cat > network << XML
<network><name>kinds</name><forward mode='open'/><bridge name='virbr-kinds'/><dns enable='no'/>
<ip address='10.99.9.1' netmask='255.255.255.0'/><bandwidth><inbound average='1000'/></bandwidth>
<portgroup name='gold'><bandwidth><inbound average='40'/><outbound average='50'/></bandwidth></portgroup></network>
XML
cat > filter << XML
<filter name='kinds' chain='root'><rule action='accept' direction='inout' priority='500'><all/></rule></filter>
XML
cat > guest << XML
<domain type='$type'><name>kinds</name><memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
<devices><controller type='usb' model='none'/>
<interface type='direct'><mac address='52:54:00:4f:00:01'/><source dev='kinds0' mode='bridge'/><model type='virtio'/></interface>
<interface type='network'><mac address='52:54:00:4f:00:02'/><source network='kinds' portgroup='gold'/><model type='virtio'/></interface>
<interface type='network'><mac address='52:54:00:4f:00:03'/><source network='kinds'/><model type='virtio'/>
<filterref filter='kinds'/><link state='down'/></interface><memballoon model='none'/></devices></domain>
XML
virsh --quiet 'net-define network; net-start kinds; nwfilter-define filter; define guest; start --paused kinds'
# Not every host has a client. What is printed is where to find libvirt.
if command -v ssh > /dev/null; then
    ssh-keygen -q -t ed25519 -N '' -f /run/kinds.key
    mkdir -p ~/.ssh
    chmod 700 ~/.ssh
    cat /run/kinds.key.pub >> ~/.ssh/authorized_keys
    echo 'qemu+ssh://root@localhost/system?keyfile=/run/kinds.key&no_verify=1'
else
    echo qemu:///system
fi
cd /
rm -r "$directory"
