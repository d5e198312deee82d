# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares what virsh, tc and iperf3 say of networks with what they are to have: the first argument, in JSON.

That is what the module was told. Rates are in mbit, bursts in KiB, and portgroups have an outbound only. The second
argument, in JSON as well, may have:

- ``transfer``: ``start``, ``middle`` or ``end`` of those through guest1, one a network. Some seconds of each are looked
  at: they have to be at the rate of the network, or of its portgroup.
- ``daemon``: whether to restart it, and to look again.
- ``floor`` of guest2, and ``believed``, the inbound average that libvirt reckons with.
- ``share``: whether to overload guest1 and guest2 at once.
"""

import json
import re
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

from telling import said, tell, wrong

WANTED, BESIDE = map(json.loads, sys.argv[1:])
# What the guest receives, and what it sends. Buffers are small, so that what the host has sent has been received. More
# than that rate would leave an emulated host little time for anything else.
STREAMS = {"lab-a": ["-c", "10.77.1.10", "--fq-rate", "36M"], "lab-b": ["-R", "-c", "10.77.2.10"]}
LASTING = ["-t", "3600", "-f", "k", "-w", "64K", "-l", "8K", "--forceflush", "--timestamps=%s "]
UNLIMITED = 22  # Mbit/s, which is more than any limit
POLICER = r"rate \w+ burst \w+"
DAEMONS = ["libvirtd*.service", "virtqemud*.service", "virtnetworkd*.service"]
SECONDS, STILL = 5, 4
STARTED = time.time()
NOTES = Path("/run/networks.json")


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


def check_definition(network, xml):
    own, *groups = xml.split("<portgroup ")
    wanted = [line for name in ("inbound", "outbound") for line in element(name, network.get(name, {}))]
    tell(defined(own) == wanted, network["name"], "is defined with", defined(own))
    wanted = [line for group in network.get("portgroups", []) for line in element("outbound", group["outbound"])]
    found = [line for group in groups for line in defined(group)]
    tell(found == wanted, "portgroups of", network["name"], "are defined with", found)


def check_policer(device, limit):
    found = re.findall(POLICER, said("tc", "filter", "show", "dev", device, "parent", "ffff:"))
    wanted = [f"rate {number(limit)}Mbit burst {number(limit, 'burst')}Kb"] if number(limit) else []
    tell(found == wanted, "policer of", device, found, "" if found == wanted else f"instead of {wanted}")


def check_bridge(network):
    bridge, limit, floor = f"virbr-{network['name']}", number(network.get("inbound", {})), number(BESIDE, "floor")
    top = number(BESIDE, "believed") or limit
    found = dict(re.findall(r"class htb (1:\d) .*(rate \w+ ceil \w+)", said("tc", "class", "show", "dev", bridge)))
    wanted = {}
    if limit:
        wanted = {"1:1": f"rate {limit}Mbit ceil {limit}Mbit", "1:2": f"rate {top - floor}Mbit ceil {top}Mbit"}
        wanted.update({"1:3": f"rate {floor}Mbit ceil {top}Mbit"} if floor else {})
    tell(found == wanted, "classes of", bridge, found, "" if found == wanted else f"instead of {wanted}")
    if floor:
        tell("flowid 1:3" in said("tc", "filter", "show", "dev", bridge), "a filter for what is guaranteed")
    check_policer(bridge, network.get("outbound", {}))


def look():
    """Return the id of guest1, and its device and MAC address by network."""
    names = [network["name"] for network in WANTED]
    commands = ["domid guest1", "domiflist guest1", *(f"net-dumpxml --inactive {name}" for name in names)]
    guest, *definitions = said("virsh", "; ".join(commands)).split("<network")
    rows = {name: re.search(rf"^ *(\S+) +network +{name} +\S+ +(\S+)", guest, re.MULTILINE) for name in names}
    nics = {name: row.groups() for name, row in rows.items()}
    for network, xml in zip(WANTED, definitions):
        check_definition(network, xml)
        check_bridge(network)
        for group in network.get("portgroups", []):
            check_policer(nics[network["name"]][0], group["outbound"])
    return guest.split()[0], nics


def check_undisturbed(guest, name, nic, notes):
    """Nothing was started or plugged in anew since the transfer began, and counters went on."""
    system, tap, bridge = Path("/sys/class/net"), nic[0], f"virbr-{name}"
    files = [f"{bridge}/ifindex"]
    files += [f"{tap}/{each}" for each in ("ifindex", "address", "carrier", "carrier_changes", "master/ifindex")]
    facts = {"guest": guest, "nic": list(nic), **{each: (system / each).read_text().strip() for each in files}}
    counters = {
        each: int((system / tap / "statistics" / each).read_text())
        for each in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")
    }
    first, before = notes.setdefault("facts", facts), notes.get("counters", counters)
    tell(facts == first, "undisturbed:", facts, "" if facts == first else f"instead of {first}")
    tell(all(counters[each] >= before[each] for each in counters), "counters go on:", counters)
    notes["counters"] = counters
    state = said("systemctl", "show", "--property=ActiveState", f"transfer-{name}").strip()
    tell(state == "ActiveState=active", "its transfer goes on:", state)
    tell(report(name).read_text().count("connected to") == 1, "over one connection")


def report(name):
    return Path(f"/run/transfer-{name}.txt")


def seconds(name):
    """Return each second of a transfer: its begin and end, its rate in Mbit/s, and when that was told."""
    line = r"^(\d+) \[ *\d+\] +([\d.]+)-([\d.]+) +sec .*?([\d.]+) Kbits/sec"
    found = re.findall(line, report(name).read_text(), re.MULTILINE)
    return [(float(begin), float(end), float(rate) / 1000, int(stamp)) for stamp, begin, end, rate in found]


def within(begin, end, told):
    """Return the rates of the seconds that are surely between these: the clock of the host, in whole seconds."""
    return [rate for *_when, rate, stamp in told if begin <= stamp - 1 and stamp + 1 <= end]


def watch(network, notes):
    """Look at some seconds at the rate that is to be, and write down from when to when."""
    name, groups = network["name"], network.get("portgroups")
    limit = number(groups[0]["outbound"] if groups else network.get("inbound", {}))
    begin = STARTED
    # That it is off for once is the emulation's doing, whose time jumps; what is not limited is too fast each time.
    for _attempt in range(3):
        rates, patience = [], 10 * SECONDS
        while len(rates) < SECONDS and patience:
            end = time.time()
            rates = within(begin, end, seconds(name))
            time.sleep(len(rates) < SECONDS)
            patience -= 1
        mean = sum(rates) / max(len(rates), 1)
        right = (limit * 0.6 < mean < limit * 1.05 if limit else mean > UNLIMITED) and min(rates) > 0
        if right:
            break
        begin = time.time()
    tell(right, name, f"{mean:.2f} of", limit or "unlimited", "Mbit/s, each second:", *rates)
    notes.setdefault("windows", []).append((begin, end, limit or "none"))


def table(name, notes):
    """Print the rate over time, and see that nothing stood still, which takes an emulated host a second or two."""
    told = seconds(name)
    print("| limit, Mbit/s | seconds | mean, Mbit/s | each second |\n|---|---|---|---|")
    named = [
        (next((limit for begin, end, limit in notes["windows"] if within(begin, end, [each])), "changes"), each)
        for each in told
    ]
    for limit, group in groupby(named, key=lambda each: each[0]):
        part = [each for _limit, each in group]
        rates = [rate for *_when, rate, _stamp in part]
        mean, listed = sum(rates) / len(rates), " ".join(f"{rate:.1f}" for rate in rates)
        print(f"| {limit} | {part[0][0]:.0f}-{part[-1][1]:.0f} | {mean:.1f} | {listed} |")
    runs = [[each[0] for each in group] for rate, group in groupby(told, key=lambda each: each[2]) if not rate]
    tell(all(len(each) < STILL for each in runs), f"seconds of {len(told)} without a byte:", runs)
    gaps = [pair for pair in zip(told, told[1:]) if pair[1][0] - pair[0][1] > 0.1]
    tell(not gaps, "gaps between them:", gaps)


def start():
    for network in WANTED:
        name = network["name"]
        unit = ["--quiet", "--collect", f"--unit=transfer-{name}"]
        output = f"--property=StandardOutput=truncate:{report(name)}"
        said("systemd-run", *unit, output, "iperf3", *STREAMS[name], *LASTING)
    NOTES.write_text(json.dumps({network["name"]: {} for network in WANTED}))


def watch_all(guest, nics):
    notes = json.loads(NOTES.read_text())
    for network in WANTED:
        watch(network, notes[network["name"]])
    for name, nic in nics.items():
        check_undisturbed(guest, name, nic, notes[name])
        if BESIDE["transfer"] == "end":
            table(name, notes[name])
            said("systemctl", "stop", f"transfer-{name}")
    NOTES.write_text(json.dumps(notes))


def sent():
    """Return what the classes have sent to guest1, which has no floor, and to guest2; and when, in seconds."""
    shown = said("tc", "-s", "class", "show", "dev", "virbr-lab-a")
    return [*(int(re.search(rf"class htb {each} .*\n Sent (\d+)", shown)[1]) for each in ("1:2", "1:3")), time.time()]


def share():
    """Overload both guests at once, guest1 with more streams. What arrives is counted by tc: guests' clocks jump."""
    limit, floor = number(WANTED[0]["inbound"]), number(BESIDE, "floor")
    command = ["iperf3", "-t", "60", "-w", "32K", "-l", "8K", "-c"]
    running = [
        subprocess.Popen([*command, *each], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for each in (["10.77.1.10", "-P", "4"], ["10.77.1.20"])
    ]
    time.sleep(3)
    for _attempt in range(3):
        before = sent()
        time.sleep(SECONDS)
        other, own, took = (after - each for each, after in zip(before, sent()))
        other, own = (8e-6 * each / took for each in (other, own))
        right = own > floor * 0.9 and other > (limit - floor) * 0.4 and limit * 0.7 < own + other < limit * 1.05
        if right:
            break
    tell(right, f"of {limit} Mbit/s, guest2 has {own:.2f} with a floor of {floor}, guest1 {other:.2f} in 4 streams")
    for each in running:
        each.terminate()


if BESIDE.get("transfer") == "start":
    start()
seen = look()
if BESIDE.get("share"):
    share()
if BESIDE.get("daemon"):
    said("systemctl", "try-restart", *DAEMONS)
    tell(look() == seen, "all of that after a restart of the daemon")
    if BESIDE.get("share"):
        share()
if "transfer" in BESIDE:
    watch_all(*seen)

sys.exit(bool(wrong))
