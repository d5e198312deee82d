# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role network_qos, run by ansible-playbook against libvirt's test driver: what it makes of networks and profiles.

That driver forgets everything with the module that opened it, and its networks have no bridges: so what is tried on
running networks are portgroups. tests/kernel has bridges.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.virtnet.qos.tests.controller.role import ROOT, Role, role_runner, sent

pytest.importorskip("libvirt")

PROFILES = {
    "gold": {"inbound": {"average": "8mbit", "peak": "16mbit"}, "outbound": {"average": "8mbit"}},
    "silver": {"inbound": {"average": "4mbit"}},
    "firm": {"inbound": {"average": "8mbit", "floor": "1mbit"}},
}
NEVER = {"restart": False, "force_restart": False}
ONE = {"inbound": {"average": "1mbit", "burst": "1MiB"}}
# A running guest on a running network.
NODE = """<node>
  <network><name>prod</name><forward mode='route'/><bridge name='nowhere0'/><ip address='192.0.2.1' prefix='24'/>
    <portgroup name='web'/><portgroup name='db'><bandwidth><inbound average='9'/></bandwidth></portgroup></network>
  <network><name>spare</name><forward mode='route'/><bridge name='nowhere1'/><ip address='192.0.3.1' prefix='24'/>
    <bandwidth><inbound average='9'/></bandwidth></network>
  <domain type='test'><name>one</name><memory>65536</memory><os><type>hvm</type></os><devices>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='prod' portgroup='web'/></interface>
  </devices></domain></node>"""


@pytest.fixture
def role(tmp_path: Path) -> Role:
    (tmp_path / "node.xml").write_text(NODE)
    uri = f"test://{tmp_path}/node.xml"
    return role_runner("network_qos", tmp_path, network_qos_uri=uri, qos_profiles=PROFILES)


def test_all_networks_are_one_task(role: Role) -> None:
    networks = [
        {
            "name": "prod",
            "profile": "gold",
            "outbound": {"average": "unlimited"},
            "prune": True,
            "portgroups": [{"name": "web", "profile": "silver"}],
        },
        {"name": "spare", "profile": "gold", "state": "absent", "update_running": False},
        {"name": "default", **ONE, "profile": None, "portgroups": None},
    ]
    answer = role(network_qos_networks=networks[:2], network_qos_affect=["config"], network_qos_timeout=7)
    assert answer["tasks"] == 1
    assert answer["invocation"]["module_args"]["timeout"] == 7
    assert sent(answer, "networks") == [
        {
            "name": "prod",
            "inbound": PROFILES["gold"]["inbound"],
            "outbound": {"average": "unlimited"},
            "portgroups": [{"name": "web", **PROFILES["silver"]}],
            "prune": True,
            "update_running": True,
            **NEVER,
        },
        {"name": "spare", "state": "absent", "prune": False, "update_running": False, **NEVER},
    ]
    changed = [(each["name"], each["portgroup"], each["scopes"], each["after"]) for each in answer["networks"]]
    unlimited = {"inbound": {"average": "unlimited"}}
    assert changed == [
        ("prod", None, ["config"], {"inbound": PROFILES["gold"]["inbound"]}),
        ("prod", "web", ["config"], {"inbound": {"average": "4mbit"}}),
        ("prod", "db", ["config"], unlimited),
        ("spare", None, ["config"], unlimited),
    ]
    # The network that libvirt's test driver brings along
    answer = role(network_qos_networks=networks[2:], network_qos_affect=["config"], network_qos_uri="test:///default")
    assert [(each["name"], each["after"]) for each in answer["networks"]] == [("default", ONE)]


@pytest.mark.parametrize(
    ("everywhere", "here", "renewed"),
    [({}, {}, True), ({}, {"update_running": False}, False), ({"network_qos_update_running": False}, {}, False)],
)
def test_running_guests_get_what_their_portgroup_gives(
    role: Role, everywhere: dict[str, Any], here: dict[str, Any], renewed: bool
) -> None:
    networks = [{"name": "prod", "portgroups": [{"name": "web", "profile": "silver"}], **here}]
    answer = role(network_qos_networks=networks, **everywhere)
    assert [(each["portgroup"], each["scopes"]) for each in answer["networks"]] == [("web", ["live", "config"])]
    assert [each["mac"] for each in answer["interfaces"]] == ["52:54:00:00:00:01"] * renewed


