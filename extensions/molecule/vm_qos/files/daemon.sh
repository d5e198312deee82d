#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# usage: daemon STOP|CONT: sends the one that QEMU's guests belong to here a signal.
set -eu
# It may end when nobody needs it.
[ "$1" = CONT ] || virsh version > /dev/null
for daemon in virtqemud libvirtd; do
    process=$(systemctl show --property MainPID --value "$daemon.service")
    [ "$process" = 0 ] || break
done
kill "-$1" "$process"
