# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares what libvirt, the kernel and traffic say with what they are to say, which is the argument, in JSON.

All of it at once, since on an emulated host each task takes seconds, and so does each start of virsh.
"""

import json
import re
import subprocess
import sys

from telling import said, tell, wrong

WANTED = json.loads(sys.argv[1])


def megabits(address):
    # What the first two seconds carry is the burst; at these rates a big block would be a tenth of the result.
    command = ["iperf3", "-J", "-t", "4", "-O", "2", "-l", "8K", "-c", *address]
    found = json.loads(subprocess.run(command, check=False, stdout=subprocess.PIPE).stdout)
    return found["end"]["sum_received"]["bits_per_second"] / 1e6 if "error" not in found else 0.0


nics = [(nic["domain"], nic["mac"], scope, nic["has"]) for nic in WANTED["limits"] for scope in nic["scopes"]]
# A line a value, always the same seven.
values = re.findall(
    r"\w+\.\w+\s*: (\d+)", said("virsh", "; ".join("domiftune {} {} --{}".format(*nic) for nic in nics))
)
for number, (domain, mac, scope, has) in enumerate(nics):
    found = [int(value) for value in values[number * 7 : number * 7 + 7]]
    tell(found == has, domain, mac, scope, found, "" if found == has else f"instead of {has}")

devices = re.findall(r"vnet\d+", said("virsh", "domiflist guest1"))
for nic, about, line in WANTED["kernel"]:
    # On a tap, what the guest receives is what the host sends.
    shown = said("tc", about, "show", "dev", devices[nic], *(["parent", "ffff:"] if about == "filter" else []))
    lacks = line.startswith("!")
    right = bool(re.search(line.lstrip("!"), shown)) is not lacks
    tell(right, devices[nic], about, line, "" if right else "is not so: " + shown)

for mbit, address in WANTED["streams"]:
    # That it is off for once is the emulation's doing, whose time jumps; what is not limited is too fast each time.
    found = 0.0
    for _attempt in range(3):
        found = found if mbit * 0.6 < found < mbit * 1.05 else megabits(address)
    tell(mbit * 0.6 < found < mbit * 1.05, "iperf3", *address, f"{found:.2f} of {mbit} Mbit/s")

sys.exit(bool(wrong))
