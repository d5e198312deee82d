# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What is wrong with what an inventory declares of a host, as far as the host need not be asked.

The variables are read by the roles' own argument specifications, and by the parsers of the modules that get them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_policies import parse_policies
from ansible_collections.virtnet.qos.plugins.module_utils._guard import SECONDS
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import HANDLE, parse
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import SWITCHES, parse_networks
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import check_name
from ansible_collections.virtnet.qos.plugins.plugin_utils._profiles import Resolver, not_a_mapping, stand_in

ROLES = Path(__file__).resolve().parents[2] / "roles"
ALL_ROLES = ("prepare", "host_qos", "network_qos", "vm_qos")
SYSTEM = "qemu:///system"
START = "start it (systemctl start libvirtd, or virtqemud where libvirt is split into daemons)"
UNFIT = {
    "int": ("this is not a whole number", "write one, such as 30"),
    "bool": ("this is neither true nor false", "write one of them"),
    "list": ("this is not a list", "write a list, be it of one element"),
    "str": ("this is not text", "write text, in quotes if need be"),
}


def problems_of(declared: Mapping[str, Any]) -> list[str]:
    """Return all that is wrong with the variables of a host, a sentence each."""
    declared = plain(declared)
    profiles = declared.get("qos_profiles")
    about_profiles = Resolver(profiles, floors=True)
    about_profiles.check_profiles()
    found = [sentence for role in ALL_ROLES for sentence in _plain_options(role, declared)]
    found += [*_devices(declared), *about_profiles.problems.found]
    for role, name in (("network_qos", "networks"), ("vm_qos", "policies")):
        elements = declared.get(f"{role}_{name}", [])
        resolver = Resolver(profiles, floors=role == "vm_qos")
        resolver.elements(elements, f"{role}_{name}")
        found += resolver.problems.found
        if isinstance(elements, (list, tuple)):
            found += _elements(role, name, stand_in(elements))
    return list(dict.fromkeys(found))  # some things are seen twice


def lacking(declared: Mapping[str, Any], has: Iterable[str]) -> list[str]:
    """Return what a host does not have that is declared of it, with which nothing is wrong otherwise, a sentence each.

    It ``has`` network devices, by their names, and sockets of libvirt, by their paths.
    """
    declared, there = plain(declared), dict.fromkeys(has, 0)
    sockets = [name for name in there if "/" in name]
    devices = {name: 0 for name in there if name not in sockets}
    elements, _wrong = _read("host_qos", "devices", declared.get("host_qos_devices", []))
    found = []
    for index, element in enumerate(elements):
        inside = Problems()
        if "absent" not in (declared.get("host_qos_state"), element["state"]):
            check_name(element["device"], devices, inside)
        found += [f"host_qos_devices[{index}].{sentence}" for sentence in inside.found]
    # The role prepare may be about to install it.
    if sockets or re.search(r"(?<![\w-])libvirt", str(declared.get("prepare_packages"))):
        return found
    problems = Problems()
    for variable in ("network_qos_networks", "vm_qos_policies"):
        option = f"{variable.rpartition('_')[0]}_uri"
        if declared.get(variable) and (declared.get(option) or SYSTEM) == SYSTEM:
            problems.add(
                option, SYSTEM, "libvirt is not running here, its socket does not exist", f"correct it, or {START}"
            )
    return found + problems.found[:1]


def misspelt(names: Iterable[str], declared: Iterable[str]) -> dict[str, str]:
    """Return the variables that are none of the roles' but nearly, each with the one that is probably meant.

    One whose like is ``declared`` as well is a variable of somebody's own.
    """
    known = [name for role in ALL_ROLES for name in specification(role)]
    near = {name: get_close_matches(name, known, 1, 0.9) for name in names if name not in known}
    return {name: found[0] for name, found in sorted(near.items()) if found and found[0] not in declared}


