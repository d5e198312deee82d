# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What an audit can find: its kinds, how bad they are, and the way out of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("error", "warning", "info")  # worst first


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    severity: str
    title: str
    remedy: str


# In the order in which reports have them.
KINDS: Mapping[str, Kind] = {
    "unreachable": Kind(
        "error",
        "Host not reached",
        "See that the controller can log in to the host, and audit again.",
    ),
    "unreadable": Kind(
        "error",
        "Host could not be read",
        "Where no module can run, install Python or correct ansible_python_interpreter. Otherwise install what is "
        "missing with the role prepare, start libvirt, or correct vm_qos_uri. Then audit again.",
    ),
    "refused": Kind(
        "error",
        "What is declared cannot be applied",
        "Correct the inventory as the message says; the playbook site would refuse it, too.",
    ),
    "drift": Kind(
        "error",
        "Not as declared",
        "Run the playbook site for the host, or declare what is there.",
    ),
    "unenforced": Kind(
        "error",
        "The kernel does not do what libvirt says",
        "Set the limit anew: take it away, then apply it with the playbook site. A NIC of a type that libvirt does not "
        "limit needs another type.",
    ),
    "overcommitted": Kind(
        "error",
        "More is guaranteed than there is",
        "Lower guarantees (rt of classes, floors of NICs), or raise the limit of the network.",
    ),
    "differs": Kind(
        "warning",
        "Running and persistent are not the same",
        "Declare it with a policy, so that the playbook site sets both; otherwise it changes with the next start.",
    ),
    "undeclared": Kind(
        "warning",
        "Nobody declared it",
        "Add a policy, a network or a device to the inventory that says what it shall have.",
    ),
    "oversubscribed": Kind(
        "info",
        "More is promised than there is",
        "Nothing, if guests seldom use all they may at the same time; otherwise lower averages, or guarantee floors.",
    ),
    "unknown": Kind(
        "info",
        "Not known whether it is enforced",
        "Look at the NICs with virt_bandwidth_info on the host itself; it says why.",
    ),
}
ERRORS = tuple(name for name, kind in KINDS.items() if kind.severity == "error")


@dataclass(frozen=True)
class Finding:
    """Something that was found on a host."""

    host: str
    kind: str
    what: str  # what it is about, as people call it
    message: str
    about: Mapping[str, Any] = field(default_factory=dict)  # the same for programs

    def data(self) -> dict[str, Any]:
        """Return it as a report has it."""
        kind = KINDS[self.kind]
        return {
            "host": self.host,
            "kind": self.kind,
            "severity": kind.severity,
            "object": self.what,
            "about": dict(self.about),
            "message": self.message,
            "remedy": kind.remedy,
        }
