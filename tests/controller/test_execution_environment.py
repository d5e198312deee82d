# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The execution environment of docs/awx.md, as far as it goes without containers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtnet.qos.tests.checks.tree import copy_tree

ROOT = Path(__file__).resolve().parents[2]
DEFINITION = ROOT / "docs/examples/fleet/execution-environment.yml"


def run(tool: str, *arguments: str, folder: Path = ROOT) -> str:
    """Run a tool of Ansible's, and return what it printed."""
    command = [str(Path(sys.executable).parent / tool), *arguments]
    ran = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def create(definition: Path, context: Path) -> str:
    """Make the build context of a definition, and return what the image is built by."""
    run("ansible-builder", "create", "-f", str(definition), "-c", str(context), "--output-filename", "Containerfile")
    text = (context / "Containerfile").read_text()
    assert "ansible-galaxy collection install $ANSIBLE_GALAXY_CLI_COLLECTION_OPTS -r requirements.yml" in text
    return text


def test_the_definition_gives_a_build_context(tmp_path: Path) -> None:
    context = tmp_path / "context"
    assert 'ARG EE_BASE_IMAGE="quay.io/centos/centos:stream10"' in create(DEFINITION, context)
    (collection,) = yaml.safe_load((context / "_build/requirements.yml").read_text())["collections"]
    assert collection["name"] == "virtnet.qos"


def test_an_artefact_beside_the_definition_is_installed_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/awx.md").read_text(encoding="utf-8")
    said = [yaml.safe_load(each) for each in re.findall(r"`((?:collections|additional_build_files): .*?)`", page)]
    definition = yaml.safe_load(DEFINITION.read_text())
    galaxy, files = said
    definition["dependencies"]["galaxy"] = galaxy
    (tmp_path / DEFINITION.name).write_text(yaml.safe_dump({**definition, **files}))
    copy_tree(tmp_path / "checkout")
    run("ansible-galaxy", "collection", "build", str(tmp_path / "checkout"), "--output-path", str(tmp_path))
    text = create(tmp_path / DEFINITION.name, tmp_path / "context")
    assert re.search(r"^COPY _build /build\nWORKDIR /build$", text, re.MULTILINE), text
    # What that file does then, without any network, and where this checkout is not found.
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path))
    install = ("collection", "install", "-r", "requirements.yml", "--collections-path", str(tmp_path), "--offline")
    run("ansible-galaxy", *install, folder=tmp_path / "context/_build")
    installed = tmp_path / "ansible_collections/virtnet/qos"
    assert (installed / DEFINITION.relative_to(ROOT)).read_text() == DEFINITION.read_text()


def test_the_collection_asks_for_ssh_and_for_no_library(tmp_path: Path) -> None:
    bindep = tmp_path / "bindep.txt"
    said = yaml.safe_load(
        run("ansible-builder", "introspect", "--write-bindep", str(bindep), str(ROOT / ".venv/collections"))
    )
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
