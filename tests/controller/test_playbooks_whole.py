# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""None of the playbooks beside site ends well where it has looked at nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtnet.qos.tests.controller.fleet import inventory, play

pytest.importorskip("libvirt")

SAID = {
    "audit": "1 findings of kinds that qos_audit_fail_on has: unreadable.",
    "rollback": "There is no record in ",
    "measure": "qos_measure_guests is empty for every host, ",
}


@pytest.mark.parametrize("playbook", SAID)
def test_tags_leave_nothing_out(playbook: str, tmp_path: Path) -> None:
    policies = [{"match": {"domain": "*"}, "inbound": {"average": "8mbit"}}]
    hosts = inventory(tmp_path, {"one": {"vm_qos_uri": "test:///nowhere.xml", "vm_qos_policies": policies}})
    ran = play(playbook, hosts, "--tags", "vm_qos", qos_audit_dest=str(tmp_path / "report"))
    assert (ran.failed, ran.hosts("failed")) == (True, ["one"])
    assert SAID[playbook] in ran.printed


@pytest.mark.parametrize("playbook", SAID)
@pytest.mark.parametrize("pattern", ["misspelt", ["group:!one", "misspelt"]])
def test_hosts_that_nobody_has_are_an_error(playbook: str, pattern: object, tmp_path: Path) -> None:
    ran = play(playbook, inventory(tmp_path, {"one": {}}, {"group": ["one"]}), qos_hosts=pattern)
    assert (ran.failed, ran.recap) == (True, {})
    assert f"qos_hosts '{pattern}' names no host of the inventory; nothing was done." in " ".join(ran.printed.split())


@pytest.mark.parametrize("playbook", ["site", *SAID])
def test_an_inventory_without_hosts_is_an_error(playbook: str, tmp_path: Path) -> None:
    empty = tmp_path / "hosts.yml"
    empty.write_text("all: {}\n")
    ran = play(playbook, empty)
    assert (ran.failed, ran.hosts("failed")) == (True, ["localhost"])
    assert ran.said("localhost").startswith("There is no host in the inventory; name one with -i that has some.")
    # Which is not to be in the way of those who look at a playbook without any.
    assert not play(playbook, empty, "--syntax-check").failed


@pytest.mark.parametrize("at_once", ["abc", "0", "10.5%", [2]])
def test_no_number_of_hosts(at_once: object, tmp_path: Path) -> None:
    ran = play("measure", inventory(tmp_path, {"one": {}}), qos_measure_at_once=at_once)
    assert (ran.failed, ran.recap) == (True, {})
    assert "write a number of hosts from 1, or 1% to 100% of them." in " ".join(ran.printed.split())
    assert "Traceback" not in ran.printed
