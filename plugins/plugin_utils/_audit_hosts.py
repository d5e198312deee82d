# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""One host on the page of an audit: what was found there, and what its uplinks and networks give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import KINDS
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_markup import Child, Markup, tag
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_svg import STATES
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_text import counted

LISTED = 50  # findings of one kind on a host: with all of 200 hosts that have 1 000 each, a page had 31 MB
DASH = "\u2013"
WORDS = {"error": "error", "warning": "warning", "info": "note"}


def badge(severity: str, text: str | None = None) -> Markup:
    """Return how bad something is, in words and in a colour."""
    return tag("span", text or WORDS[severity], class_=f"badge {severity}")


def table(caption: str, columns: Sequence[str], rows: Sequence[Child]) -> Markup:
    """Return a table; a column whose name begins with # has numbers."""
    heads = [tag("th", name.lstrip("#"), scope="col", class_="n" if name.startswith("#") else None) for name in columns]
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), aria_label=caption)


def state(host: Mapping[str, Any]) -> str:
    """Return how a host is, in one word."""
    if not host["looked_at"]:
        return "lost"
    return "error" if host["errors"] else "warning" if host["warnings"] else "ok"


def details(host: Mapping[str, Any], found: Sequence[Mapping[str, Any]], number: int, opened: bool) -> Markup:
    """Return all that there is to say of a host, folded."""
    nics = host["nics"]
    short = [counted(nics["total"], "NIC")] if host["looked_at"] else []
    short += [counted(len(host[key]), key[:-1]) for key in ("uplinks", "networks") if host[key]]
    summary = tag("summary", tag("b", host["name"]), _badges(host), tag("span", ", ".join(short), class_="soft"))
    body = tag("div", list(_findings(found)), list(_facts(host)), class_="body", id=f"host-{number}")
    return tag("details", summary, body, **({"open": "open"} if opened else {}))


def _badges(host: Mapping[str, Any]) -> list[Markup]:
    counts = {severity: host[f"{severity}s"] for severity in WORDS}
    said = [badge(severity, counted(count, WORDS[severity])) for severity, count in counts.items() if count]
    if not host["looked_at"]:
        return [badge("error", "not looked at"), *said]
    return said or [badge("ok", "in order")]


def _findings(found: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    """Give a table for each kind, with the way out once."""
    for kind in dict.fromkeys(each["kind"] for each in found):
        same = [each for each in found if each["kind"] == kind]
        rows = [
            tag("tr", tag("td", each["object"], class_="o"), tag("td", each["message"], class_="m"))
            for each in same[:LISTED]
        ]
        title = KINDS[kind].title if kind in KINDS else kind
        yield tag("h3", badge(same[0]["severity"]), " ", title)
        yield tag("p", same[0]["remedy"], class_="note")
        yield tag("div", table(title, ("where", "what"), rows), class_="quiet")
        if len(same) > LISTED:
            yield tag("p", f"And {len(same) - LISTED} more; the report as JSON has them all.", class_="note")


def _facts(host: Mapping[str, Any]) -> Iterator[Markup]:
    """Give what NICs, uplinks, networks and bridges have."""
    if host["nics"]["total"]:
        yield tag("h3", "NICs")
        columns = ("#all", "#running", "#with a limit", *(f"#{words}" for words in STATES.values()))
        numbers = [host["nics"][key] for key in ("total", "running", "limited", *STATES)]
        yield table("NICs by their state", columns, [_cells(numbers, 0, 0)])
    if host["uplinks"]:
        rows = [
            _cells((uplink["device"], *_class(each)), 2) for uplink in host["uplinks"] for each in uplink["classes"]
        ]
        yield tag("h3", "Uplinks")
        yield tag("p", "; ".join(map(_uplink, host["uplinks"])), class_="note")
        yield table("Uplinks", ("device", "class", "guaranteed (rt)", "share (ls)", "limit (ul)"), rows)
    if host["networks"]:
        columns = ("network", "bridge", "#NICs", "#guaranteed", "#left", "#promised inbound", "#has inbound")
        yield tag("h3", "Networks")
        yield table("Networks", columns, [_cells(_network(each), 2, 2) for each in host["networks"]])
    if host["bridges"]:
        names = ("bridge", "#NICs", "#promised inbound", "#promised outbound")
        rows = [
            _cells((each["bridge"], each["nics"], each["promised"]["inbound"], each["promised"]["outbound"]), 1, 1)
            for each in host["bridges"]
        ]
        yield tag("h3", "Bridges without a virtual network")
        yield table("Bridges", names, rows)


def _cells(cells: Sequence[Any], named: int, numbers: int | None = None) -> Markup:
    """Return a row: names of things first, and numbers from one on."""
    first = len(cells) if numbers is None else numbers
    return tag(
        "tr",
        [
            tag("td", DASH if cell is None else cell, class_="n" if index >= first else "c" if index < named else None)
            for index, cell in enumerate(cells)
        ],
    )


def _class(each: Mapping[str, Any]) -> tuple[Any, ...]:
    return (f"{each['name']} ({each['classid']})", each["rt"], each["ls"], each["ul"])


def _uplink(uplink: Mapping[str, Any]) -> str:
    speed = f"its link has {uplink['speed']}" if uplink["speed"] else "how fast its link is, it does not say"
    return f"{uplink['device']}: {speed}{', nobody declared it' if uplink['declared'] is False else ''}"


def _network(each: Mapping[str, Any]) -> tuple[Any, ...]:
    promised, has = each["promised"]["inbound"], each["average"] or "unlimited"
    return (each["name"], each["bridge"], each["nics"], each["guaranteed"], each["left"], promised, has)
