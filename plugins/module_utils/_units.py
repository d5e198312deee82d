# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Text to exact integers and back: rates, sizes and times.

Every quantity is text with a unit. What it is stored as (kB/s in libvirt, bytes/s in the kernel) is a `Scale`;
a text that is not a whole number of the scale's steps is refused with the nearest two that are, never rounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

# Twenty digits on each side hold every number of this field; an unbounded one would let a text exhaust int().
_QUANTITY = re.compile(r"(-?[0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([A-Za-z/]{0,20})", re.ASCII)


class Unfit(ValueError):
    """A text that is not a quantity its scale can hold.

    ``rule`` says what it breaks, ``remedy`` what to write instead.
    """

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(f"{rule}; {remedy}")
        self.rule = rule
        self.remedy = remedy


@dataclass(frozen=True)
class Scale:
    """How a system stores a quantity: a whole number of steps, from ``smallest`` to ``largest``.

    ``step`` is in the base unit of the quantity: bit/s, bytes or microseconds.
    """

    step: int
    smallest: int
    largest: int
    rule: str


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: the units it may be written in, and those it is printed in (largest first)."""

    name: str
    units: dict[str, int]
    printed: tuple[str, ...]
    example: str
    # Units that tc, libvirt and people read differently, by their lower-case spelling: how to write each reading.
    ambiguous: dict[str, str]

    def parse(self, text: str, scale: Scale) -> int:
        """Return how many steps of ``scale`` the text stands for.

        Raises `Unfit` for an unknown or ambiguous unit, a bare number, a negative number, zero,
        a value outside the scale, and one that is not a whole number of steps.
        """
        found = _QUANTITY.fullmatch(text.strip())
        if not found:
            raise Unfit(f"not a {self.name}", f"write a number and a unit, such as {self.example}")
        number, unit = found.groups()
        # Fractions are slow, and few numbers need one.
        value = (Fraction(number) if "." in number else int(number)) * self._unit(number, unit)
        if value < 0 or (value == 0 and scale.smallest > 0):
            kind = "negative" if value < 0 else "zero"
            raise Unfit(f"a {self.name} cannot be {kind}", f"the smallest is {self.format(scale.smallest, scale)}")
        steps, rest = divmod(value, scale.step)
        if steps < scale.smallest:
            raise Unfit(scale.rule, f"the smallest is {self.format(scale.smallest, scale)}")
        if steps > scale.largest or (steps == scale.largest and rest):
            raise Unfit(scale.rule, f"the largest is {self.format(scale.largest, scale)}")
        if rest:
            nearest = f"{self.format(steps, scale)} or {self.format(steps + 1, scale)}"
            raise Unfit(scale.rule, f"the nearest two are {nearest}")
        return steps

    def format(self, steps: int, scale: Scale) -> str:
        """Return the shortest exact text, in the largest unit that needs no more than three decimals.

        ``parse(format(n, scale), scale) == n`` for every ``n`` the scale holds.
        """
        value = Fraction(steps * scale.step)
        for unit in self.printed:
            size = self.units[unit]
            thousandths = value * 1000 / size
            if value >= size and thousandths.denominator == 1:
                whole, rest = divmod(thousandths.numerator, 1000)
                decimals = f".{rest:03d}".rstrip("0") if rest else ""
                return f"{whole}{decimals}{unit}"
        return f"{value.numerator}{self.printed[-1]}"

    def _unit(self, number: str, unit: str) -> int:
        if not unit:
            raise Unfit("a number without a unit is ambiguous", f"write the unit, such as {self.example}")
        size = self.units.get(unit)
        bits = unit.lower().removesuffix("/s")
        if size is None and bits.endswith("bit"):
            size = self.units.get(bits)
        if size is None:
            readings = self.ambiguous.get(unit.lower())
            if readings:
                raise Unfit(f"'{unit}' is read in two ways", "write " + readings.format(number=number))
            raise Unfit(f"'{unit}' is not a unit of a {self.name}", f"use one of {', '.join(self.units)}")
        return size


_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_NAMES = {"k": "kilo", "M": "mega", "G": "giga", "T": "tera"}


def _rate_units() -> dict[str, int]:
    bits = {prefix.lower() + "bit": size for prefix, size in (*_DECIMAL.items(), *_BINARY.items())}
    octets = {prefix + "B/s": 8 * size for prefix, size in (*_DECIMAL.items(), *_BINARY.items())}
    return {"bit": 1, **bits, "B/s": 8, **octets}


def _rate_readings() -> dict[str, str]:
    readings = {"bps": "{number}bit for bits, or {number}B/s for bytes as tc reads it", "b/s": ""}
    readings["b/s"] = readings["b"] = readings["bps"]
    for prefix, name in _NAMES.items():
        small = prefix.lower()
        both = f"{{number}}{small}bit for {name}bits, or {{number}}{prefix}B/s for {name}bytes (tc's '{small}bps')"
        readings.update({small + spelling: both for spelling in ("", "b", "bps", "b/s", "ib", "ib/s", "ibps")})
    return readings


def _size_readings() -> dict[str, str]:
    readings = {}
    for prefix, name in _NAMES.items():
        binary = f"{{number}}{prefix.upper()}iB for 1024-based {name}bytes (tc's '{prefix.lower()}b')"
        decimal = f"{{number}}{prefix}B for 1000-based ones"
        readings.update({prefix.lower() + spelling: f"{binary}, or {decimal}" for spelling in ("", "b")})
    return readings


RATE = Quantity(
    name="rate",
    units=_rate_units(),
    printed=("tbit", "gbit", "mbit", "kbit", "bit"),
    example="100mbit or 12.5MB/s",
    ambiguous=_rate_readings(),
)
SIZE = Quantity(
    name="size",
    units={"B": 1, **{prefix + "B": size for prefix, size in (*_DECIMAL.items(), *_BINARY.items())}},
    printed=("TiB", "GiB", "MiB", "KiB", "B"),
    example="512KiB or 64kB",
    ambiguous=_size_readings(),
)
TIME = Quantity(
    name="time",
    units={"us": 1, "ms": 10**3, "s": 10**6},
    printed=("s", "ms", "us"),
    example="10ms or 250us",
    ambiguous={"m": "{number}ms for milliseconds; minutes are not of this scale"},
)
