# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the guest of kinds.sh with virsh and tc. The argument is its floor in kbit/s, or 0 once that was taken away."""

import re
import subprocess
import sys

FLOOR = int(sys.argv[1])
wrong = []


def said(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def tell(right, *what):
    wrong.extend([] if right else [what])
    print("as wanted:" if right else "WRONG:", *what)


xml = said("virsh", "dumpxml", "kinds")
nics = re.findall(r"<interface .*?</interface>", xml, re.S)
macvtap, _grouped, guaranteed = (re.search("<target dev='([^']*)'", nic).group(1) for nic in nics)

# Not turned round on a macvtap: it sends what the guest sends.
sent, received = said("tc", "class", "show", "dev", macvtap), said("tc", "filter", "show", "dev", macvtap, "parent", "ffff:")
tell(re.search("rate 1600Kbit ceil 3200Kbit", sent), "outbound of", macvtap, sent.strip())
tell(re.search("rate 800Kbit burst 64Kb", received), "inbound of", macvtap, *received.split("\n")[-3:])

bridge = said("tc", "class", "show", "dev", "virbr-kinds")
rest = f"{8000 - FLOOR}Kbit" if (8000 - FLOOR) % 1000 else f"{(8000 - FLOOR) // 1000}Mbit"
tell(re.search(rf"class htb 1:2 .*rate {rest} ", bridge), "the rest of", FLOOR, "kbit/s:", rest, bridge.strip())
floor = f"{FLOOR}Kbit" if FLOOR % 1000 else f"{FLOOR // 1000}Mbit"
tell(bool(re.search(rf"class htb 1:3 .*rate {floor} ", bridge)) == bool(FLOOR), "the floor:", bridge.strip())

policer = said("tc", "filter", "show", "dev", guaranteed, "parent", "ffff:")
tell(bool(re.search("rate 400Kbit", policer)) == bool(FLOOR), "the policer of", guaranteed, policer.strip())
tell("<link state='down'/>" in nics[2] and "<filterref filter='kinds'/>" in nics[2], "link and filter stay:", nics[2])
tell("<link state='down'/>" not in nics[0] + nics[1], "the other links are up")
# What is left of the XML without bandwidths is what it was at the start; a NIC that is plugged anew has another port.
bare = re.sub(r"\n\s*<bandwidth>.*?</bandwidth>| portid='[^']*'", "", xml, flags=re.S)
try:
    with open("/root/kinds.xml") as first:
        tell(first.read() == bare, "all else stays")
except FileNotFoundError:
    with open("/root/kinds.xml", "w") as first:
        first.write(bare)

sys.exit(bool(wrong))
