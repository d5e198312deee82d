# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commit-confirm as a whole: ansible-playbook, its action plugin, the module, and the host that undoes by itself.

The connection is a local one that can be told to break.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Module, Wire

COLLECTIONS = Path(__file__).resolve().parents[2] / ".venv/collections"
OLD = {"classes": [{"vlan": 100, "ls": "10mbit"}, {"default": True, "ls": "20mbit"}], "prune": True}
NEW = {"classes": [{"vlan": 200, "ls": "10mbit"}, {"default": True, "ls": "20mbit", "ul": "8bit"}], "prune": True}
SECONDS = 20  # one run of a module takes some in User-Mode Linux, and many more on a busy machine
# BREAKS is from when nothing gets through any more, and for how many seconds: "reset 20", or "answer 0" for the first
# answer of a module alone. CONNECTION is the file that notes what was done.
CONNECTION = '''
from __future__ import annotations
DOCUMENTATION = """
name: fragile
short_description: A local connection that breaks
description: [A local connection that breaks.]
author: [Nobody]
extends_documentation_fragment: [connection_pipelining]
"""
import os
import time
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

WHEN, SECONDS = (os.environ["BREAKS"] + " 0").split()[:2]


class Connection(Local):
    transport = "local"
    until = 0.0
    broken = False

    def note(self, text):
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(text + "\\n")

    def fail_from_now_on(self, when):
        if WHEN == when and not self.broken:
            self.broken = True
            self.until = time.monotonic() + float(SECONDS)

    def reset(self):
        self.note("reset")
        self.fail_from_now_on("reset")

    def exec_command(self, cmd, in_data=None, sudoable=True):
        if time.monotonic() < self.until:
            self.note("refused")
            raise AnsibleConnectionFailure("Connection timed out during banner exchange")
        result = super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        if in_data:
            self.note("module")
            if WHEN == "answer" and not self.broken:
                self.fail_from_now_on("answer")
                raise AnsibleConnectionFailure("Shared connection to near closed.")
        return result
'''

Play = Callable[..., dict[str, Any]]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def play(tmp_path: Path, notes: Path) -> Play:
    """Run a playbook of one task, and return the result of that."""
    (tmp_path / "fragile.py").write_text(CONNECTION, encoding="utf-8")

    def play(breaks: str = "never", keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        notes.write_text("", encoding="utf-8")
        task = {"name": "Make the tree", "virtnet.qos.tc_hfsc_class": {"device": "near", **options}, **(keywords or {})}
        variables = {"ansible_connection": "fragile", "ansible_python_interpreter": sys.executable}
        whole = {"name": "Classes", "hosts": "all", "gather_facts": False, "vars": variables, "tasks": [task]}
        path = tmp_path / "play.yml"
        path.write_text(json.dumps([whole]), encoding="utf-8")  # which is YAML, too
        settings = {
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONNECTION_PLUGINS": str(tmp_path),
            "ANSIBLE_STDOUT_CALLBACK": "minimal",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            "BREAKS": breaks,
            "NOTES": str(notes),
        }
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path)],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        start = done.stdout.find("=> {")
        assert start >= 0, done.stdout + done.stderr
        result: dict[str, Any] = json.JSONDecoder().raw_decode(done.stdout[start + 3 :])[0]
        assert "Traceback" not in done.stdout + done.stderr
        return {**result, "failed": done.returncode != 0}

    return play


def test_connection_lost_during_the_change(wire: Wire, module: Module, play: Play) -> None:
    """The host is there again at once, and still it is not confirmed: nobody knows what was done."""
    module(**OLD)
    old = wire.tree()
    result = play("answer 0", **NEW, confirm_timeout=SECONDS)
    assert wire.tree() == old
    assert result["failed"] is True
    assert result["changed"] is False
    assert "the connection was lost during the change, so it was not confirmed (Shared connection" in result["msg"]
    assert "The host has brought back the tree from before. Run it again." in result["msg"]


def test_beside_the_tasks_own_timeout(wire: Wire, module: Module, play: Play) -> None:
    """The task ends, and the host undoes what it began."""
    module(**OLD)
    old = wire.tree()
    begun = time.monotonic()
    result = play("reset 300", **NEW, confirm_timeout=SECONDS, keywords={"timeout": SECONDS - 5})
    assert "timed out" in str(result).lower()
    time.sleep(max(0.0, begun + 2 * SECONDS - time.monotonic()))
    assert wire.tree() == old
