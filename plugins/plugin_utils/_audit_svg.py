# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""Plots of an audit, as SVG that stands in a page and takes its colours from that page's style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_capacity import bits
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_markup import Child, Markup, tag

WIDTH = 540  # half a page, so that text has the size that it has around it
LABEL = 165  # for names, on the left
VALUE = 125  # for numbers, on the right
ROW, BAR = 26, 14
NAME = 24  # characters
PAGE, SQUARE = 1104, 24
# States of NICs as they are stacked, with what people call them.
STATES = {
    "in_order": "in order",
    "not_compared": "not compared",
    "undeclared": "not declared",
    "differs": "running and persistent differ",
    "drift": "not as declared",
    "unenforced": "not enforced",
}
BUCKETS = {
    "< 1 mbit": 10**6,
    "1-10 mbit": 10**7,
    "10-100 mbit": 10**8,
    "0.1-1 gbit": 10**9,
    "1-10 gbit": 10**10,
    "> 10 gbit": None,
}
UNLIMITED = "unlimited"
Box = tuple[float, float, float, float]  # where something is, how wide and how high


def shortened(name: str, length: int = NAME) -> str:
    """Return a name that has room; its beginning and its end are what tells it from others."""
    if len(name) <= length:
        return name
    half = (length - 1) // 2
    return f"{name[: length - 1 - half]}\u2026{name[len(name) - half :]}"


def _svg(height: float, title: str, *children: Child) -> Markup:
    box = f"0 0 {WIDTH} {max(height, 1):.0f}"
    return tag(
        "svg", tag("title", title), *children, viewBox=box, role="img", class_="plot", style=f"max-width:{WIDTH}px"
    )


