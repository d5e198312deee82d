# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the documentation site: the pages of docs/, and what antsibull-docs makes of the plugins and roles.

docs/README.md is the front page. Each page has its place in the contents by the section there that links to it first;
one that no section links to is a warning, and warnings are errors. ``make docs`` calls this.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SITE = ROOT / ".cache/docs"
SOURCE = SITE / "source"
REPOSITORY = "https://github.com/virtnet/virtnet.qos"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")
CONTENTS = """
```{{toctree}}
:hidden:
:caption: {}

{}
```

"""


def page(path: Path) -> str | None:
    """Return what a file of the repository is in the site, where it is a page there."""
    if path.is_relative_to(DOCS) and path.is_file():
        name = path.relative_to(DOCS)
        return "index.md" if str(name) == "README.md" else str(name)
    if path.name == "README.md" and path.parent.parent == ROOT / "roles":
        return f"roles/{path.parent.name}.md"
    if path.parent == ROOT / "plugins/modules":
        return f"collection/{path.stem}_module.rst"
    return None


def turned(path: Path, text: str) -> tuple[str, list[str]]:
    """Return text of a page with links as they are in the site, and the pages there that it links to."""
    folder = Path(page(path) or "").parent
    linked = []

    def turn(found: re.Match[str]) -> str:
        target = (path.parent / found[1]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            raise SystemExit(f"{path.relative_to(ROOT)} links to {found[1]}, which is not there")
        there = page(target)
        if there is None:
            return f"{REPOSITORY}/{'tree' if target.is_dir() else 'blob'}/main/{target.relative_to(ROOT)}"
        linked.append(there)
        return os.path.relpath(there, folder)

    return LINK.sub(turn, text), linked


def with_contents(front: Path) -> str:
    """Return the front page with the contents of the site."""
    listed: set[str] = set()
    sections = []
    for section in re.split(r"^(?=## )", front.read_text(encoding="utf-8"), flags=re.MULTILINE):
        text, linked = turned(front, section)
        new = [each for each in dict.fromkeys(linked) if each.endswith(".md") and each not in listed]
        listed |= set(new)
        sections += [text, CONTENTS.format(text.splitlines()[0].strip("# "), "\n".join(new)) if new else ""]
    return "".join([*sections, CONTENTS.format("Reference", "Modules, filters and roles <collection/index>")])


def main() -> int:
    """Return the exit status of Sphinx."""
    shutil.rmtree(SITE, ignore_errors=True)
    collection = SOURCE / "collection"
    collection.mkdir(mode=0o755, parents=True)
    antsibull = ("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error")
    subprocess.run([*antsibull, "--dest-dir", collection, "virtnet.qos"], check=True, cwd=SITE)
    shutil.copytree(DOCS, SOURCE, ignore=shutil.ignore_patterns("docsite", "*.md"), dirs_exist_ok=True)
    (SOURCE / "roles").mkdir()
    for path in [*DOCS.glob("*.md"), *ROOT.glob("roles/*/README.md")]:
        front = path == DOCS / "README.md"
        text = with_contents(path) if front else turned(path, path.read_text(encoding="utf-8"))[0]
        (SOURCE / str(page(path))).write_text(text, encoding="utf-8")
    sphinx = ("sphinx-build", "-M", "html", SOURCE, SITE, "-c", DOCS / "docsite", "-W", "--keep-going", "-q")
    status = subprocess.run(sphinx, check=False).returncode
    print(f"{len(list(SITE.glob('html/**/*.html')))} pages in {SITE}/html/index.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
