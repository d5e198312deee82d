# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pages say of inventories, units and messages is what the demo, the modules and the roles have."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
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


def commands_of(page: str) -> list[list[str]]:
    """Return the commands that a page shows to be typed, or to be run by a unit."""
    shown = re.findall(r"```(?:sh|ini)\n(.*?)```", page, re.DOTALL)
    lines = [line.removeprefix("ExecStart=/usr/bin/") for block in shown for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("ansible-")]


def test_the_commands_of_the_page_on_fleets() -> None:
    page = (ROOT / "docs/fleet-scale.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`make ([\w-]+)`", page)) <= {*targets}
    assert all((ROOT / each).is_file() for each in re.findall(r"`(tests/[\w/]+\.py)", page))
    commands = commands_of(page)
    assert {command[0] for command in commands} == {"ansible-playbook", "ansible-pull"}
    for name, *words in commands:
        asked = [str(Path(sys.executable).with_name(name)), "--help"]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        usage = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60, env=environment).stdout
        for option in (word for word in words if word.startswith("-")):
            assert re.search(rf"(?<![\w-]){option}\b", usage), f"{name} has no {option}"
        for playbook in (word for word in words if word.startswith("virtnet.qos.")):
            assert (ROOT / f"playbooks/{playbook.rpartition('.')[2]}.yml").is_file()