def test_the_inventory_of_the_page_on_networks(role: Role) -> None:
    page = (ROOT / "docs/networks.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    answer = role(**shown, network_qos_affect=["config"])
    assert answer["tasks"] == 1
    assert [(each["name"], each["portgroup"]) for each in answer["networks"]] == [
        ("prod", None),
        ("prod", "web"),
        ("prod", "db"),
        ("spare", None),
    ]


def test_without_networks_libvirt_is_not_asked(role: Role) -> None:
    assert role(network_qos_uri="test:///nowhere", network_qos_networks=[])["tasks"] == 0


def test_what_would_be_done_is_said_while_the_packages_are_missing(role: Role) -> None:
    networks = [{"name": "prod", "profile": "silver"}, {"name": "spare", "state": "absent", "update_running": False}]
    answer = role(network_qos_networks=networks, prepare_pending=True, network_qos_uri="test:///nowhere")
    assert (answer["tasks"], answer["changed"]) == (1, True)
    assert answer["msg"] == {
        "would_ensure": [
            {"name": "prod", **PROFILES["silver"], "update_running": True},
            {"name": "spare", "state": "absent", "update_running": False},
        ]
    }


def test_all_that_is_wrong_with_profiles_is_refused_at_once(role: Role) -> None:
    answer = role(
        qos_profiles={**PROFILES, "odd": {"outbond": {"average": "1mbit"}}},
        network_qos_networks=[
            {
                "name": "prod",
                "profile": "golden",
                "portgroups": [{"name": "web", **ONE}, {"name": "db", "profile": "firm"}],
            },
            {"name": "spare", "profile": "firm", "state": "absent"},
        ],
    )
    assert answer["msg"].rstrip(".").split(". ") == [
        "qos_profiles.odd.outbond: a profile has inbound and outbound, and nothing else; correct the name, or drop it",
        "network_qos_networks[0].profile 'golden': qos_profiles has gold, silver, firm, odd; "
        "correct the name, or add the profile",
        "network_qos_networks[0].portgroups[1].profile 'firm': qos_profiles.firm has inbound.floor, and a floor is "
        "guaranteed to NICs, not to networks; write inbound beside the profile, or name a profile without a floor",
    ]


def test_all_that_is_wrong_with_networks_is_refused_at_once(role: Role) -> None:
    answer = role(
        network_qos_networks=[
            {"name": "spare"},
            {"name": "prod", "portgroups": [{"name": "web"}, {"name": "db", "inbound": {"average": "100"}}]},
        ]
    )
    assert answer["failed"] is True
    for sentence in (
        "network_qos_networks[0].state 'present': state=present needs inbound, outbound or both;",
        "network_qos_networks[1].portgroups[0].state 'present': state=present needs inbound, outbound or both;",
        "network_qos_networks[1].portgroups[1].inbound.average '100': a number without a unit is ambiguous;",
    ):
        assert sentence in answer["msg"]


@pytest.mark.parametrize(
    ("more", "option"), [({"inbound": {"average": "9mbit", "floor": "1mbit"}}, "floor"), ({"restart": True}, "restart")]
)
def test_what_a_network_has_no_option_for_is_refused(role: Role, more: dict[str, Any], option: str) -> None:
    answer = role(network_qos_networks=[{"name": "prod", **ONE, **more}])
    assert answer["failed"] is True
    assert f"{option}. Supported parameters include: " in answer["msg"]


def test_floors_can_be_lowered_before_the_limit_of_their_network() -> None:
    """By the command of the role's page."""
    page = (ROOT / "roles/network_qos/README.md").read_text(encoding="utf-8")
    (first, _then) = re.findall("^ansible-playbook (.*)$", page, re.MULTILINE)
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        "localhost,",
        "--list-tasks",
        *first.split(),
    ]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"), "LC_ALL": "C.UTF-8"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    # Ansible checks the arguments of every role all the same.
    roles = re.findall(r"^ +virtnet\.qos\.(\w+) : (?!Validating)", ran.stdout, re.MULTILINE)
    assert list(dict.fromkeys(roles)) == ["prepare", "vm_qos"]
