#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# usage: listen DIRECTORY: has libvirt listen for TLS with the certificates there.
set -eu
mkdir -p /etc/pki/CA /etc/pki/libvirt/private
cp "$1/cacert.pem" /etc/pki/CA/
cp "$1/servercert.pem" /etc/pki/libvirt/
cp "$1/serverkey.pem" /etc/pki/libvirt/private/
for daemon in libvirtd virtproxyd; do
    systemctl is-active --quiet "$daemon.socket" || continue
    systemctl stop "$daemon.service"
    systemctl start "$daemon-tls.socket"
    exit 0
done
exit 1
