# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a kernel told of the scenarios of the kernel tests."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import Message, tc_message


def recorded(name: str) -> dict[str, list[Message]]:
    """Return what a kernel told of a scenario; see record.py."""
    parts: dict[str, list[Message]] = {"qdisc": [], "class": [], "filter": [], "received": [], "link": []}
    for line in (Path(__file__).parent / f"recorded/{name}.hex").read_text(encoding="ascii").splitlines():
        part, _space, text = line.partition(" ")
        message = tc_message(bytes.fromhex(text)) if part in parts else None
        if message:
            parts[part].append(message)
    return parts
