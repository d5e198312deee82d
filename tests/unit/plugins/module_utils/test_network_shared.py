# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that have a bridge of the host in common. tests/kernel has the module with one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import NetworkByScope, read_network
from ansible_collections.virtnet.qos.plugins.module_utils._network_shared import Asked, check_shared, shared_warnings
from ansible_collections.virtnet.qos.plugins.module_utils._network_wish import parse_networks
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.tests.unit.plugins.module_utils.test_network_plan import (
    UNLIMITED,
    XML,
    now,
    options,
)

OWN = XML.replace("mode='route'", "mode='bridge'")
FREE = UNLIMITED.replace("mode='route'", "mode='bridge'")
EIGHT, SIXTEEN = {"inbound": {"average": "8mbit"}}, {"inbound": {"average": "16mbit"}}


def asked(*networks: tuple[str, dict[str, Any]]) -> list[Asked]:
    elements = [{"name": f"n{number}", **given} for number, (_xml, given) in enumerate(networks)]
    wishes = parse_networks(options(networks=elements), Problems())
    there = [replace(now(live=xml), name=f"n{number}") for number, (xml, _given) in enumerate(networks)]
    return list(zip(wishes, there))


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ((FREE, EIGHT), (FREE, SIXTEEN), True),
        ((FREE, EIGHT), (FREE, {"state": "absent"}), True),
        ((FREE, EIGHT), (FREE, EIGHT), False),
        ((FREE, EIGHT), (FREE, {"outbound": {"average": "16mbit"}}), False),
        ((FREE, EIGHT), (FREE.replace("virbr7", "virbr8"), SIXTEEN), False),
        # The one would keep classes for floors, and the other take them away.
        ((OWN, {"state": "absent"}), (FREE, {"state": "absent"}), True),
    ],
)
def test_limits_of_which_one_undoes_the_other(first: Any, second: Any, apart: bool) -> None:
    problems = Problems()
    check_shared(asked(first, second), problems)
    assert problems.found == apart * [
        "networks[1].name 'n1': network 'n1' shares bridge virbr7 with network 'n0', which is to have another limit; "
        "write the same limits into both, or limit only one of them."
    ]


@pytest.mark.parametrize(
    ("xml", "given", "warned"),
    [
        (OWN, EIGHT, True),
        (OWN, {"inbound": {"average": "8mbit", "peak": "40mbit", "burst": "5MiB"}}, False),
        (OWN, {"outbound": {"average": "8mbit"}}, False),
        (OWN.replace("virbr7", "virbr8"), EIGHT, False),
        (FREE, EIGHT, False),
    ],
)
def test_another_that_runs_is_told_of(xml: str, given: dict[str, Any], warned: bool) -> None:
    (one,) = asked((FREE, given))
    other = read_network(xml)
    running = [NetworkByScope("other", {"live": other}), NetworkByScope("n0", {"live": other})]
    told = shared_warnings([one], [*running, NetworkByScope("off", {"config": other})])
    assert [each.split(", which")[0] for each in told] == warned * [
        "Network 'n0' shares bridge virbr7 with network 'other'"
    ]
