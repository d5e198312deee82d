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
    INGRESS_FILTERS,
    tc_body,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Route  # noqa: E402
from ansible_collections.virtnet.qos.tests.kernel.limited import LIMITED  # noqa: E402
from ansible_collections.virtnet.qos.tests.kernel.scenarios import MAJOR, SCENARIOS  # noqa: E402

HEAD = "".join(f"{line}\n" for line in Path(__file__).read_text(encoding="utf-8").splitlines()[:3])


def told(index: int, major: int) -> Iterator[str]:
    """Yield what the kernel tells of a device, and below its root qdisc."""
    route = Route()
    yield f"link {route.link(index).hex()}"
    parts = {"qdisc": (GETQDISC, 0), "class": (GETTCLASS, major << 16), "filter": (GETTFILTER, major << 16)}
    parts["received"] = (GETTFILTER, INGRESS_FILTERS)
    for name, (number, parent) in parts.items():
        for each in route.dump(number, index, parent):
            device, handle, above, info, data = each
            yield f"{name} {(tc_body(device, handle=handle, parent=above, info=info) + data).hex()}"


def record(name: str, batch: str, links: str, device: str, major: int) -> None:
    """Make a scenario on links that are there for as long as this takes, and write what the kernel tells of it."""
    subprocess.run(["ip", "-batch", "-"], input=links, text=True, check=True)
    subprocess.run(["tc", "-batch", "-"], input=batch, text=True, check=True)
    lines = "".join(f"{line}\n" for line in told(devices()[device], major))
    title = f"# What Linux {os.uname().release} told of the scenario {name!r}; see record.py.\n"
    (CHECKOUT / f"tests/unit/recorded/{name}.hex").write_text(HEAD + title + lines, encoding="ascii")
    subprocess.run(["ip", "link", "del", device], check=True)


def main() -> None:
    """Make each scenario, and write what the kernel tells of it."""
    for name, scenario in SCENARIOS.items():
        record(name, scenario.batch, "link add near type veth peer name far\n", "near", MAJOR)
    for name, (batch, _limits) in LIMITED.items():
        device = "virbrq" if "virbrq" in batch else "vnet0"
        link = "link add virbrq type bridge\n" if device == "virbrq" else "tuntap add vnet0 mode tap\n"
        record(f"limited_{name}", batch, link, device, 1)


if __name__ == "__main__":
    main()
