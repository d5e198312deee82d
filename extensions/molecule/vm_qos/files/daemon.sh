#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# usage: daemon name|STOP|CONT: says which one QEMU's guests belong to here, or sends it a signal.
set -eu
# It may end when nobody needs it.
[ "$1" = CONT ] || virsh version > /dev/null
for daemon in virtqemud libvirtd; do
    process=$(systemctl show --property MainPID --value "$daemon.service")
    [ "$process" = 0 ] || break
done
if [ "$1" = name ]; then
    echo "$daemon"
else
    kill "-$1" "$process"
fi
