# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of the filters of the playbook measure, run as they are. Those of others are run by tests of these."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from ansible_collections.virtnet.qos.plugins.filter import measure_plan, measure_report, measure_rows

ROOT = Path(__file__).resolve().parents[2]
NODE = """<node><domain type='test'><name>web1</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='bridge'><mac address='52:54:00:6b:3c:59'/><source bridge='br0'/>
  <bandwidth><inbound average='1000'/></bandwidth></interface></devices></domain></node>"""


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (measure_plan, '"limit": 8000000'),
        (measure_rows, '"mac": "52:54:00:6b:3c:59"'),
        (measure_report, "this host  web1 52:54:00:6b:3c:59  inbound"),
    ],
)
def test_the_examples(plugin: ModuleType, said: str, tmp_path: Path) -> None:
    (tmp_path / "node.xml").write_text(NODE)
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/virtnet.qos.qos": {"uri": f"test://{tmp_path}/node.xml"}},
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "tasks": yaml.safe_load(plugin.EXAMPLES),
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    variables = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"), "ANSIBLE_HOME": str(tmp_path / "home")}
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "play.yml"],
        env={**os.environ, **variables, "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert said in ran.stdout