def _text(x: float, y: float, text: str, class_: str = "", anchor: str | None = None) -> Markup:
    return tag("text", text, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def _rect(box: Box, class_: str, title: str | None = None) -> Markup:
    """Return a rectangle."""
    x, y, width, height = box
    said = tag("title", title) if title else None
    return tag("rect", said, x=x, y=y, width=max(width, 0), height=height, class_=class_, rx=2)


def legend(entries: Mapping[str, str]) -> Markup:
    """Return what colours and patterns mean: words by class."""
    box = f"0 0 {BAR + 2} {BAR}"
    return tag(
        "ul",
        [
            tag(
                "li",
                tag("svg", _patterned((1, 0, BAR, BAR), name), viewBox=box, class_="key", aria_hidden="true"),
                words,
            )
            for name, words in entries.items()
        ],
        class_="legend",
    )


def _patterned(box: Box, class_: str, title: str | None = None, number: str = "") -> list[Markup]:
    """Return a rectangle with a number in it, and over the rest of it a line that its class dashes.

    A pattern of SVG's own would be a link, and colours alone are the same to some people, and in a grey print.
    """
    x, y, width, height = box
    end, middle = x + max(width, 0), x + width / 2
    half = (7 * len(number) + 5) / 2
    spans = [(x, middle - half), (middle + half, end)] if number else [(x, end)]
    lines = [tag("line", x1=a, x2=b, y1=y + height / 2, y2=y + height / 2, class_=f"over-{class_}") for a, b in spans]
    inside = [_text(middle, y + 11, number, f"inside in-{class_}", "middle")] if number else []
    return [_rect(box, class_, title), *lines, *inside]


def fleet(rows: Sequence[tuple[str, str, str, str]]) -> Markup:
    """Return a square for each host: its name, its state's class, the sign in it, and where more is said of it."""
    columns = max(min(len(rows), PAGE // SQUARE), 1)
    squares = []
    for index, (name, state, sign, target) in enumerate(rows):
        x, y = index % columns * SQUARE, index // columns * SQUARE
        square = [
            _rect((x + 1, y + 1, SQUARE - 3, SQUARE - 3), state, name),
            _text(x + SQUARE / 2 - 0.5, y + SQUARE / 2 + 3.5, sign, "sign", "middle"),
        ]
        squares.append(tag("a", square, href=target, aria_label=name))
    height = -(-len(rows) // columns) * SQUARE
    box = f"0 0 {columns * SQUARE} {max(height, 1)}"
    title = tag("title", f"{len(rows)} hosts, a square each")
    return tag("svg", title, squares, viewBox=box, class_="plot fleet", style=f"max-width:{columns * SQUARE}px")


def nic_states(hosts: Sequence[Mapping[str, Any]]) -> Markup:
    """Return a bar for each host: in which state its NICs are."""
    most = max([host["nics"]["total"] for host in hosts] or [0])
    scale = (WIDTH - LABEL - VALUE) / most if most else 0
    drawn: list[Child] = []
    for index, host in enumerate(hosts):
        y, x = index * ROW, float(LABEL)
        drawn.append(_row_name(y, host["short"]))
        nics = host["nics"]
        for state, words in STATES.items():
            if nics[state]:
                width, said = nics[state] * scale, f"{host['name']}: {nics[state]} {words}"
                number = str(nics[state]) if nics[state] * scale >= 12 + 7 * len(str(nics[state])) else ""
                drawn += _patterned((x, y + 6, width - 1, BAR), f"s-{state}", said, number)
                x += width
        total = "not looked at" if not host["looked_at"] else f"{nics['total']} NIC{'' if nics['total'] == 1 else 's'}"
        drawn.append(_text(x + 8, y + 17, total, "muted"))
    return _svg(len(hosts) * ROW, "NICs of each host by their state", drawn)


@dataclass(frozen=True)
class Share:
    """What is given of something: parts of a capacity, in text; the capacity may be unknown."""

    name: str
    parts: Sequence[tuple[str, str]]  # whose, and how much
    given: str
    capacity: str | None

    @property
    def ratio(self) -> float | None:
        """How much of the capacity is given, 1 for all; None where that is not known."""
        capacity = bits(self.capacity) if self.capacity else 0
        return bits(self.given) / capacity if capacity else None


def shares(rows: Sequence[Share], title: str) -> Markup:
    """Return a bar for each: what is given, beside what there is, which is a line across."""
    room = WIDTH - LABEL - VALUE
    most = min(max([row.ratio or 0 for row in rows] + [1.0]), 2.0)  # what is beyond twice is cut
    drawn: list[Child] = []
    for index, row in enumerate(rows):
        y, x = index * ROW, float(LABEL)
        drawn.append(_row_name(y, row.name))
        ratio = row.ratio
        full = room / most
        drawn.append(_rect((x, y + 6, full, BAR), "track" if ratio is not None else "track unknown"))
        over = ratio is not None and ratio > 1
        capacity = bits(row.capacity or "0bit")
        for number, (whose, rate) in enumerate(row.parts if ratio is not None else ()):
            width = min(bits(rate) / capacity * full, LABEL + room - x)
            shade = "over" if over else f"g{number % 3}"
            drawn.append(_rect((x, y + 6, max(width - 1, 0.8), BAR), shade, f"{row.name}: {whose} {rate}"))
            x += width
        if ratio is not None:
            drawn.append(tag("line", x1=LABEL + full, x2=LABEL + full, y1=y + 3, y2=y + 23, class_="limit"))
        value = f"{row.given} of {row.capacity}" if ratio is not None else f"{row.given} of ?"
        drawn.append(_text(WIDTH, y + 17, value, "wrong" if over else "muted", "end"))
    return _svg(len(rows) * ROW, title, drawn)


def _row_name(y: float, name: str) -> Markup:
    return tag("text", tag("title", name), shortened(name), x=LABEL - 10, y=y + 17, text_anchor="end")


def buckets(averages: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return how many NICs have an average of which size."""
    counts = dict.fromkeys((*BUCKETS, UNLIMITED), 0)
    for each in averages:
        for rate, count in each.items():
            fits = (name for name, end in BUCKETS.items() if rate != UNLIMITED and (end is None or bits(rate) < end))
            counts[next(fits, UNLIMITED)] += count
    return counts


def histogram(counts: Mapping[str, Mapping[str, int]]) -> Markup:
    """Return two columns for each size of an average: how many NICs have it inbound, and outbound."""
    height, left, foot = 200.0, 8, 22
    names = [*BUCKETS, UNLIMITED]
    most = max([max(each.values()) for each in counts.values()] + [1])
    slot = (WIDTH - 2 * left) / len(names)
    wide = min(slot * 0.34, 34)
    drawn: list[Child] = [tag("line", x1=left, x2=WIDTH - left, y1=height - foot, y2=height - foot, class_="axis")]
    for index, name in enumerate(names):
        middle = left + slot * (index + 0.5)
        drawn.append(_text(middle, height - 6, name, "muted", "middle"))
        for number, (direction, each) in enumerate(counts.items()):
            tall = each[name] / most * (height - foot - 22)
            x = middle + (number - 1) * wide + (2 if number else -2)
            if each[name]:
                words = f"{each[name]} NICs, {direction} {name}"
                drawn.append(_rect((x, height - foot - max(tall, 1.5), wide, max(tall, 1.5)), f"d-{direction}", words))
                drawn.append(_text(x + wide / 2, height - foot - tall - 5, str(each[name]), "muted", "middle"))
    return _svg(height, "NICs by the size of their average rates", drawn)
