# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the libvirt calls that virt_iface_bandwidth has to make, and nothing else, in a process of its own.

python bare_calls.py MEASURES URI PREFIX read
python bare_calls.py MEASURES URI PREFIX write AVERAGE

The domains are those whose names begin with PREFIX. MEASURES is a file that this writes (JSON), in seconds:
``imports``, ``find`` (connecting and listing the domains), ``read`` (the definitions of all domains), ``write``
(AVERAGE in kB/s in both directions of every NIC), ``back`` (the definitions again), and ``peak``, the largest resident
memory in KiB.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from one_run import peak

MAC = re.compile(r"<mac address='([^']*)'/>")


def main(measures: str, uri: str, prefix: str, work: str, average: str = "0") -> None:
    begun = time.perf_counter()
    import libvirt  # noqa: PLC0415

    cost = {"imports": time.perf_counter() - begun}
    last = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        cost[name] = now - last
        last = now

    connection = libvirt.open(uri)
    domains = [domain for domain in connection.listAllDomains() if domain.name().startswith(prefix)]
    lap("find")
    definitions = [domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) for domain in domains]
    lap("read")
    if work == "write":
        parameters = {f"{direction}.average": int(average) for direction in ("inbound", "outbound")}
        nics: list[tuple[Any, list[str]]] = [(domain, MAC.findall(xml)) for domain, xml in zip(domains, definitions)]
        last = time.perf_counter()
        for domain, macs in nics:
            for mac in macs:
                domain.setInterfaceParameters(mac, parameters, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        lap("write")
        for domain in domains:
            domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        lap("back")
    connection.close()
    Path(measures).write_text(json.dumps({**cost, "peak": peak()}), encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
