# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches what restarts of the network of guest1's second NIC do to the guest: "begin", and then "look"."""

import json
import re
import sys
from pathlib import Path

from telling import said, tell, wrong

GUEST, BRIDGE, MAC = "10.77.2.10", "virbr-lab-b", "52:54:00:4c:0b:10"
BEFORE, ECHOES = (Path("/run", name) for name in ("before.json", "echoes"))


def tap():
    return re.search(rf"(vnet\d+) .*{MAC}", said("virsh", "domiflist", "guest1")).group(1)


def state():
    """What a restart of the network is not to change."""
    device = tap()
    shown = [said("virsh", "domid", "guest1"), said("virsh", "domiftune", "guest1", MAC, "--live")]
    # Counters and handles made by chance are not compared.
    for about in (["class", "show", "dev", device], ["filter", "show", "dev", device, "parent", "ffff:"]):
        shown.append(re.sub(r"police 0x\w+", "", said("tc", *about)))
    return [device, *shown, Path(f"/sys/class/net/{device}/ifindex").read_text()]


def received():
    return int(Path(f"/sys/class/net/{tap()}/statistics/tx_bytes").read_text())


def begin():
    BEFORE.write_text(json.dumps([state(), received()]))
    unit = ["--quiet", "--unit=echoes", f"--property=StandardOutput=file:{ECHOES}"]
    said("systemd-run", *unit, "ping", "-D", "-i", "0.05", GUEST)


def look():
    said("systemctl", "kill", "--signal=INT", "echoes")
    said("timeout", "30", "sh", "-c", "while systemctl -q is-active echoes; do sleep 0.2; done")
    before, bytes_before = json.loads(BEFORE.read_text())
    after = state()
    tell(after == before, "the guest and the limits of its NIC", *([] if after == before else [before, after]))
    tell(received() > bytes_before, "the counters of its NIC go on")

    times = [float(each) for each in re.findall(r"^\[([0-9.]+)\] .*time=", ECHOES.read_text(), re.MULTILINE)]
    gaps = sorted((later - earlier for earlier, later in zip(times, times[1:])), reverse=True)[:4]
    tell(len(times) > 100 and gaps[0] < 20, len(times), "echoes; the longest pauses:", [round(gap, 2) for gap in gaps])

    shown = said("tc", "class", "show", "dev", BRIDGE)
    tell(
        re.search("class htb 1:2 .*rate 20Mbit ceil 24Mbit burst 64Kb", shown), "what the others share:", shown.strip()
    )
    tell(re.search("class htb 1:[3-9a-f] .*rate 4Mbit", shown), "the floor")
    plugged = said("bridge", "link", "show", "dev", after[0])
    tell(f"master {BRIDGE}" in plugged, "the NIC is on the bridge:", plugged.strip())
    defined = said("virsh", "net-dumpxml", "lab-b")
    tell("<inbound average='3000' burst='64'/>" in defined, "libvirt believes what there is")


begin() if sys.argv[1] == "begin" else look()
sys.exit(bool(wrong))