def plain(value: Any) -> Any:
    """Return the same in Python's own containers: Ansible's look for templates again with every copy."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


@cache
def specification(role: str) -> dict[str, Any]:
    """Return the rules for the options of a role, by their names."""
    text = (ROLES / role / "meta/argument_specs.yml").read_text(encoding="utf-8")
    options: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


def _plain_options(role: str, declared: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the options of a role that are no profiles, networks and so on."""
    problems = Problems()
    for name, rule in specification(role).items():
        if name not in declared or rule["type"] == "dict" or "options" in rule:
            continue
        value = declared[name]
        if value is None and (rule["type"] != "str" or "default" in rule):
            problems.add(name, None, "nothing is written there", "write a value, or drop the line")
        if value is None:
            continue
        result = ArgumentSpecValidator({name: rule}).validate({name: value})
        if "choices" in rule and (result.error_messages or value == []):
            kind = "a list of these" if rule["type"] == "list" else "one of these"
            problems.add(name, value, f"only {' and '.join(rule['choices'])} are known", f"write {kind}")
        elif result.error_messages:
            problems.add(name, value, *UNFIT[rule["type"]])
        elif name.endswith("_timeout"):
            _seconds(name, result.validated_parameters[name], problems)
    return problems.found


def _seconds(name: str, seconds: int, problems: Problems) -> None:
    """Note what the modules would refuse; both of those that wait take the same."""
    never = name == "host_qos_confirm_timeout"
    if seconds not in SECONDS and not (never and seconds == 0):
        rule = f"not from {SECONDS[0]} to {SECONDS[-1]} seconds"
        more = ", or 0 to make changes at once and for good" if never else ""
        problems.add(name, seconds, rule, f"write a number from {SECONDS[0]} to {SECONDS[-1]}{more}")


def _read(role: str, name: str, value: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a variable of a role as the role has it, or what is wrong with its form."""
    variable = f"{role}_{name}"
    if not isinstance(value, (list, tuple)):
        return [], [f"{variable} {value!r}: this is not a list; write a list, be it of one element."]
    validator = ArgumentSpecValidator({variable: specification(role)[variable]})
    elements: list[dict[str, Any]] = []
    wrong: list[str] = []
    for index, element in enumerate(value):
        path = f"{variable}[{index}]"
        if not isinstance(element, Mapping):
            wrong += not_a_mapping(element, path)
            continue
        result = validator.validate({variable: [element]})
        wrong += [_form(message.replace(variable, path), path) for message in result.error_messages]
        elements += result.validated_parameters[variable] if not wrong else []
    return elements, wrong


def _form(message: str, path: str) -> str:
    """Return what Ansible says of the form of an element as a sentence that begins with its name."""
    option, _dot, supported = message.partition(". Supported parameters include: ")
    if supported:
        return f"{option}: there is no such option; use one of {supported.rstrip('.')}."
    return f"{path}: {message.replace(f' found in {path}', '').rstrip('.')}."


def _elements(role: str, name: str, value: Any) -> Iterable[str]:
    elements, wrong = _read(role, name, value)
    if wrong:
        return wrong
    problems = Problems()
    if name == "policies":
        parse_policies(elements, problems)
    else:
        switches = dict.fromkeys(SWITCHES, False)
        networks = [{**element, **switches, "prune": element["prune"]} for element in elements]
        parse_networks({"networks": networks, "state": "present", **switches}, problems)
    return [f"{role}_{sentence}" for sentence in problems.found]


def _devices(declared: Mapping[str, Any]) -> Iterable[str]:
    elements, wrong = _read("host_qos", "devices", declared.get("host_qos_devices", []))
    if wrong:
        return wrong
    all_go = declared.get("host_qos_state") == "absent"
    problems, found = Problems(), []
    first: dict[str, int] = {}
    for index, element in enumerate(elements):
        path = f"host_qos_devices[{index}]"
        there = first.setdefault(element["device"], index)
        if there != index:
            rule = f"host_qos_devices[{there}] is of this device, too"
            problems.add(f"{path}.device", element["device"], rule, "write all its classes into one element")
        if all_go or element["state"] == "absent":
            continue
        if element["classes"] is None:
            rule = f"{element['device']} has neither classes nor state=absent"
            problems.add(f"{path}.classes", None, rule, "declare its classes, or state: absent to have none")
            continue
        inside = Problems()
        parse({**element, "handle": element["handle"] or HANDLE}, inside)
        found += [f"{path}.{sentence}" for sentence in inside.found]
    return [*problems.found, *found]
