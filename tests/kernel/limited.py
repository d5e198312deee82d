# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What libvirt has tc(8) make, and what it is to be read as.

A kernel reads it in the kernel lab, and the unit tests from what one answered there (record.py).
"""

from __future__ import annotations

from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Limits, Shape

# A tap, inbound 1000/2000/128 and outbound 77
TAP = """\
qdisc add dev vnet0 root handle 1: htb default 1
class add dev vnet0 parent 1: classid 1:1 htb rate 1000kbps ceil 2000kbps burst 128kb quantum 85
qdisc add dev vnet0 parent 1:1 handle 2: sfq perturb 10
filter add dev vnet0 parent 1:0 protocol all prio 1 handle 1 fw flowid 1
qdisc add dev vnet0 ingress
filter add dev vnet0 parent ffff: protocol all u32 match u32 0 0 police rate 77kbps burst 77kb mtu 64kb drop flowid :1
"""
UNSHAPED = "qdisc replace dev vnet0 root handle 0: noqueue\n"
# A network, inbound 1000/5000/5120 and outbound 128/256/256, with a floor of 200 for 52:54:00:00:00:04
BRIDGE = """\
qdisc add dev virbrq root handle 1: htb default 2
class add dev virbrq parent 1: classid 1:1 htb rate 1000kbps ceil 5000kbps quantum 85
class add dev virbrq parent 1:1 classid 1:2 htb rate 1000kbps ceil 5000kbps burst 5120kb quantum 85
qdisc add dev virbrq parent 1:2 handle 2: sfq perturb 10
filter add dev virbrq parent 1:0 protocol all prio 1 handle 1 fw flowid 1
qdisc add dev virbrq ingress
filter add dev virbrq parent ffff: protocol all u32 match u32 0 0\
 police rate 128kbps burst 256kb mtu 64kb drop flowid :1
class add dev virbrq parent 1:1 classid 1:3 htb rate 200kbps ceil 5000kbps quantum 25
qdisc add dev virbrq parent 1:3 handle 3: sfq perturb 10
filter add dev virbrq protocol ip prio 2 handle 800::803 u32 match u16 0x0800 0xffff at -2\
 match u32 0x00000004 0xffffffff at -12 match u16 0x5254 0xffff at -14 flowid 1:3
class change dev virbrq classid 1:2 htb rate 4800kbps ceil 5000kbps burst 5120kb quantum 85
"""
# What the nftables backend of libvirt's networks makes without any bandwidth
CHECKSUMS = """\
qdisc add dev virbrq root handle 1: htb default 2
filter add dev virbrq prio 2 protocol ip parent 1: u32 match ip dport 68 ffff action csum ip and udp
"""
# Policers that are not for every packet, or drop nothing
PARTIAL = """\
qdisc add dev vnet0 ingress
filter add dev vnet0 parent ffff: protocol ip prio 1 u32 match u32 0 0 police rate 1kbps burst 1kb drop flowid :1
filter add dev vnet0 parent ffff: protocol all prio 2 u32 match ip dport 53 ffff\
 police rate 2kbps burst 2kb drop flowid :1
filter add dev vnet0 parent ffff: protocol all prio 3 u32 match u32 0 0 police rate 3kbps burst 3kb continue flowid :1
"""

LIMITED: dict[str, tuple[str, Limits]] = {
    "tap": (TAP, Limits(Shape(1_000_000, 2_000_000, 131_072), Shape(77_000, 77_000, 78_848))),
    "unshaped": (UNSHAPED, Limits()),
    "bridge": (
        BRIDGE,
        Limits(
            Shape(1_000_000, 5_000_000, 5_242_877),
            Shape(128_000, 128_000, 256 * 1024),
            {"52:54:00:00:00:04": 200_000},
        ),
    ),
    "checksums": (CHECKSUMS, Limits()),
    "partial": (PARTIAL, Limits()),
    "received": ("\n".join(TAP.splitlines()[4:]) + "\n", Limits(None, Shape(77_000, 77_000, 78_848))),
}
