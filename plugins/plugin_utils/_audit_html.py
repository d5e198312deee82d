# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""The report of an audit as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_hosts import WORDS, badge, details, state, table
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import SEVERITIES
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_markup import Child, Markup, tag
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_style import STYLE
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_svg import (
    STATES,
    Share,
    buckets,
    fleet,
    histogram,
    legend,
    nic_states,
    shares,
)
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_text import counted

PLOTTED = 16  # rows of a plot: what is more, nobody compares
OPENED = 3  # hosts with errors whose findings are shown at once


def page(report: Mapping[str, Any]) -> str:
    """Return the page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Bandwidth audit, {report['made']}"),
        tag("style", Markup(STYLE)),
    )
    main = tag("main", _tiles(report), _found(report), _plots(report), _hosts(report))
    body = tag("body", _header(report), main, _foot())
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _header(report: Mapping[str, Any]) -> Markup:
    totals = report["totals"]
    looked = f"{counted(totals['hosts'], 'host')}, {counted(totals['nics']['total'], 'guest NIC')}."
    counts = {severity: totals[f"{severity}s"] for severity in SEVERITIES}
    worst = next((severity for severity in SEVERITIES[:2] if counts[severity]), "ok")
    said = [counted(counts[severity], WORDS[severity]) for severity in SEVERITIES if counts[severity]]
    verdict = "All is as declared and enforced" if worst == "ok" else ", ".join(said)
    if not totals["hosts"]:
        worst, verdict = "warning", "There were no hosts to look at"
    return tag(
        "header",
        tag("h1", "Bandwidth audit"),
        tag("p", f"{looked} Read on {report['made']}; nothing was changed.", class_="soft"),
        tag("p", verdict, class_=f"verdict {worst}"),
    )


def _tiles(report: Mapping[str, Any]) -> Markup:
    totals = report["totals"]
    nics, hosts = totals["nics"], totals["hosts"]
    part = f"{100 * nics['in_order'] // nics['total']} %" if nics["total"] else "\u2013"
    unknown = f", {nics['not_compared']} not compared" if nics["not_compared"] else ""
    tiles = [
        (f"{totals['looked_at']} of {hosts}", "hosts looked at", "ok" if totals["looked_at"] == hosts else "error"),
        (
            part,
            f"of {counted(nics['total'], 'NIC')} in order{unknown}",
            "ok" if nics["in_order"] == nics["total"] else "",
        ),
        (nics["limited"], "NICs with a limit", ""),
        (totals["errors"], "errors", "error" if totals["errors"] else "ok"),
        (totals["warnings"], "warnings", "warning" if totals["warnings"] else "ok"),
    ]
    return tag(
        "section",
        [tag("div", tag("b", number), tag("span", words), class_=f"tile {class_}") for number, words, class_ in tiles],
        class_="tiles",
        aria_label="In short",
    )


def _card(title: str, *children: Child) -> Markup:
    return tag("section", tag("h2", title), *children, class_="card")


def _found(report: Mapping[str, Any]) -> Markup | None:
    kinds = [kind for kind in report["kinds"].values() if kind["findings"]]
    if not kinds:
        return None
    rows = [
        tag(
            "tr",
            tag("td", badge(kind["severity"])),
            tag("td", tag("b", kind["title"])),
            tag("td", kind["findings"], class_="n"),
            tag("td", kind["hosts"], class_="n"),
            tag("td", kind["remedy"], class_="m"),
        )
        for kind in kinds
    ]
    return _card(
        "What was found", table("What was found", ("severity", "finding", "#findings", "#hosts", "what to do"), rows)
    )


def _plots(report: Mapping[str, Any]) -> list[Child]:
    hosts = [{**host, "short": short} for host, short in zip(report["hosts"], _short(report["hosts"]))]
    cards = [*_nics(hosts), *_given(hosts)]
    return [_fleet(hosts) if len(hosts) > PLOTTED else None, tag("div", cards, class_="two") if cards else None]


def _fleet(hosts: Sequence[Mapping[str, Any]]) -> Markup:
    squares = [(host["name"], f"h-{state(host)}", _sign(host), f"#host-{number}") for number, host in enumerate(hosts)]
    words = ("in order", "! warnings", "errors, how many", "? not looked at")
    signs = dict(zip(("h-ok", "h-warning", "h-error", "h-lost"), words))
    return _card("The fleet", tag("p", "A square is a host.", class_="note"), fleet(squares), legend(signs))


def _nics(hosts: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    if not any(host["nics"]["total"] for host in hosts):
        return
    worst = sorted(hosts, key=lambda host: (-host["errors"], -host["warnings"]))
    colours = {f"s-{name}": words for name, words in STATES.items()}
    yield _card("NICs by host", _only(worst, "hosts"), legend(colours), nic_states(worst[:PLOTTED]))
    averages = {
        direction: buckets(host["averages"][direction] for host in hosts) for direction in ("inbound", "outbound")
    }
    colours = {"d-inbound": "inbound, what a guest receives", "d-outbound": "outbound, what it sends"}
    yield _card("Average rates of NICs", legend(colours), histogram(averages))


def _given(hosts: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    uplinks = [_uplink(host, each) for host in hosts for each in host["uplinks"]]
    networks = [_network(host, each) for host in hosts for each in host["networks"] if each["capacity"]]
    yield from _shares("Guaranteed on uplinks", "rt of the classes; the line is what the uplink can send.", uplinks)
    yield from _shares("Guaranteed on networks", "Floors of NICs; the line is what the network has inbound.", networks)


def _short(hosts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of hosts without their domains, where that tells them apart."""
    names = [host["name"] for host in hosts]
    first = [name.partition(".")[0] for name in names]
    return first if len(set(first)) == len(first) and not any(name.isdigit() for name in first) else names


