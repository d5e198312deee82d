# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts, and the table of what was found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .faulty_host import RELEASES, FaultyHost

COLUMNS = ("fault", "release", "ssh away", "tree", "next boot", "without limits", "the task said", "run again")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each worker of ``-n 2 --dist each`` run what is for its release, so that each has one host."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        release = RELEASES[int(worker.removeprefix("gw"))]
        items[:] = [item for item in items if item.callspec.params["release"] == release]  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def hosts() -> Iterator[Callable[[str], FaultyHost]]:
    up: dict[str, FaultyHost] = {}

    def host(release: str) -> FaultyHost:
        if release not in up:
            up[release] = FaultyHost(f"faults-{release}-{os.getpid()}", release)
            up[release].up()
        return up[release]

    yield host
    for each in up.values():
        each.down()


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note a line of the table."""
    return lambda **row: record_property("row", json.dumps(row))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [each for kind in ("passed", "failed") for each in terminalreporter.stats.get(kind, [])]
    rows = [json.loads(value) for each in reports for name, value in each.user_properties if name == "row"]
    if not rows:
        return
    Path(".cache/faults.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    table = [COLUMNS, *(tuple(str(row.get(column, "")) for column in COLUMNS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    terminalreporter.section("what was found after each fault")
    for line in table:
        terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
