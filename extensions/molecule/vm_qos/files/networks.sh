#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Takes all guests off, starts lab-a anew, which is to have the same limits then, and starts guest1 and guest2, which is
# the same with other addresses.
set -eu

limits() {
    tc class show dev virbr-lab-a | grep 'class htb' | sort
    tc filter show dev virbr-lab-a parent ffff: | sed -n 's/.*\(rate .* burst [^ ]*\).*/\1/p'
}

limits > /run/limits
running=$(virsh list --name | sed -n 's/..*/destroy &;/p')
virsh --quiet "$running net-destroy lab-a; net-start lab-a"
limits | diff /run/limits -
cat /run/limits
virsh dumpxml --inactive guest1 |
    sed -e '/<uuid>/d' -e 's/guest1/guest2/' -e 's/\(4c:0[ab]:\|10\.77\.[12]\.\)10/\120/g' > /run/guest2.xml
virsh --quiet 'define /run/guest2.xml; start guest1; start guest2'
