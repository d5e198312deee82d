# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The execution environment of docs/awx.md, as far as it goes without containers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEFINITION = ROOT / "docs/examples/fleet/execution-environment.yml"


def builder(*arguments: str) -> str:
    """Run ansible-builder, and return what it printed."""
    command = [str(Path(sys.executable).parent / "ansible-builder"), *arguments]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_definition_gives_a_build_context(tmp_path: Path) -> None:
    context = tmp_path / "context"
    builder("create", "--file", str(DEFINITION), "--context", str(context), "--output-filename", "Containerfile")
    text = (context / "Containerfile").read_text()
    assert 'ARG EE_BASE_IMAGE="quay.io/centos/centos:stream10"' in text
    assert "ansible-galaxy collection install $ANSIBLE_GALAXY_CLI_COLLECTION_OPTS -r requirements.yml" in text
    (collection,) = yaml.safe_load((context / "_build/requirements.yml").read_text())["collections"]
    assert collection["name"] == "virtnet.qos"


def test_the_collection_asks_for_ssh_and_for_no_library(tmp_path: Path) -> None:
    bindep = tmp_path / "bindep.txt"
    said = yaml.safe_load(builder("introspect", "--write-bindep", str(bindep), str(ROOT / ".venv/collections")))
    assert said["python"] == []
    assert [line.split()[0] for line in bindep.read_text().splitlines()] == ["openssh-client", "openssh-clients"]


def test_what_runs_on_a_controller_needs_no_library_of_a_host() -> None:
    kinds = {kind: sorted((ROOT / "plugins" / kind).glob("*.py")) for kind in ("action", "filter")}
    assert all(kinds.values())
    modules = [f"ansible_collections.virtnet.qos.plugins.{kind}.{path.stem}" for kind in kinds for path in kinds[kind]]
    program = f"""
import importlib, sys
sys.path.insert(0, {str(ROOT / ".venv/collections")!r})
sys.modules.update(dict.fromkeys(("libvirt", "lxml", "pyroute2")))
for module in {modules!r}:
    importlib.import_module(module)
"""
    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
