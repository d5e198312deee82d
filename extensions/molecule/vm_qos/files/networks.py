# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares what virsh, tc and iperf3 say of a network with what it is to have, which is the first argument, in JSON.

That is what the module was told. Rates are in mbit, bursts in KiB, and portgroups have an outbound only. The second
argument, in JSON as well, may have:

- ``transfer``: ``start``, ``middle`` or ``end`` of one through guest1, of which some seconds have to be at that rate.
- ``floor`` of guest2, and ``believed``, the inbound average that libvirt reckoned with when it was plugged in.
- ``share``: whether to overload guest1 and guest2 at once.
- ``same``: whether tc is to say the same, word by word, as at the look before.
"""

import json
import re
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

WANTED, BESIDE = map(json.loads, sys.argv[1:])
NAME = WANTED["name"]
BRIDGE = f"virbr-{NAME}"
# What a guest receives, or sends, at no more than an emulated host does on the side. Small buffers, so that what the
# host has sent is what the guest has received.
STREAMS = {"lab-a": ["-c", "10.77.1.10"], "lab-b": ["-R", "-c", "10.77.2.10"]}
LASTING = ["-t", "3600", "-f", "k", "-w", "64K", "-l", "8K", "--fq-rate", "40M"]
LASTING += ["--forceflush", "--timestamps=%s "]
POLICER = r"rate \w+ burst \w+"
SECONDS = 5
UNLIMITED = 25  # Mbit/s, and more than any limit
SAID, TC, NOTES = Path("/run/transfer.txt"), Path(f"/run/tc-{NAME}.txt"), Path("/run/transfer.json")
STARTED = time.time()
wrong = []


def said(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def tell(right, *what):
    wrong.extend([] if right else [what])
    print("as wanted:" if right else "WRONG:", *what)


def number(limit, field="average"):
    """Return it in mbit, or in KiB; 0 for none."""
    found = re.match(r"\d+", limit.get(field, ""))
    return int(found[0]) if found else 0


def element(direction, limit):
    """Return what the definition is to say of a limit, in kB/s and KiB."""
    burst = f" burst='{number(limit, 'burst')}'" if number(limit, "burst") else ""
    return [f"{direction} average='{number(limit) * 125}'{burst}"] if number(limit) else []


def defined(xml):
    return re.findall(r"<((?:in|out)bound [^/]*)/>", xml)


def check_definition(xml):
    own, *groups = xml.split("<portgroup ")
    wanted = [line for name in ("inbound", "outbound") for line in element(name, WANTED.get(name, {}))]
    tell(defined(own) == wanted, NAME, "is defined with", defined(own))
    wanted = [line for group in WANTED.get("portgroups", []) for line in element("outbound", group["outbound"])]
    found = [line for group in groups for line in defined(group)]
    tell(found == wanted, "portgroups of", NAME, "are defined with", found)


def check_policer(device, limit, shown):
    found = re.findall(POLICER, shown)
    wanted = [f"rate {number(limit)}Mbit burst {number(limit, 'burst')}Kb"] if number(limit) else []
    tell(found == wanted, "policer of", device, found, "" if found == wanted else f"instead of {wanted}")


def check_bridge():
    limit, floor = number(WANTED.get("inbound", {})), number(BESIDE, "floor")
    top = number(BESIDE, "believed") or limit
    classes = said("tc", "class", "show", "dev", BRIDGE)
    sent = said("tc", "filter", "show", "dev", BRIDGE)
    received = said("tc", "filter", "show", "dev", BRIDGE, "parent", "ffff:")
    found = dict(re.findall(r"class htb (1:\d) .*(rate \w+ ceil \w+)", classes))
    wanted = {}
    if limit:
        wanted = {"1:1": f"rate {limit}Mbit ceil {limit}Mbit", "1:2": f"rate {top - floor}Mbit ceil {top}Mbit"}
        wanted.update({"1:3": f"rate {floor}Mbit ceil {top}Mbit"} if floor else {})
    tell(found == wanted, "classes of", BRIDGE, found, "" if found == wanted else f"instead of {wanted}")
    tell(("flowid 1:3" in sent) == bool(floor), "filter for", floor, "Mbit/s to guest2")
    check_policer(BRIDGE, WANTED.get("outbound", {}), received)
    # Other than libvirt's, the module's classes come without a filter for packets with mark 1.
    words = "\n".join([*sorted(re.findall("class htb .*", classes)), *re.findall(POLICER, received)])
    before = TC.read_text() if BESIDE.get("same") else words
    tell(words == before, "tc says the same as before" if words == before else f"{words}\ninstead of\n{before}")
    TC.write_text(words)


def check_undisturbed(guest, tap, mac, notes):
    """Nothing was started or plugged in anew since the transfer began, and counters went on."""
    system = Path("/sys/class/net")
    files = [f"{BRIDGE}/ifindex"]
    files += [f"{tap}/{name}" for name in ("ifindex", "address", "carrier", "carrier_changes", "master/ifindex")]
    facts = {"domid": guest, "tap": tap, "mac": mac, **{name: (system / name).read_text().strip() for name in files}}
    counters = {
        name: int((system / tap / "statistics" / name).read_text())
        for name in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")
    }
    first = notes.setdefault("facts", facts)
    tell(facts == first, "undisturbed:", facts, "" if facts == first else f"instead of {first}")
    before = notes.get("counters", dict.fromkeys(counters, 0))
    tell(all(counters[name] >= before[name] for name in counters), "counters go on:", counters)
    notes["counters"] = counters


def seconds():
    """Return each second of the transfer: its begin and end, its rate in Mbit/s, and when that was told."""
    line = r"^(\d+) \[ *\d+\] +([\d.]+)-([\d.]+) +sec .*?([\d.]+) Kbits/sec"
    found = re.findall(line, SAID.read_text(), re.MULTILINE)
    return [(float(begin), float(end), float(rate) / 1000, int(stamp)) for stamp, begin, end, rate in found]


def within(begin, end, told):
    """Return the rates of the seconds that are surely between these: the clock of the host, in whole seconds."""
    return [rate for *_when, rate, stamp in told if begin <= stamp - 1 and stamp + 1 <= end]


def watch(limit, notes):
    """Look at some seconds at the rate that is to be, and write down from when to when."""
    begin = STARTED
    # That it is off for once is the emulation's doing, whose time jumps; what is not limited is too fast each time.
    for _attempt in range(3):
        rates, patience = [], 10 * SECONDS
        while len(rates) < SECONDS and patience:
            time.sleep(1)
            patience -= 1
            end = time.time()
            rates = within(begin, end, seconds())
        mean = sum(rates) / max(len(rates), 1)
        right = (limit * 0.6 < mean < limit * 1.05 if limit else mean > UNLIMITED) and min(rates) > 0
        if right:
            break
        begin = time.time()
    tell(right, f"{mean:.2f} of", limit or "unlimited", "Mbit/s, each second:", *rates)
    notes["windows"] = [*notes.get("windows", []), (begin, end, limit or "none")]


def table(notes):
    """Print the rate over time, and see that there was something in each second."""
    told = seconds()
    print("| limit, Mbit/s | seconds | mean, Mbit/s | each second |\n|---|---|---|---|")
    named = [
        (next((limit for begin, end, limit in notes["windows"] if within(begin, end, [each])), "changes"), each)
        for each in told
    ]
    for name, group in groupby(named, key=lambda each: each[0]):
        part = [each for _name, each in group]
        rates = [rate for *_when, rate, _stamp in part]
        mean, listed = sum(rates) / len(rates), " ".join(f"{rate:.1f}" for rate in rates)
        print(f"| {name} | {part[0][0]:.0f}-{part[-1][1]:.0f} | {mean:.1f} | {listed} |")
    still = [each for each in told if not each[2]]
    tell(not still, f"seconds of {len(told)} without a byte:", still)
    gaps = [pair for pair in zip(told, told[1:]) if pair[1][0] - pair[0][1] > 0.1]
    tell(not gaps, "gaps between them:", gaps)


def transfer(guest, tap, mac):
    stage = BESIDE["transfer"]
    if stage == "start":
        NOTES.write_text("{}")
        command = ["systemd-run", "--quiet", "--collect", "--unit=transfer", "-p", f"StandardOutput=truncate:{SAID}"]
        said(*command, "iperf3", *STREAMS[NAME], *LASTING)
        time.sleep(2)
    notes = json.loads(NOTES.read_text())
    check_undisturbed(guest, tap, mac, notes)
    groups = WANTED.get("portgroups")
    watch(number(groups[0]["outbound"] if groups else WANTED.get("inbound", {})), notes)
    NOTES.write_text(json.dumps(notes))
    state = said("systemctl", "show", "--property=ActiveState", "transfer").strip()
    tell(state == "ActiveState=active", "the transfer goes on:", state)
    tell(SAID.read_text().count("connected to") == 1, "over one connection")
    if stage == "end":
        table(notes)
        said("systemctl", "stop", "transfer")


def share():
    """Overload both guests, the one without a floor with more streams, which would get more of one queue."""
    limit, floor = number(WANTED["inbound"]), number(BESIDE, "floor")
    command = ["iperf3", "-J", "-t", "5", "-O", "3", "-l", "8K", "-c"]
    for _attempt in range(3):
        both = (["10.77.1.10", "-P", "4"], ["10.77.1.20"])
        running = [subprocess.Popen([*command, *each], stdout=subprocess.PIPE) for each in both]
        found = [json.loads(each.communicate()[0]) for each in running]
        sums = [each["end"].get("sum_received", {"bits_per_second": 0}) for each in found]
        other, own = (each["bits_per_second"] / 1e6 for each in sums)
        held = own > floor * 0.9 if floor else own < limit / 2
        right = held and other > (limit - floor) * 0.6 and limit * 0.6 < own + other < limit * 1.05
        if right:
            break
    tell(right, f"of {limit} Mbit/s, guest2 has {own:.2f} with a floor of {floor}, guest1 {other:.2f} in 4 streams")


answer = said("virsh", f"net-dumpxml --inactive {NAME}; domid guest1; domiflist guest1")
row = re.search(rf"^ *(\S+) +network +{NAME} +\S+ +(\S+)", answer, re.MULTILINE)
check_definition(answer)
check_bridge()
if "portgroups" in WANTED:
    # All of its NICs are in the default one.
    shown = said("tc", "filter", "show", "dev", row[1], "parent", "ffff:")
    check_policer(row[1], WANTED["portgroups"][0]["outbound"], shown)
if "transfer" in BESIDE:
    transfer(re.search(r"^(\d+|-)$", answer, re.MULTILINE)[0], *row.groups())
if BESIDE.get("share"):
    share()

sys.exit(bool(wrong))
