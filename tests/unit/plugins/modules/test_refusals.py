# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/refusals.md is what virt_iface_bandwidth answers: its rows are run by main() against libvirt's test driver.

`make refusals` writes the page anew. Here it has to be what would be written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest
import yaml

from ansible_collections.virtnet.qos.plugins.modules import virt_iface_bandwidth
from ansible_collections.virtnet.qos.tests.unit.driver import host, runner, state

PAGE = Path(__file__).resolve().parents[4] / "docs/refusals.md"
Options = dict[str, Any]
Answer = Callable[..., "dict[str, Any]"]

HEAD = """\
<!--
Copyright (c) 2026 The virtnet.qos authors
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
-->

# What is refused, and what is warned of

What `virt_iface_bandwidth` answers, word for word: `make refusals` writes this page with the module's own answers, and
`tests/unit/plugins/modules/test_refusals.py` fails when they are others. What is refused is refused before anything is
changed, in check mode as well, and all of it at once, in two rounds: what is wrong with the options themselves, and,
once nothing is, what does not go with this host. In `policies` the same rules hold, and a message begins with the
number of the policy, from 0. Not here is what libvirt's test driver has not: virtual functions, macvtaps of a pool, and
policers that a portgroup puts on again.

There are these domains and NICs. The network `capped` has 1MB/s inbound, its portgroup
`gold` gives 1mbit outbound, `free` has no bandwidth, and `direct` is of macvtaps.

| domain | NICs, by the end of their MAC |
|---|---|
| `web` | `:01` bridge; `:02` `capped`; `:03` its portgroup `gold`; `:04` user; `:05` macvtap; `:06` `free` |
| `twins` | two with `:11`, on bridges |
| `db` | `:21` on `capped`, with a floor of 6mbit; `:22` user, with a limit in its definition all the same |
| `off`, which is shut off | `:31` on a bridge; `:32` on `direct`; `:33` of type vhostuser |
| `brief`, which is transient | `:41` on a bridge |
"""


def interface(kind: str, number: int, rest: str) -> str:
    return f"<interface type='{kind}'><mac address='52:54:00:00:00:{number:02}'/>{rest}</interface>"


def domain(name: str, *interfaces: str) -> str:
    head = f"<domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os>"
    return f"{head}<devices>{''.join(interfaces)}</devices></domain>"


NETWORKS = (
    "<network><name>capped</name><forward mode='route'/><bridge name='virbr7'/><ip address='192.0.2.1' prefix='24'/>"
    "<bandwidth><inbound average='1000'/></bandwidth>"
    "<portgroup name='gold'><bandwidth><outbound average='125'/></bandwidth></portgroup></network>",
    "<network><name>free</name><bridge name='virbr8'/></network>",
    "<network><name>direct</name><forward mode='private'><interface dev='eth0'/></forward></network>",
)
RUNNING = (
    domain(
        "web",
        interface("bridge", 1, "<source bridge='br0'/>"),
        interface("network", 2, "<source network='capped'/>"),
        interface("network", 3, "<source network='capped' portgroup='gold'/>"),
        interface("user", 4, ""),
        interface("direct", 5, "<source dev='eth0' mode='bridge'/>"),
        interface("network", 6, "<source network='free'/>"),
    ),
    domain(
        "twins",
        interface("bridge", 11, "<source bridge='br0'/><target dev='left'/>"),
        interface("bridge", 11, "<source bridge='br1'/><target dev='right'/>"),
    ),
    domain(
        "db",
        interface(
            "network", 21, "<source network='capped'/><bandwidth><inbound average='750' floor='750'/></bandwidth>"
        ),
        interface("user", 22, "<bandwidth><inbound average='5'/></bandwidth>"),
    ),
)
OFF = domain(
    "off",
    interface("bridge", 31, "<source bridge='br0'/>"),
    interface("network", 32, "<source network='direct'/>"),
    interface("vhostuser", 33, "<source type='unix' path='/run/vhost.sock' mode='client'/><model type='virtio'/>"),
)
BRIEF = domain("brief", interface("bridge", 41, "<source bridge='br0'/>"))


