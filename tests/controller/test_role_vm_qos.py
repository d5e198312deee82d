# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vm_qos, run by ansible-playbook against libvirt's test driver: what it makes of policies and profiles.

That driver forgets everything with the module that opened it. What stays, Molecule shows on a real host.
"""

from __future__ import annotations

from pathlib import Path
from platform import node

import pytest

from ansible_collections.virtnet.qos.tests.controller.role import Role, role_runner, sent

pytest.importorskip("libvirt")

PROFILES = {
    "gold": {"inbound": {"average": "8mbit", "peak": "16mbit"}, "outbound": {"average": "8mbit"}},
    "silver": {"inbound": {"average": "4mbit"}},
}
ONE = {"inbound": {"average": "1mbit", "burst": "1MiB"}}


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return role_runner("vm_qos", tmp_path, vm_qos_uri="test:///default", qos_profiles=PROFILES)


def test_all_policies_are_one_task(role: Role) -> None:
    policies = [
        {"match": {"domain": "x", "mac": ["52:54:00:*", "a,b"]}, "profile": "gold"},
        {"match": {"network": "default", "bridge": "*", "portgroup": "p"}, "profile": "gold", "state": "absent"},
        {"match": {"title": "t", "metadata": "a:b=c"}, "profile": "gold", "outbound": {"average": "unlimited"}},
        {"match": {"domain": "t*"}, "profile": "silver", "state": "present"},
        {"match": {"domain": "*"}, **ONE, "profile": None},
    ]
    answer = role(vm_qos_policies=[*policies[:1], *policies[2:4], policies[1], policies[4]])
    assert answer["tasks"] == 1
    assert sent(answer, "policies") == [
        {"match": {"domain": ["x"], "mac": ["52:54:00:*", "a,b"]}, **PROFILES["gold"]},
        {
            "match": {"title": ["t"], "metadata": ["a:b=c"]},
            "inbound": PROFILES["gold"]["inbound"],
            "outbound": {"average": "unlimited"},
        },
        {"match": {"domain": ["t*"]}, **PROFILES["silver"]},
        {"match": {"network": ["default"], "bridge": ["*"], "portgroup": ["p"]}, "state": "absent"},
        {"match": {"domain": ["*"]}, **ONE},
    ]
    # libvirt's test driver brings one domain along.
    (changed,) = answer["interfaces"]
    assert (changed["domain"], changed["policy"], changed["scopes"]) == ("test", 2, ["live", "config"])
    assert changed["after"] == {"inbound": {"average": "4mbit"}}


def test_a_policy_for_no_nic_is_warned_of_or_refused(role: Role) -> None:
    policies = [{"match": {"domain": "elsewhere"}, "profile": "gold"}]
    answer = role(vm_qos_policies=policies)
    assert answer["changed"] is False
    warning = f"[WARNING]: {node()}: Policies that claim no NIC: policies[0] (no NIC on this host fits)."
    assert warning in " ".join(answer["printed"].split())
    refused = role(vm_qos_policies=policies, vm_qos_require_match=True)
    assert refused["msg"].startswith("policies[0].match: no NIC on this host fits it;")


def test_scopes_and_time_are_handed_on(role: Role) -> None:
    answer = role(vm_qos_policies=[{"match": {"domain": "test"}, **ONE}], vm_qos_affect=["config"], vm_qos_timeout=7)
    assert answer["invocation"]["module_args"]["timeout"] == 7
    (changed,) = answer["interfaces"]
    assert changed["scopes"] == ["config"]


def test_without_policies_libvirt_is_not_asked(role: Role) -> None:
    assert role(vm_qos_uri="test:///nowhere", vm_qos_policies=[])["tasks"] == 0


def test_what_would_be_done_is_said_while_the_packages_are_missing(role: Role) -> None:
    policies = [{"match": {"domain": "t*"}, "profile": "silver"}, {"match": {"domain": "x"}, "state": "absent"}]
    answer = role(vm_qos_policies=policies, prepare_pending=True, vm_qos_uri="test:///nowhere")
    assert (answer["tasks"], answer["changed"]) == (1, True)
    assert answer["msg"] == {
        "would_ensure": [
            {"match": {"domain": "t*"}, **PROFILES["silver"]},
            {"match": {"domain": "x"}, "state": "absent"},
        ]
    }


def test_all_that_is_wrong_with_profiles_is_refused_at_once(role: Role) -> None:
    answer = role(
        qos_profiles={
            **PROFILES,
            "odd": {"inbound": {"average": "1mbit"}, "outbond": {"average": "1mbit"}},
            "empty": None,
        },
        vm_qos_policies=[
            {"match": {"domain": "t*"}, "profile": "silver"},
            {"match": {"domain": "u*"}, "profile": "golden"},
            {"match": {"domain": "v*"}, "profile": "whatever it was", "state": "absent"},
            {"match": {"domain": "u*"}, "profile": "golden"},
        ],
    )
    assert answer["msg"].rstrip(".").split(". ") == [
        "qos_profiles.empty: a profile has inbound, outbound or both; write what it limits, or drop it",
        "qos_profiles.odd.outbond: a profile has inbound and outbound, and nothing else; correct the name, or drop it",
        *(
            f"vm_qos_policies[{number}].profile 'golden': qos_profiles has gold, silver, odd, empty; "
            "correct the name, or add the profile"
            for number in (1, 3)
        ),
    ]


def test_no_profiles_at_all(role: Role) -> None:
    answer = role(qos_profiles={}, vm_qos_policies=[{"match": {"domain": "t*"}, "profile": "gold"}])
    assert "'gold': qos_profiles has no profiles; correct the name" in answer["msg"]
    answer = role(qos_profiles=None, vm_qos_policies=[{"match": {"domain": "t*"}, "state": "absent"}])
    assert answer["changed"] is False


def test_all_that_is_wrong_with_policies_is_refused_at_once(role: Role) -> None:
    answer = role(
        vm_qos_policies=[
            {"match": {"domain": "x"}, "profile": "gold"},
            {"match": {"domain": "t*"}, "profile": "silver", "state": "absent", **ONE},
            {"match": {"domain": "t*"}},
            {"match": {}, "profile": "gold"},
            {"match": {"domain": "t*"}, "inbound": {"average": "100"}},
        ]
    )
    assert answer["failed"] is True
    for sentence in (
        "vm_qos_policies[1].inbound: not allowed with state=absent;",
        "vm_qos_policies[2].state 'present': state=present needs inbound, outbound or both;",
        "vm_qos_policies[3].match: a match that names nothing would be for every NIC",
        "vm_qos_policies[4].inbound.average '100': a number without a unit is ambiguous;",
    ):
        assert sentence in answer["msg"]
