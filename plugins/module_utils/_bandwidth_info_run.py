# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A run of virt_bandwidth_info: what its options ask for, read from libvirt and from the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_brief import brief, summary
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_enforced import Kernel
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_info import (
    NOTEWORTHY,
    Seen,
    interface_info,
    network_info,
    seen,
    undeclared,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_policies import parse_declared
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import login_of
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_host import Host, check_uri
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import NetworkByScope
from ansible_collections.virtnet.qos.plugins.module_utils._nic_match import parse_match
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError, limits


def look(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Parse, read what libvirt says, read what the kernel does, and return both, and warnings."""
    problems = Problems()
    check_uri(options["uri"], problems)
    login = login_of(options, problems)
    match = None if options["match"] is None else parse_match(options["match"], problems, "match")
    if options["only"] is not None and not options["only"]:
        problems.add(
            "only", [], "an empty list would return nothing", f"name one of {', '.join(NOTEWORTHY)}, or drop it"
        )
    declared = None if options["declared"] is None else parse_declared(options["declared"], problems)
    if declared is None and "undeclared" in (options["only"] or ()):
        rule = "nothing says what is declared"
        problems.add("only", "undeclared", rule, "give declared, be it an empty list, or drop it")
    problems.refuse_if_any()
    host = Host(options["uri"], True, login)
    networks = host.networks.all()
    # Floors add up over all domains; otherwise those that are not meant need not be read.
    floors = any(each.now.bandwidth.inbound.cap for each in networks)
    concern = match.concerns if match and not floors else None
    about = bool(match and match.about) or bool(declared and declared.about)
    domains = host.domains(SCOPES, concern, about)
    nics = seen(domains, match, host.networks.find)
    if match:
        names = {nic.network for each in nics for nic in each.nics.values()}
        networks = [each for each in networks if each.name in names]
    kernel = ask(nics, networks) if host.here else Kernel(unknown="libvirt runs on another host")
    interfaces = [interface_info(each, host.networks.find, kernel) for each in nics]
    if declared:
        unclaimed = undeclared(nics, declared, host.networks.find)
        for each, info in zip(nics, interfaces):
            info["undeclared"] = [scope for scope in each.nics if (each.domain.uuid, scope, info["mac"]) in unclaimed]
    sums = {"summary": summary(interfaces)} if options["brief"] else {}
    if options["only"] is not None:
        interfaces = [each for each in interfaces if any(NOTEWORTHY[what](each) for what in options["only"])]
    found = {
        "considered": len(nics),
        "interfaces": list(map(brief, interfaces)) if options["brief"] else interfaces,
        **sums,
        "networks": [network_info(each, domains, kernel) for each in networks],
    }
    return found, [f"This is left out: {each}" for each in host.networks.illegible]


def ask(nics: Iterable[Seen], networks: Iterable[NetworkByScope]) -> Kernel:
    """Return what the kernel says of the devices of running guests and the bridges of active networks."""
    targets = {each.nics["live"].target or "" for each in nics if "live" in each.nics}
    bridges = {each.now.bridge or "" for each in networks if "live" in each.scopes}
    try:
        return Kernel(limits(targets, bridges))
    except (TcError, OSError) as error:
        return Kernel(unknown=f"the kernel could not be asked: {error}")
