# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role prepare as far as dpkg decides, in check mode. What apt installs is seen in Molecule."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtnet.qos.tests.controller.role import Role, role_runner


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return role_runner("prepare", tmp_path)


def test_a_steady_run_asks_dpkg_and_gathers_nothing(role: Role) -> None:
    answer = role(prepare_packages=["dpkg", "libc-bin"])
    assert answer["tasks"] == 1
    assert "Ask which package manager" not in answer["printed"]
    assert not answer["failed"]
    assert role(prepare_packages="dpkg")["tasks"] == 1


@pytest.mark.parametrize("missing", ["no-such-package-anywhere", "dpkg=0.0-no-such-version"])
def test_what_dpkg_does_not_have_is_left_to_the_package_manager(role: Role, missing: str) -> None:
    answer = role(prepare_packages=["dpkg", missing])
    assert "Ask which package manager" in answer["printed"]
    assert answer["ansible_facts"]["prepare_pending"] is True