def _sign(host: Mapping[str, Any]) -> str:
    if not host["looked_at"]:
        return "?"
    return str(min(host["errors"], 99)) if host["errors"] else "!" if host["warnings"] else ""


def _only(rows: Sequence[Any], things: str) -> Markup | None:
    if len(rows) <= PLOTTED:
        return None
    return tag("p", f"{PLOTTED} of {len(rows)} {things}, those first that need it most.", class_="note")


def _uplink(host: Mapping[str, Any], uplink: Mapping[str, Any]) -> Share:
    parts = [(each["name"], each["rt"].rpartition("m2 ")[2]) for each in uplink["classes"] if each["rt"]]
    return Share(f"{host['short']} {uplink['device']}", parts, uplink["guaranteed"], uplink["capacity"])


def _network(host: Mapping[str, Any], network: Mapping[str, Any]) -> Share:
    parts = [("floors", network["guaranteed"])]
    return Share(f"{host['short']} {network['name']}", parts, network["guaranteed"], network["capacity"])


def _shares(title: str, note: str, rows: Sequence[Share]) -> Iterator[Markup]:
    fullest = sorted(rows, key=lambda row: -(row.ratio or 0))
    if rows:
        yield _card(title, tag("p", note, class_="note"), _only(fullest, "rows"), shares(fullest[:PLOTTED], title))


def _hosts(report: Mapping[str, Any]) -> Markup:
    by_host: dict[str, list[Mapping[str, Any]]] = {}
    for each in report["findings"]:
        by_host.setdefault(each["host"], []).append(each)
    told = sum(bool(host["errors"]) for host in report["hosts"])
    worst = sorted(enumerate(report["hosts"]), key=lambda each: (-each[1]["errors"], -each[1]["warnings"]))
    rows = [
        details(host, by_host.get(host["name"], []), number, bool(host["errors"]) and told <= OPENED)
        for number, host in worst
    ]
    return tag("section", tag("h2", "Host by host"), rows)


def _foot() -> Markup:
    return tag(
        "footer",
        tag(
            "p",
            "A NIC is counted once, by the worst that is true of it. Inbound and outbound are seen from the guest. "
            "Guarantees are compared by what they come to in the end (m2). Made by virtnet.qos.audit.",
        ),
    )
