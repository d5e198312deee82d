# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the guest of kinds.sh, and at its network, with virsh and tc.

The arguments are its floor, or 0 once that was taken away, and what class 1:2 of the network shares with it, in kbit/s.
"""

import re
import sys
from pathlib import Path

from telling import said, tell, wrong

FLOOR, NETWORK = map(int, sys.argv[1:])


def rate(kbit):
    return f"rate {kbit}Kbit " if kbit % 1000 else f"rate {kbit // 1000}Mbit "


def classes(device):
    return said("tc", "class", "show", "dev", device)


def received(device):
    return said("tc", "filter", "show", "dev", device, "parent", "ffff:")


xml = said("virsh", "dumpxml", "kinds")
nics = re.findall(r"<interface .*?</interface>", xml, re.DOTALL)
macvtap, grouped, guaranteed = (re.search("<target dev='([^']*)'", nic).group(1) for nic in nics)

# Not turned round on a macvtap: it sends what the guest sends.
shown = classes(macvtap)
tell(re.search("rate 1600Kbit ceil 3200Kbit", shown), "outbound of", macvtap, shown.strip())
shown = received(macvtap)
tell(re.search("rate 800Kbit burst 64Kb", shown), "inbound of", macvtap, *shown.split("\n")[-3:])

shown = classes("virbr-kinds")
tell(re.search(rf"class htb 1:2 .*{rate(NETWORK - FLOOR)}", shown), "the rest of", FLOOR, "kbit/s:", shown.strip())
tell(bool(re.search(rf"class htb 1:3 .*{rate(FLOOR)}", shown)) == bool(FLOOR), "the floor:", shown.strip())
if NETWORK > 8000:
    defined = said("virsh", "net-dumpxml", "--inactive", "kinds")
    tell("<inbound average='2000' peak='3000' burst='256'/>" in defined, "the definition of the network")
    shown = classes(grouped)
    tell("rate 640Kbit" in shown, "what the portgroup gives:", shown.strip())
    # libvirt 12.4 and later would leave it.
    shown = received(grouped)
    tell("police" not in shown, "what the portgroup gives no more:", shown.strip())
    shown = received("virbr-kinds")
    tell("rate 12Mbit" in shown, "what guests send:", *shown.split("\n")[-3:])

shown = received(guaranteed)
tell(("rate 400Kbit" in shown) == bool(FLOOR), "the policer of", guaranteed, shown.strip())
tell("<link state='down'/>" in nics[2] and "<filterref filter='kinds'/>" in nics[2], "link and filter stay:", nics[2])
tell("<link state='down'/>" not in nics[0] + nics[1], "the other links are up")
# What is left of the XML without bandwidths is what it was at the start; a NIC that is plugged anew has another port.
bare = re.sub(r"\n\s*<bandwidth>.*?</bandwidth>| portid='[^']*'", "", xml, flags=re.DOTALL)
first = Path("/run/kinds.xml")
if first.exists():
    tell(first.read_text() == bare, "all else stays")
else:
    first.write_text(bare)

sys.exit(bool(wrong))
