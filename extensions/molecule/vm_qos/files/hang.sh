#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Lets the daemon go on, defines guests with many NICs, and stops it as soon as one of these definitions is written again.
set -eu
for daemon in virtqemud libvirtd; do
    process=$(systemctl show --property MainPID --value "$daemon.service")
    [ "$process" = 0 ] || break
done
kill -CONT "$process"
directory=$(mktemp -d)
cd "$directory"
for guest in 1 2 3 4; do
    {
        echo "<domain type='qemu'><name>wide-$guest</name><memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>"
        echo "<devices><controller type='usb' model='none'/><memballoon model='none'/>"
        for nic in $(seq 10 34); do
            echo "<interface type='network'><mac address='52:54:00:4f:0$guest:$nic'/><source network='lab-a'/><model type='virtio'/></interface>"
        done
        echo "</devices></domain>"
    } > "$guest"
done
virsh --quiet 'define 1; define 2; define 3; define 4'
touch now
systemd-run --quiet --collect sh -c "until find /etc/libvirt/qemu -name 'wide-*.xml' -newer $directory/now | grep -q .; do :; done; kill -STOP $process"
