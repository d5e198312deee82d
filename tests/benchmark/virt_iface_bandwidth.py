# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure virt_iface_bandwidth over a host of guests against the bare libvirt calls that read and write the same.

    .venv/bin/python tests/benchmark/virt_iface_bandwidth.py [--json FILE]

Defines guests that are shut off, each with two NICs, and takes them away again. What is compared alternates within each
round, since machines are noisy. A ratio is the median of the rounds' own ratios. The module's times are those of main()
in this process, its imports done; a connection to libvirt stands beside, and both sides open one of their own.

With test:///default, which needs no daemon, libvirt itself answers within microseconds, so that its ratios say how much
Python there is to a call, and are no measure of what a host sees: that is what virt_host.py measures, in the host lab.
With --answer 300, every description of a domain takes both sides 300 microseconds more, as from a daemon.
Exits with 1 if a limit was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import libvirt
from one_run import peak
from tc_hfsc_class import Report, alternate

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".venv/collections"))

from ansible.module_utils.testing import patch_module_args  # noqa: E402

from ansible_collections.virtnet.qos.plugins.modules import virt_iface_bandwidth  # noqa: E402

PREFIX = "virtnet-qos-benchmark-"
FIRST, SECOND = 1000, 2000  # kB/s
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    if options.answer:
        answer_after(options.answer / 1e6)
    report = Report()
    before = peak()
    with guests(options.uri, options.guests) as macs:
        for kind in options.policies:
            policies = POLICIES[kind](macs)
            nothing(report, options, f"nothing to change, {kind}", policies)
            changes(report, options, f"every NIC changed, {kind}", policies, macs)
        memory = report.row("memory of this whole process", "", "MiB", 150, "")
        memory.ours = [peak() / 1024]
        memory.note = f"{before / 1024:.0f} before"
    report.beside["libvirt"] = f"{options.uri}, {libvirt.getVersion()}"
    report.show()
    if options.json:
        options.json.write_text(json.dumps(report.data(vars(options)), indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.met is not False for row in report.rows) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure virt_iface_bandwidth against bare libvirt calls.")
    parser.add_argument("--uri", default="test:///default", help="default: %(default)s")
    parser.add_argument(
        "--answer", type=float, default=0, metavar="US", help="what to wait for each description of a domain"
    )
    parser.add_argument("--guests", type=int, default=500, help="with two NICs each; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES), help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    return parser.parse_args(arguments)


def answer_after(seconds: float) -> None:
    """Make libvirt's own driver in this process as slow as a daemon; like a call of one, it lets other threads work."""
    describe = libvirt.virDomain.XMLDesc

    def waiting(domain: Any, flags: int = 0) -> str:
        time.sleep(seconds)
        return str(describe(domain, flags))

    libvirt.virDomain.XMLDesc = waiting


def wanted(average: int) -> dict[str, Any]:
    return {"inbound": {"average": f"{average * 8}kbit"}, "outbound": {"average": f"{average * 8}kbit"}}


def one_policy(macs: dict[str, list[str]]) -> Callable[[int], list[dict[str, Any]]]:
    return lambda average: [{"match": {"domain": f"{PREFIX}*"}, **wanted(average)}]


def policy_a_nic(macs: dict[str, list[str]]) -> Callable[[int], list[dict[str, Any]]]:
    return lambda average: [
        {"match": {"domain": name, "mac": mac}, **wanted(average)} for name, nics in macs.items() for mac in nics
    ]


POLICIES = {"one policy": one_policy, "a policy a NIC": policy_a_nic}


@contextlib.contextmanager
def guests(uri: str, number: int) -> Iterator[dict[str, list[str]]]:
    """Define the guests, and take them away; yield the MACs of each."""
    connection = libvirt.open(uri)
    macs: dict[str, list[str]] = {}
    kind = "qemu" if uri.startswith("qemu") else "test"
    limit = f"<bandwidth><inbound average='{FIRST}'/><outbound average='{FIRST}'/></bandwidth>"
    try:
        for index in range(number):
            name = f"{PREFIX}{index:03}"
            macs[name] = [f"52:54:00:{nic:02x}:{index >> 8:02x}:{index & 255:02x}" for nic in (0xA, 0xB)]
            nics = "".join(
                f"<interface type='bridge'><mac address='{mac}'/><source bridge='br0'/>{limit}</interface>"
                for mac in macs[name]
            )
            head = f"<domain type='{kind}'><name>{name}</name><memory>16384</memory><os><type>hvm</type></os>"
            connection.defineXML(f"{head}<devices>{nics}</devices></domain>")
        yield macs
    finally:
        for domain in connection.listAllDomains():
            if domain.name().startswith(PREFIX):
                domain.undefine()
        connection.close()


def module(uri: str, policies: list[dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    """Return how long main() takes, and what it prints."""
    printed = io.StringIO()
    arguments = {"uri": uri, "policies": policies, "affect": ["config"]}
    with patch_module_args(arguments), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        begun = time.perf_counter()
        try:
            virt_iface_bandwidth.main()
        finally:
            taken = time.perf_counter() - begun
    result = json.loads(printed.getvalue())
    if result.get("failed"):
        raise RuntimeError(result["msg"])
    return taken, result


def read(uri: str) -> tuple[Any, list[Any]]:
    """The calls that read all definitions."""
    connection = libvirt.open(uri)
    domains = [domain for domain in connection.listAllDomains() if domain.name().startswith(PREFIX)]
    for domain in domains:
        domain.XMLDesc(INACTIVE)
    return connection, domains


def write(domains: list[Any], macs: dict[str, list[str]], average: int) -> None:
    """The calls that write all NICs."""
    parameters = {"inbound.average": average, "outbound.average": average}
    for domain in domains:
        for mac in macs[domain.name()]:
            domain.setInterfaceParameters(mac, parameters, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def limit(options: argparse.Namespace, ratio: float) -> float | None:
    return ratio if options.uri.startswith("qemu") else None


def nothing(report: Report, options: argparse.Namespace, work: str, policies: Callable[[int], Any]) -> None:
    row = report.row(work, "reading the definitions", "s", limit(options, 1.3), "1.1")
    ours: list[float] = []
    theirs: list[float] = []

    def by_module() -> None:
        taken, result = module(options.uri, policies(FIRST))
        if result["changed"]:
            raise RuntimeError(f"it changed something: {result['interfaces'][:2]}")
        ours.append(taken)

    def by_calls() -> None:
        begun = time.perf_counter()
        connection, _domains = read(options.uri)
        theirs.append(time.perf_counter() - begun)
        connection.close()

    for number in range(options.rounds):
        alternate(number, by_module, by_calls)
    row.ours, row.theirs = ours, theirs


def changes(
    report: Report, options: argparse.Namespace, work: str, policies: Callable[[int], Any], macs: dict[str, list[str]]
) -> None:
    """What the module does includes reading back, which the first row's calls do, and the second's do not."""
    whole = report.row(work, "reading, writing, reading back", "s", limit(options, 1.2), "")
    alone = report.row(work, "reading and writing", "s", None, "")
    ours: list[float] = []
    theirs: dict[str, list[float]] = {"whole": [], "alone": []}
    number_of_nics = sum(map(len, macs.values()))

    def reset() -> None:
        connection, domains = read(options.uri)
        write(domains, macs, FIRST)
        connection.close()

    def by_module() -> None:
        taken, result = module(options.uri, policies(SECOND))
        if len(result["interfaces"]) != number_of_nics:
            raise RuntimeError(f"it changed {len(result['interfaces'])} NICs, not {number_of_nics}")
        ours.append(taken)
        reset()

    def by_calls() -> None:
        begun = time.perf_counter()
        connection, domains = read(options.uri)
        write(domains, macs, SECOND)
        theirs["alone"].append(time.perf_counter() - begun)
        for domain in domains:
            domain.XMLDesc(INACTIVE)
        theirs["whole"].append(time.perf_counter() - begun)
        connection.close()
        reset()

    for number in range(options.rounds):
        alternate(number, by_module, by_calls)
    whole.ours = alone.ours = ours
    whole.theirs, alone.theirs = theirs["whole"], theirs["alone"]


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    sys.exit(main(sys.argv[1:]))
