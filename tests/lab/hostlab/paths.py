# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps things: images are shared by all hosts, a host's state goes when the host goes."""

from __future__ import annotations

import os
from pathlib import Path


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "virtnet-qos"


def private(directory: Path) -> Path:
    """Keys are below: nobody else may look."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def images() -> Path:
    return private(cache() / "images")


def hosts() -> Path:
    return private(cache() / "hosts")


def key() -> Path:
    """The lab's own ssh key; the public half has .pub behind it."""
    return private(cache() / "ssh") / "id_ed25519"
