# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""How much of uplinks and networks is guaranteed and promised, beside what they can give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, Scale
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import Finding
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_read import Answers

BITS = Scale(1, 0, 2**80, "sums of rates are in whole bit/s")


def bits(rate: str) -> int:
    """Return a rate, or what a curve comes to in the end, in bit/s."""
    return RATE.parse(rate.rpartition("m2 ")[2], BITS)


def text(rate: int) -> str:
    """Return bit/s as text."""
    return RATE.format(rate, BITS)


def uplinks(answers: Answers) -> list[dict[str, Any]]:
    """Return the devices with an HFSC tree, with what their classes are guaranteed."""
    declared = answers.named("host_qos")
    return [
        {
            "device": each["device"],
            "declared": None if declared is None else each["device"] in declared,
            "speed": each["speed"],
            "capacity": _rate(_capacity(each)),
            "guaranteed": text(sum(map(_guaranteed, each["tree"]))),
            "classes": list(_classes(each["tree"])),
        }
        for each in answers.devices
        if each["managed"]
    ]


def _rate(rate: int | None) -> str | None:
    return None if rate is None else text(rate)


def _capacity(device: Mapping[str, Any]) -> int | None:
    """Return what a device can send: as fast as its link is, or as the one class allows that has all others in it."""
    top = device["tree"][0] if len(device["tree"]) == 1 else {}
    known = [bits(rate) for rate in (device["speed"], top.get("ul")) if rate]
    return min(known) if known else None


def _guaranteed(node: Mapping[str, Any]) -> int:
    """Return what is guaranteed in a class; the kernel looks only at classes without others in them."""
    if node["children"]:
        return sum(map(_guaranteed, node["children"]))
    return bits(node["rt"]) if "rt" in node else 0


def _classes(nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        if node["children"]:
            yield from _classes(node["children"])
        else:
            curves = {key: node.get(key) for key in ("rt", "ls", "ul")}
            yield {"name": node["name"], "classid": node["classid"], **curves}


def networks(answers: Answers) -> list[dict[str, Any]]:
    """Return the virtual networks, with what is guaranteed and promised to the NICs on them."""
    promised = _promised(answers, "network")
    return [_network(each, promised.get(each["name"], {})) for each in answers.libvirt.get("networks", [])]


def _network(network: Mapping[str, Any], promised: Mapping[str, Any]) -> dict[str, Any]:
    now = network["live"] or network["config"]
    inbound = now["inbound"] if now else {"average": "unlimited"}
    # What libvirt shares out is the peak, if there is one; what guests can count on together is the average.
    share, average = inbound.get("peak", inbound["average"]), inbound["average"]
    if average == "unlimited" and network["enforced"]:
        # libvirt says what a network was started with; its bridge may have been limited since.
        average = network["enforced"]["inbound"]["average"] or average
    used, capacity = bits(network["floors"]["used"]), None if share == "unlimited" else bits(share)
    return {
        "name": network["name"],
        "bridge": network["bridge"],
        "active": network["active"],
        "capacity": _rate(capacity),
        "average": None if average == "unlimited" else average,
        "guaranteed": network["floors"]["used"],
        "left": None if capacity is None else text(max(capacity - used, 0)),
        "nics": promised.get("nics", 0),
        "promised": {direction: promised.get(direction, "0bit") for direction in ("inbound", "outbound")},
    }


def bridges(answers: Answers) -> list[dict[str, Any]]:
    """Return the bridges that no virtual network has, with what is promised to the NICs on them."""
    rows = answers.libvirt.get("summary", {}).get("promised", [])
    return [
        {
            "bridge": each["bridge"],
            "nics": each["nics"],
            "promised": {direction: each[direction] for direction in ("inbound", "outbound")},
        }
        for each in rows
        if each["bridge"] and not each["network"]
    ]


def _promised(answers: Answers, key: str) -> dict[str, dict[str, Any]]:
    """Sum up what is promised, by network; one that moved to another bridge is there twice."""
    sums: dict[str, dict[str, Any]] = {}
    for each in answers.libvirt.get("summary", {}).get("promised", []):
        total = sums.setdefault(each[key], {"nics": 0, "inbound": "0bit", "outbound": "0bit"})
        total["nics"] += each["nics"]
        for direction in ("inbound", "outbound"):
            total[direction] = text(bits(total[direction]) + bits(each[direction]))
    return sums


def overcommitted(answers: Answers) -> Iterator[Finding]:
    """Tell the uplinks, classes and networks that cannot give what is guaranteed, or promised."""
    # Somebody who allows it in the inventory knows of it.
    allowed = [
        str(each.get("device"))
        for each in answers.declared.get("host_qos", [])
        if boolean(each.get("allow_overcommit"), strict=False)
    ]
    for device in answers.devices:
        if device["managed"]:
            kind = "oversubscribed" if device["device"] in allowed else "overcommitted"
            yield from _classes_over(answers.name, kind, device)
    for each in networks(answers):
        about, what = {"network": each["name"]}, f"network {each['name']}"
        if each["capacity"] and bits(each["guaranteed"]) > bits(each["capacity"]):
            message = f"{each['guaranteed']} are guaranteed to NICs by floors, it has {each['capacity']} inbound"
            yield Finding(answers.name, "overcommitted", what, message, about)
        if each["average"] and bits(each["promised"]["inbound"]) > bits(each["average"]):
            message = (
                f"its {each['nics']} NICs may receive {each['promised']['inbound']} together, "
                f"it has {each['average']} inbound"
            )
            yield Finding(answers.name, "oversubscribed", what, message, about)


def _classes_over(host: str, kind: str, device: Mapping[str, Any]) -> Iterator[Finding]:
    name, capacity = device["device"], _capacity(device)
    guaranteed = sum(map(_guaranteed, device["tree"]))
    if capacity is not None and guaranteed > capacity:
        message = f"{text(guaranteed)} are guaranteed by rt curves, it can send {text(capacity)}"
        yield Finding(host, kind, f"uplink {name}", message, {"device": name})
    # The one class that has all others in it has been told as the device.
    top = device["tree"]
    pending = list(top if len(top) > 1 else top[0]["children"] if top else [])
    while pending:
        node = pending.pop(0)
        inside = _guaranteed(node)
        if "ul" in node and inside > bits(node["ul"]):
            message = f"{text(inside)} are guaranteed in it, its ul is {text(bits(node['ul']))}"
            about = {"device": name, "id": node["classid"]}
            yield Finding(host, kind, f"{name} class {node['classid']}", message, about)
        pending += node["children"]
