# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write what this kernel tells of each scenario to tests/unit/recorded, one answer a line, in hexadecimal.

python3 tests/lab/kernel.py -- .venv/bin/python tests/kernel/record.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / ".venv/collections"))

from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import devices  # noqa: E402
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (  # noqa: E402
    GETQDISC,
    GETTCLASS,
    GETTFILTER,
    tc_body,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Route  # noqa: E402
from ansible_collections.virtnet.qos.tests.kernel.scenarios import MAJOR, SCENARIOS  # noqa: E402

HEAD = "".join(f"{line}\n" for line in Path(__file__).read_text(encoding="utf-8").splitlines()[:3])


def told(index: int) -> Iterator[str]:
    """Yield what the kernel tells of a device."""
    route = Route()
    yield f"link {route.link(index).hex()}"
    parts = {"qdisc": (GETQDISC, 0), "class": (GETTCLASS, MAJOR << 16), "filter": (GETTFILTER, MAJOR << 16)}
    for name, (number, parent) in parts.items():
        for each in route.dump(number, index, parent):
            device, handle, above, info, data = each
            yield f"{name} {(tc_body(device, handle=handle, parent=above, info=info) + data).hex()}"


def main() -> None:
    """Make each scenario, and write what the kernel tells of it."""
    for name, scenario in SCENARIOS.items():
        subprocess.run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"], check=True)
        subprocess.run(["tc", "-batch", "-"], input=scenario.batch, text=True, check=True)
        lines = "".join(f"{line}\n" for line in told(devices()["near"]))
        title = f"# What Linux {os.uname().release} told of the scenario {name!r}; see record.py.\n"
        (CHECKOUT / f"tests/unit/recorded/{name}.hex").write_text(HEAD + title + lines, encoding="ascii")
        subprocess.run(["ip", "link", "del", "near"], check=True)


if __name__ == "__main__":
    main()
