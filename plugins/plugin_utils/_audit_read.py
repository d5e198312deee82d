# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What the tasks of an audit answered on a host, with what did not work as one clear line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.errors import AnsibleError
from jinja2 import TemplateError, Undefined

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import Finding
from ansible_collections.virtnet.qos.plugins.plugin_utils._declared import plain, problems_of, specification
from ansible_collections.virtnet.qos.plugins.plugin_utils._outcome import said

KERNEL, LIBVIRT = "__qos_audit_kernel", "__qos_audit_libvirt"
READ = {KERNEL: ("traffic classes", "devices"), LIBVIRT: ("libvirt", "interfaces")}  # and what is in an answer
FAILED = "__qos_audit_failed"  # what each role said that failed, by its name
# What is looked at of a result; with all of it would come what ansible-core deprecates, each with a warning.
ANSWERED = (
    *("unreachable", "failed", "msg", "rc", "module_stdout", "module_stderr", "_ansible_parsed"),
    *("results", "devices", "interfaces", "networks", "considered", "summary"),
)
# What Ansible says of options before a role, or its module, can say more.
UNTYPED = ("Validation of arguments failed", "argument '")
UNDEFINED = ("is undefined", "has no attribute")
ROLES = {"host_qos": KERNEL, "network_qos": LIBVIRT, "vm_qos": LIBVIRT}  # and what it takes to apply it
DECLARED = {"host_qos": "host_qos_devices", "network_qos": "network_qos_networks", "vm_qos": "vm_qos_policies"}
NAMED = {"host_qos": "device", "network_qos": "name"}  # and what an element of it is known by


@dataclass(frozen=True)
class Answers:
    """What is known of a host; what could not be read is empty."""

    name: str
    devices: list[dict[str, Any]] = field(default_factory=list)
    libvirt: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)  # what roles said
    declared: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    trouble: list[Finding] = field(default_factory=list)

    @property
    def compared(self) -> bool:
        """Whether its NICs were compared with what is declared."""
        nics = self.roles.get("vm_qos", {})
        return "vm_qos" not in self.failed and not (nics.get("failed") or nics.get("unreachable"))

    @property
    def looked_at(self) -> bool:
        """Whether all of it could be read."""
        return not any(each.kind in ("unreachable", "unreadable") for each in self.trouble)

    def named(self, role: str) -> set[str] | None:
        """Return the devices or networks that the inventory names; None where nobody can read which."""
        elements = self.declared.get(role)
        # As the role itself reads them: a number is a name, too.
        return None if elements is None else {str(each.get(NAMED[role])) for each in elements}


def read(name: str, variables: Mapping[str, Any]) -> Answers:
    """Return what is known of a host by its variables, those that the audit registered among them."""
    results = {key: _mapping(variables, key, ANSWERED) for key in (*READ, *(f"{role}_result" for role in ROLES))}
    lost = [each for each in results.values() if each.get("unreachable")]
    declared, wrong = _declared(variables)
    answers = Answers(
        name,
        results[KERNEL].get("devices") or [],
        results[LIBVIRT] if "interfaces" in results[LIBVIRT] else {},
        {role: results[f"{role}_result"] for role in ROLES},
        _mapping(variables, FAILED, ROLES),
        declared,
    )
    if lost:
        answers.trouble.append(Finding(name, "unreachable", "host", line(str(lost[0].get("msg", "")))))
        return answers
    # Where no module could be run at all, nothing else was asked.
    asked = [KERNEL] if results[KERNEL].get("failed") else READ
    unread = {key: said(results[key]) for key in asked if READ[key][1] not in results[key]}
    told: set[str] = set()
    for key, text in unread.items():
        # Without libvirt there is nothing to miss on a host for which nothing of libvirt is declared.
        needed = key == KERNEL or declared.get("network_qos", True) or _policed(variables)
        if text not in told:
            told.add(text)
            answers.trouble.append(Finding(name, "unreadable" if needed else "unknown", READ[key][0], line(text)))
    unreadable = (Finding(name, "refused", DECLARED[role], text, {"role": role}) for role, text in wrong.items())
    for each in (*_refused(answers, variables, unread), *unreadable):
        # Two roles read the profiles; and most of what cannot be read here, the roles have refused.
        if (each.what, each.message) not in {(other.what, other.message) for other in answers.trouble}:
            answers.trouble.append(each)
    return answers


def line(text: str) -> str:
    """Return a message in one line."""
    return " ".join(text.removeprefix("Task failed: ").split())


def _mapping(variables: Mapping[str, Any], name: str, keys: Iterable[str]) -> dict[str, Any]:
    """Return what a variable has of these keys."""
    found = variables.get(name)
    return {key: found[key] for key in keys if key in found} if isinstance(found, Mapping) else {}


def _declared(variables: Mapping[str, Any]) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Return the devices and networks of the inventory, as far as they are lists, and what is wrong with others."""
    values, wrong = _options(variables, [DECLARED[role] for role in NAMED])
    lists = {role: values.get(DECLARED[role], []) for role in NAMED if DECLARED[role] not in wrong}
    declared = {
        role: [each for each in value if isinstance(each, dict)]
        for role, value in lists.items()
        if isinstance(value, list)
    }
    return declared, {role: wrong[DECLARED[role]] for role in NAMED if DECLARED[role] in wrong}


def _policed(variables: Mapping[str, Any]) -> bool:
    """Whether there are policies, or what nobody can read."""
    values, wrong = _options(variables, [DECLARED["vm_qos"]])
    return bool(wrong or values.get(DECLARED["vm_qos"]))


def _options(variables: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return these variables, those that there are, and what is wrong with those that cannot be templated."""
    values, wrong = {}, {}
    for name in [name for name in names if name in variables]:
        try:
            values[name] = plain(variables[name])  # what is inside is templated here, too
            if isinstance(values[name], Undefined):
                str(values[name])  # raises what is missing
        except (AnsibleError, TemplateError) as error:
            values.pop(name, None)
            wrong[name] = line(str(error))
    return values, wrong


def _has(text: str, words: Iterable[str]) -> bool:
    return any(each in text for each in words)


def _refused(answers: Answers, variables: Mapping[str, Any], unread: Mapping[str, str]) -> Iterator[Finding]:
    """Tell what was refused, but not what only failed as the host could not be read."""
    for role, message in answers.failed.items():
        result, about, text = answers.roles[role], {"role": role}, line(str(message))
        # All options of a role are much to read on a large fleet, and most roles have said it themselves.
        values, wrong = _options(variables, specification(role) if _has(text, UNTYPED + UNDEFINED) else ())
        sentences = problems_of(values) if _has(text, UNTYPED) else []
        if sentences or not result.get("failed"):
            named = {name: reason for name, reason in wrong.items() if reason in text}
            for what, told in (named or {DECLARED[role]: " ".join(sentences) or text}).items():
                yield Finding(answers.name, "refused", what, told, about)
        elif ROLES[role] not in unread:
            items = [each for each in result.get("results") or [] if each.get("failed")]
            for each in items or [result]:
                device = str(each.get("item") or "")
                more = {"device": device} if device else {}
                yield Finding(answers.name, "refused", device or DECLARED[role], line(said(each)), {**about, **more})
