# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, SIZE, TIME, Quantity, Scale, Unfit

BITS = Scale(1, 1, 10**18, "whole bits")
KBYTES = Scale(8000, 1, 2**32 - 1, "libvirt keeps rates as a whole number of kB/s")
KIBIBYTES = Scale(1024, 1, 4194303, "libvirt keeps bursts as a whole number of KiB")
MICROSECONDS = Scale(1, 0, 2**32 - 1, "whole microseconds")


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("800bit", 800),
        ("64kbit", 64_000),
        ("100mbit", 100_000_000),
        ("100Mbit", 100_000_000),
        ("100Mbit/s", 100_000_000),
        ("1.5gbit", 1_500_000_000),
        ("2tbit", 2 * 10**12),
        ("1Mibit", 2**20),
        ("12.5MB/s", 100_000_000),
        ("1000kB/s", 8_000_000),
        ("1000KiB/s", 8_192_000),
        (" 1 GiB/s ", 8 * 2**30),
    ],
)
def test_a_rate_is_bits_per_second(text: str, bits: int) -> None:
    assert RATE.parse(text, BITS) == bits


@pytest.mark.parametrize(
    ("text", "octets"), [("1B", 1), ("64kB", 64_000), ("512KiB", 524_288), ("1.5MiB", 1_572_864), ("1GB", 10**9)]
)
def test_a_size_is_bytes(text: str, octets: int) -> None:
    assert SIZE.parse(text, Scale(1, 1, 10**12, "bytes")) == octets


@pytest.mark.parametrize(("text", "us"), [("0ms", 0), ("250us", 250), ("10ms", 10_000), ("1.5s", 1_500_000)])
def test_a_time_is_microseconds(text: str, us: int) -> None:
    assert TIME.parse(text, MICROSECONDS) == us


@pytest.mark.parametrize(
    ("quantity", "scale", "text", "rule", "remedy"),
    [
        (RATE, KBYTES, "100", "without a unit", "100mbit"),
        (RATE, KBYTES, "100Mbps", "read in two ways", "100mbit for megabits, or 100MB/s for megabytes"),
        (RATE, KBYTES, "100kbps", "read in two ways", "100kbit for kilobits, or 100kB/s for kilobytes"),
        (RATE, KBYTES, "100bps", "read in two ways", "100bit for bits, or 100B/s for bytes"),
        (RATE, KBYTES, "100M", "read in two ways", "100mbit"),
        (RATE, KBYTES, "100mb/s", "read in two ways", "100MB/s"),
        (RATE, KBYTES, "100furlongs", "not a unit of a rate", "mbit"),
        (RATE, KBYTES, "-1mbit", "cannot be negative", "8kbit"),
        (RATE, KBYTES, "0mbit", "cannot be zero", "8kbit"),
        (RATE, KBYTES, "", "not a rate", "write a number and a unit"),
        (RATE, KBYTES, "1e3mbit", "not a rate", "write a number and a unit"),
        (RATE, KBYTES, "٣mbit", "not a rate", "write a number and a unit"),
        (RATE, KBYTES, "9" * 5000 + "mbit", "not a rate", "write a number and a unit"),
        (RATE, KBYTES, "100tbit", "kB/s", "the largest is 34359738.36mbit"),
        (RATE, KBYTES, "1kbit", "kB/s", "the smallest is 8kbit"),
        (RATE, KBYTES, "1.2345mbit", "kB/s", "the nearest two are 1.232mbit or 1.24mbit"),
        (SIZE, KIBIBYTES, "64kB", "KiB", "the nearest two are 62KiB or 63KiB"),
        (SIZE, KIBIBYTES, "64kb", "read in two ways", "64KiB for 1024-based kilobytes (tc's 'kb'), or 64kB"),
        (SIZE, KIBIBYTES, "4GiB", "KiB", "the largest is 4194303KiB"),
        (TIME, MICROSECONDS, "10m", "read in two ways", "10ms"),
        (TIME, MICROSECONDS, "0.5us", "whole microseconds", "the nearest two are 0us or 1us"),
    ],
)
def test_what_is_refused_names_the_rule_and_the_way_out(
    quantity: Quantity, scale: Scale, text: str, rule: str, remedy: str
) -> None:
    with pytest.raises(Unfit) as refused:
        quantity.parse(text, scale)
    assert rule in refused.value.rule
    assert remedy in refused.value.remedy


@given(st.integers(1, 2**32 - 1))
def test_what_is_printed_can_be_pasted_back(steps: int) -> None:
    assert RATE.parse(RATE.format(steps, KBYTES), KBYTES) == steps


@given(st.integers(1, 4194303))
def test_a_printed_size_can_be_pasted_back(steps: int) -> None:
    assert SIZE.parse(SIZE.format(steps, KIBIBYTES), KIBIBYTES) == steps


@given(st.integers(0, 2**32 - 1))
def test_a_printed_time_can_be_pasted_back(steps: int) -> None:
    assert TIME.parse(TIME.format(steps, MICROSECONDS), MICROSECONDS) == steps


@given(
    st.decimals(min_value=0, max_value=10**9, places=6, allow_nan=False, allow_infinity=False),
    st.sampled_from(sorted(RATE.units)),
)
def test_a_rate_is_exact_or_refused(number: object, unit: str) -> None:
    text = f"{number:f}{unit}"
    bits = Fraction(f"{number:f}") * RATE.units[unit]
    try:
        assert RATE.parse(text, KBYTES) * 8000 == bits
    except Unfit:
        assert bits % 8000 or not KBYTES.smallest <= bits / 8000 <= KBYTES.largest
