#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Defines, starts, destroys and undefines guests until there is /run/enough, leaves churn-1 running, and says what it did.
set -eu
type=qemu
[ ! -c /dev/kvm ] || type=kvm
directory=$(mktemp -d)
for number in 1 2 3; do
    cat > "$directory/$number.xml" << XML
<domain type='$type'><name>churn-$number</name><memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
<devices><controller type='usb' model='none'/><interface type='network'><mac address='52:54:00:4e:00:0$number'/>
<source network='lab-a'/><model type='virtio'/></interface><memballoon model='none'/></devices></domain>
XML
done
started=0 ended=0
until [ -e /run/enough ]; do
    # One that is defined, and its definition goes while it runs; one that is defined and stays so; one that is transient.
    virsh --quiet "define $directory/1.xml; define $directory/2.xml; start --paused churn-1; undefine churn-1; create --paused $directory/3.xml"
    started=$((started + 2))
    virsh --quiet "destroy churn-1; start --paused churn-2; destroy churn-3; destroy churn-2; undefine churn-2"
    started=$((started + 1)) ended=$((ended + 3))
done
virsh --quiet "define $directory/1.xml; start --paused churn-1"
rm -r "$directory"
echo "$started guests started, $ended ended"
