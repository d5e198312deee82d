# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What the tasks of an audit answered on a host, with what did not work as one clear line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import Finding
from ansible_collections.virtnet.qos.plugins.plugin_utils._outcome import said

KERNEL, LIBVIRT = "__qos_audit_kernel", "__qos_audit_libvirt"
READ = {KERNEL: ("traffic classes", "devices"), LIBVIRT: ("libvirt", "interfaces")}  # and what is in an answer
FAILED = "__qos_audit_failed"  # what each role said that failed, by its name
ROLES = {"host_qos": KERNEL, "network_qos": LIBVIRT, "vm_qos": LIBVIRT}  # and what it takes to apply it
DECLARED = {"host_qos": "host_qos_devices", "network_qos": "network_qos_networks", "vm_qos": "vm_qos_policies"}


@dataclass(frozen=True)
class Answers:
    """What is known of a host; what could not be read is empty."""

    name: str
    devices: list[dict[str, Any]] = field(default_factory=list)
    libvirt: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    declared: Mapping[str, list[Any]] = field(default_factory=dict)
    trouble: list[Finding] = field(default_factory=list)

    @property
    def looked_at(self) -> bool:
        """Whether all of it could be read."""
        return not any(each.kind in ("unreachable", "unreadable") for each in self.trouble)


def read(name: str, variables: Mapping[str, Any]) -> Answers:
    """Return what is known of a host by its variables, those that the audit registered among them."""
    results = {key: _result(variables, key) for key in (*READ, *(f"{role}_result" for role in ROLES))}
    lost = [each for each in results.values() if each.get("unreachable")]
    declared = {role: _declared(variables, variable) for role, variable in DECLARED.items()}
    answers = Answers(
        name,
        results[KERNEL].get("devices") or [],
        results[LIBVIRT] if "interfaces" in results[LIBVIRT] else {},
        {role: results[f"{role}_result"] for role in ROLES},
        declared,
    )
    if lost:
        answers.trouble.append(Finding(name, "unreachable", "host", line(str(lost[0].get("msg", "")))))
        return answers
    unread = {key: said(results[key]) for key, (_name, part) in READ.items() if part not in results[key]}
    told: set[str] = set()
    for key, text in unread.items():
        # Without libvirt there is nothing to miss on a host for which nothing of libvirt is declared.
        needed = key == KERNEL or declared["vm_qos"] or declared["network_qos"]
        if text not in told:
            told.add(text)
            answers.trouble.append(Finding(name, "unreadable" if needed else "unknown", READ[key][0], line(text)))
    answers.trouble.extend(_refused(answers, _result(variables, FAILED), unread))
    return answers


def line(text: str) -> str:
    """Return a message in one line."""
    return " ".join(text.removeprefix("Task failed: ").split())


def _result(variables: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = variables.get(key)
    return dict(found) if isinstance(found, Mapping) else {}


def _declared(variables: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list of the inventory; what cannot be templated the roles have refused."""
    try:
        found = variables.get(key)
    except AnsibleError:
        return []
    return list(found) if isinstance(found, (list, tuple)) else []


def _refused(answers: Answers, failed: Mapping[str, Any], unread: Mapping[str, str]) -> Iterator[Finding]:
    """Tell what was refused, but not what only failed as the host could not be read."""
    for role, text in failed.items():
        result = answers.roles[role]
        if not result.get("failed"):  # before the module was run: the role itself refused
            yield Finding(answers.name, "refused", DECLARED[role], line(str(text)), {"role": role})
        elif ROLES[role] not in unread:
            items = [each for each in result.get("results") or [] if each.get("failed")]
            for each in items or [result]:
                device = each.get("item")
                about = {"role": role, **({"device": device} if device else {})}
                yield Finding(answers.name, "refused", str(device or DECLARED[role]), line(said(each)), about)
