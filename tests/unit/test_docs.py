# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README shows what the demo and Molecule really run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtnet.qos.plugins.modules import virt_iface_bandwidth
from ansible_collections.virtnet.qos.tests.unit.driver import host, runner

ROOT = Path(__file__).resolve().parents[2]


def test_the_inventory_in_the_readme_is_the_one_that_is_run() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "tests/demo/inventory/group_vars/all.yml").read_text())


NOVA = "<metadata><nova:i xmlns:nova='http://openstack.org/nova'><nova:flavor name='m1.small'/></nova:i></metadata>"
DOMAIN = """<domain type='test'><name>{name}</name>{about}<memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='bridge'><mac address='{mac}'/><source bridge='br-storage'/></interface></devices></domain>"""


def test_the_policies_of_the_page_on_guests(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/guests.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    ((options,),) = (task.values() for task in yaml.safe_load(shown))
    small = DOMAIN.format(name="small", about=NOVA, mac="52:54:00:00:00:01")
    big = DOMAIN.format(name="db-1", about="", mac="52:54:00:00:00:02")
    with host(running=[small, big]):
        run = runner(virt_iface_bandwidth, capfd, monkeypatch)
        result = run(**options)
        assert [(each["domain"], each["policy"]) for each in result["interfaces"]] == [("db-1", 1), ("small", 0)]
        assert result["warned"] == []
        assert not run(**options)["changed"]
