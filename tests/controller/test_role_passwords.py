# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of libvirt daemons that are encrypted in the inventory, each as a value of its own.

``make cores`` runs these with ansible-core 2.18 as well, which has a type of its own for such values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.virtnet.qos.tests.controller.role import ROOT, role_runner

pytest.importorskip("libvirt")

NODE = """<node><auth><user password='s3cret'>ann</user></auth>
  <network><name>prod</name><forward mode='route'/><bridge name='nowhere0'/>
    <ip address='192.0.2.1' prefix='24'/></network>
  <domain type='test'><name>one</name><memory>65536</memory><os><type>hvm</type></os><devices>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='prod'/></interface>
  </devices></domain></node>"""
ONE = {"inbound": {"average": "1mbit"}}
DECLARED = {
    "vm_qos": {"vm_qos_policies": [{"match": {"domain": "one"}, **ONE}]},
    "network_qos": {"network_qos_networks": [{"name": "prod", **ONE}], "network_qos_affect": ["config"]},
}


@pytest.mark.parametrize("name", DECLARED)
def test_an_encrypted_password_opens_the_daemon(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "node.xml").write_text(NODE)
    (tmp_path / "key").write_text("a key")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "key"))
    vault = VaultLib([("default", VaultSecret(b"a key"))])
    role = role_runner(name, tmp_path, **DECLARED[name], **{f"{name}_uri": f"test://{tmp_path}/node.xml"})

    def log_in(password: str) -> dict[str, Any]:
        encrypted = {"__ansible_vault": vault.encrypt(password).decode()}
        return role(**{f"{name}_username": "ann", f"{name}_password": encrypted})

    answer = log_in("s3cret")
    assert (answer["failed"], answer["changed"]) == (False, True)
    assert "s3cret" not in answer["printed"]
    assert "libvirt did not let this user in" in log_in("secret")["msg"]


@pytest.mark.parametrize("name", DECLARED)
def test_what_hides_nothing_is_not_asked_for(name: str) -> None:
    # In a role's arguments no_log does nothing, but ansible-core 2.18 then refuses encrypted values. Modules hide them.
    spec = yaml.safe_load((ROOT / "roles" / name / "meta/argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]
    assert "no_log" not in options[f"{name}_password"]