def of(number: int, **options: Any) -> Options:
    name = {0: "web", 1: "twins", 2: "db", 3: "off", 4: "brief"}[number // 10]
    return {"domain": name, "interface": f"52:54:00:00:00:{number:02}", **options}


def policies(*elements: Options, **options: Any) -> Options:
    return {"policies": list(elements), **options}


SMALL = {"inbound": {"average": "1mbit"}}


class Rows(NamedTuple):
    """Rows under one heading."""

    heading: str
    inputs: tuple[Options, ...]


REFUSED = (
    Rows(
        "Rates and sizes",
        (
            of(1, inbound={"average": "100"}),
            of(1, inbound={"average": "100Mbps"}),
            of(1, inbound={"average": "12kbit"}),
            of(1, inbound={"average": "0"}),
            of(1, inbound={"average": "-5mbit"}),
            of(1, inbound={"average": "35tbit"}),
            of(1, inbound={"average": "1mbit", "burst": "1500B"}),
            of(1, inbound={"average": "1mbit", "burst": "4GiB"}),
            of(1, inbound={"average": "1mbit", "burst": "64k"}),
        ),
    ),
    Rows(
        "Limits that contradict themselves",
        (
            of(1, inbound={"average": "2mbit", "peak": "1mbit"}),
            of(1, outbound={"peak": "1mbit"}),
            of(1, outbound={"burst": "1MiB"}),
            of(1, inbound={"average": "unlimited", "peak": "1mbit"}),
            of(2, inbound={"average": "1mbit", "floor": "2mbit"}),
            of(1, inbound={}),
            of(1),
            of(1, state="absent", **SMALL),
        ),
    ),
    Rows(
        "Which NIC, and where",
        (
            of(1, uri="qemu:///session", **SMALL),
            {"domain": "nobody", "interface": "all", **SMALL},
            {"domain": "web", "interface": "vnet7", **SMALL},
            {"domain": "off", "interface": "41135040031", **SMALL},
            {"domain": "off", "interface": "52-54-00-00-00-31", **SMALL},
            of(11, **SMALL),
            {"domain": "off", "interface": "52:54:00:00:00:31", "affect": ["live"], **SMALL},
            {"domain": "brief", "interface": "all", "affect": ["config"], **SMALL},
            {"domain": "web", **SMALL},
            of(1, affect=[], **SMALL),
            of(1, require_match=True, **SMALL),
        ),
    ),
    Rows(
        "Connections",
        (of(1, uri="", **SMALL), of(1, timeout=2, **SMALL), of(1, username="ann", **SMALL)),
    ),
    Rows("Types that libvirt does not limit", (of(4, **SMALL), of(33, **SMALL))),
    Rows(
        "Floors",
        (
            of(1, inbound={"floor": "800kbit"}),
            of(5, inbound={"floor": "800kbit"}),
            of(6, inbound={"floor": "800kbit"}),
            of(32, inbound={"floor": "800kbit"}),
            of(2, inbound={"floor": "16mbit"}),
            of(2, inbound={"floor": "4mbit"}),
        ),
    ),
    Rows("Portgroups", (of(3, **SMALL), of(3, outbound={"average": "unlimited"}))),
    Rows(
        "Policies",
        (
            policies({"match": {}, **SMALL}),
            policies({"match": {"domain": "web"}, **SMALL}, {"match": {"domain": ""}, "inbound": {"average": "1"}}),
            policies({"match": {"mac": "41135040031"}, **SMALL}, {"match": {"mac": "525400ab0001"}, **SMALL}),
            policies({"match": {"domain": "web"}, **SMALL}),
            policies({"match": {"domain": "twins"}, **SMALL}),
            policies(
                {
                    "match": {"network": "capped", "domain": "web"},
                    "inbound": {"floor": "2mbit"},
                    "outbound": {"average": "1mbit"},
                }
            ),
            policies({"match": {"domain": "nobody"}, **SMALL}, require_match=True),
            policies(
                {"match": {"domain": "o*", "bridge": "*"}, **SMALL},
                {"match": {"domain": "off", "bridge": "*"}, **SMALL},
                require_match=True,
            ),
            policies({"match": {"domain": "web"}, **SMALL}, domain="web", interface="all"),
            policies({"match": {"domain": "web"}, **SMALL}, state="absent"),
        ),
    ),
)
WARNED = (
    Rows(
        "Warnings",
        (
            of(1, outbound={"average": "1mbit", "peak": "2mbit"}),
            of(5, inbound={"average": "1mbit", "peak": "2mbit"}),
            of(1, inbound={"average": "1mbit", "peak": "2mbit"}),
            of(1, inbound={"average": "100mbit", "burst": "4KiB"}),
            of(1, outbound={"average": "1mbit", "burst": "4KiB"}),
            of(1, outbound={"average": "8kbit"}),
            of(3, inbound={"average": "1mbit"}, outbound={"average": "2mbit"}),
            of(22, state="absent"),
            policies({"match": {"domain": "nobody"}, **SMALL}),
            policies(
                {"match": {"mac": "*:01"}, **SMALL},
                {"match": {"domain": ["web", "brief"], "bridge": "br0"}, "inbound": {"average": "2mbit"}},
            ),
        ),
    ),
)


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    """What the page says there is."""
    with host(*NETWORKS, running=RUNNING, off=[OFF], transient=[BRIEF]) as connection:
        yield connection


@pytest.fixture
def answer(connection: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Run the module, and return its result with the warnings it gave; nothing may have changed."""
    run = runner(virt_iface_bandwidth, capfd, monkeypatch, _ansible_diff=False)

    def answer(options: Options, check: bool = False) -> dict[str, Any]:
        before = state(connection)
        result = run(check, **options)
        assert state(connection) == before
        return result

    return answer


def table(rows: Rows, said: Callable[[Options], str]) -> str:
    """Return the rows as Markdown."""
    lines = [f"\n## {rows.heading}\n", "| input | message |", "|---|---|"]
    for options in rows.inputs:
        # By way of JSON: what is the same object twice would be shown as an anchor and an alias.
        plain = json.loads(json.dumps(options))
        shown = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()[1:-1]
        cells = (f"`{shown}`", said(options))
        lines.append("| {} | {} |".format(*(cell.replace("|", "\\|") for cell in cells)))
    return "\n".join(lines) + "\n"


def test_the_page_says_what_the_module_says(answer: Answer) -> None:
    def refused(options: Options) -> str:
        applied, checked = answer(options), answer(options, check=True)
        assert applied["failed"], options
        assert not applied.get("changed")
        assert checked["msg"] == applied["msg"]
        return str(applied["msg"])

    def warned(options: Options) -> str:
        result = answer(options, check=True)
        assert not result.get("failed"), result["msg"]
        (warning,) = result["warned"]
        return str(warning)

    page = HEAD + "".join(table(rows, refused) for rows in REFUSED) + "".join(table(rows, warned) for rows in WARNED)
    if os.environ.get("WRITE_REFUSALS"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page, "docs/refusals.md is out of date: run make refusals."
