# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the collection, install the artefact where nothing of this checkout is, and render its documentation.

What its pages link to has to be in it.
Then import it as Galaxy does, with Galaxy's importer from a virtual environment of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tree import ROOT, copy_tree

BIN = Path(sys.executable).parent
IMPORTER = BIN.parent / "importer/bin"
# Ansible demands of a collection that it works without anything else of it.
NEEDED = ("meta", "plugins", "roles", "playbooks", "MANIFEST.json", "FILES.json")


def import_as_galaxy(artefact: Path, scratch: str) -> None:
    """Have Galaxy's importer look at the artefact; a warning is an error."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(IMPORTER), os.environ["PATH"]])}
    command = [str(IMPORTER / "python"), "-m", "galaxy_importer.main", str(artefact)]
    done = subprocess.run(
        command, cwd=scratch, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith(("Loading ", "{"))]
    print("\n".join(said))
    if done.returncode or any(re.match(r"WARNING|ERROR", line) for line in said):
        raise SystemExit("galaxy-importer has something to say of the artefact")


def follow_links(source_tree: Path, installed: Path) -> None:
    """Fail where pages link to something that is not installed; of a folder, all that it has has to be."""
    names: set[Path] = set()
    for page in installed.rglob("*.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            name = page.parent.relative_to(installed) / link
            names |= {name, *(path.relative_to(source_tree) for path in (source_tree / name).rglob("*"))}
    missing = sorted(os.path.normpath(name) for name in names if not (installed / name).exists())
    if missing:
        raise SystemExit(f"pages of the artefact link to what is not in it: {', '.join(missing)}")
    print("what its pages link to is in it")


def main() -> int:
    """Return 0 where the artefact is whole."""
    with tempfile.TemporaryDirectory(prefix="virtnet-qos-artefact-") as scratch:
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": scratch}

        def ansible(tool: str, *arguments: str) -> str:
            command = [str(BIN / f"ansible-{tool}"), *arguments]
            done = subprocess.run(command, cwd=scratch, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            return done.stdout

        source_tree = Path(scratch, "source")
        copy_tree(source_tree)
        ansible("galaxy", "collection", "build", str(source_tree), "--output-path", scratch)
        (artefact,) = Path(scratch).glob("virtnet-qos-*.tar.gz")
        print(f"built {artefact.name}, {artefact.stat().st_size // 1024} KiB")
        ansible("galaxy", "collection", "install", str(artefact), "--collections-path", scratch, "--offline")
        installed = Path(scratch, "ansible_collections/virtnet/qos")
        follow_links(source_tree, installed)
        for path in installed.iterdir():
            if path.name not in NEEDED:
                (shutil.rmtree if path.is_dir() else os.unlink)(path)
        rendered = 0
        for kind, folder, pattern in (
            ("module", "plugins/modules", "[!_]*.py"),
            ("filter", "plugins/filter", "*.py"),
            ("role", "roles", "*"),
        ):
            for source in sorted((ROOT / folder).glob(pattern)):
                name = f"virtnet.qos.{source.stem}"
                text = ansible("doc", "-t", kind, name)
                if name.upper() not in text.upper():
                    raise SystemExit(f"ansible-doc -t {kind} {name} rendered nothing")
                print(f"{kind} {name}: {len(text.splitlines())} lines of documentation")
                rendered += 1
        for playbook in sorted((installed / "playbooks").glob("*.yml")):
            ansible("playbook", "--syntax-check", f"virtnet.qos.{playbook.stem}")
            print(f"playbook virtnet.qos.{playbook.stem} is found by its name")
        import_as_galaxy(artefact, scratch)
    print(f"{rendered} documents rendered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
