# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles run by ansible-playbook, and what their last task answered."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[2]
Role = Callable[..., "dict[str, Any]"]


def role_runner(name: str, folder: Path, **always: Any) -> Role:
    """Return what runs a role in check mode, ``always`` with these variables.

    It returns what the last task answered, with how many tasks there were.
    """
    play = [{"hosts": "localhost", "gather_facts": False, "roles": [f"virtnet.qos.{name}"]}]
    (folder / "play.yml").write_text(json.dumps(play))
    variables = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"),
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.tree",
        "ANSIBLE_CALLBACK_TREE_DIR": str(folder / "answers"),
        "ANSIBLE_HOME": str(folder / "home"),
        # ansible-core 2.21 and later say only then what a module was given.
        "ANSIBLE_INJECT_INVOCATION": "1",
        "LC_ALL": "C.UTF-8",
    }

    def run(**inventory: Any) -> dict[str, Any]:
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            **always,
            **inventory,
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "--check", "play.yml"]
        # Less verbose, it does not say what a module was given.
        command += ["-vvv", "--extra-vars", json.dumps(given)]
        environment = {**os.environ, **variables}
        # A role that refuses fails.
        ran = subprocess.run(
            command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        recap = dict(re.findall(r"(\w+)=(\d+)", ran.stdout.rpartition("PLAY RECAP")[2]))
        answer: dict[str, Any] = json.loads((folder / "answers/localhost").read_text())
        tasks = sum(int(recap[outcome]) for outcome in ("ok", "failed"))
        printed = " ".join((ran.stdout + ran.stderr).split())
        # Ansible's check of the role's arguments is always there.
        return {**answer, "tasks": tasks - 1, "failed": recap["failed"] == "1", "printed": printed}

    return run


def sent(answer: dict[str, Any], option: str) -> Any:
    """Return the list that the module was given as ``option``, without what its elements do not say."""

    def said(given: Any) -> Any:
        if isinstance(given, list):
            return [said(each) for each in given]
        if not isinstance(given, dict):
            return given
        return {key: said(value) for key, value in given.items() if value is not None and value != "present"}

    return said(answer["invocation"]["module_args"][option])
