# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes that wait to be confirmed, as the action plugin has the module make them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"
WAIT = 2  # seconds; less than the module allows, which has people wait
OLD = {"classes": [{"vlan": 100, "ls": "10mbit"}, {"default": True, "ls": "20mbit"}], "prune": True}
NEW = {"classes": [{"vlan": 200, "ls": "10mbit"}, {"default": True, "ls": "20mbit", "ul": "8bit"}], "prune": True}
MANY = {"classes": [{"vlan": vlan, "ls": "10mbit"} for vlan in range(1, 200)], "prune": True}


def stage(name: str, token: str = TOKEN) -> dict[str, Any]:
    return {"_confirm": {"stage": name, "token": token, "by": "ann@control"}}


def arm(seconds: int = WAIT, token: str = TOKEN, **options: Any) -> dict[str, Any]:
    return {**options, "confirm_timeout": seconds, **stage("arm", token)}


def end(said: str) -> bool:
    """End what waits to undo a change, as somebody might: by its id, which its command tells."""
    found = False
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if said in Path(process, "cmdline").read_text(encoding="ascii"):
                os.killpg(int(process.name), signal.SIGKILL)
                found = True
    return found
