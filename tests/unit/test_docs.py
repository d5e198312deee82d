# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pages say of inventories, units and messages is what the demo, the modules and the roles have."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import BURSTS, RATES
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, SIZE, Unfit
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


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(lines) > 2
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(("text", "answer"), rows("units-and-direction.md", "Refused"))
def test_a_rate_is_refused_as_the_page_on_units_says(text: str, answer: str) -> None:
    with pytest.raises(Unfit) as unfit:
        RATE.parse(text.strip("`"), RATES)
    assert str(unfit.value) == answer


@pytest.mark.parametrize(("here", "libvirt", "_tc"), rows("units-and-direction.md", "The same elsewhere"))
def test_a_rate_is_the_same_in_libvirt_as_the_page_on_units_says(here: str, libvirt: str, _tc: str) -> None:
    quantity, scale = (SIZE, BURSTS) if here.startswith("burst") else (RATE, RATES)
    (text,) = re.findall(r"`(.+)`", here)
    if libvirt == "refused":
        with pytest.raises(Unfit):
            quantity.parse(text, scale)
    else:
        assert quantity.parse(text, scale) == int(libvirt)


def test_the_messages_of_the_page_on_symptoms_are_those_of_the_code() -> None:
    texts = [
        node.value
        for path in ROOT.glob("plugins/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    foreign = "Failed to import the required Python library"  # Ansible's own
    shown = [message.strip("`") for message, _then in rows("troubleshooting.md", "The task fails")]
    assert [each for each in shown if each != foreign and not any(each in text for text in texts)] == []
