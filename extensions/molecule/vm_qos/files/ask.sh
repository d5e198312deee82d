#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# usage: ask PASSWORD: has the daemon ask for it, and for the user ann.
set -eu
echo "$1" | saslpasswd2 -p -c -a libvirt -f /etc/libvirt/passwd.db ann
printf 'mech_list: scram-sha-256\nsasldb_path: /etc/libvirt/passwd.db\n' > /etc/sasl2/libvirt.conf
for daemon in virtqemud libvirtd; do
    [ ! -e "/etc/libvirt/$daemon.conf" ] || echo 'auth_unix_rw = "sasl"' >> "/etc/libvirt/$daemon.conf"
done
systemctl try-restart 'libvirtd*.service' 'virtqemud*.service'
