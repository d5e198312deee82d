# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import (
    DEFAULTS,
    RANGES,
    LeafWish,
    defaults,
    kept_time,
    leaf_option,
    less_defaults,
    parse_leaf,
    reported_time,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

PACKET, QUEUE = 1514, 1000
TIMES = st.integers(0, 2**31)


def numbers(kind: str, name: str) -> st.SearchStrategy[int]:
    allowed = RANGES[kind][name]
    if allowed is None:
        return st.integers(0, 1)
    if isinstance(allowed, tuple):
        return st.integers(allowed[1].smallest, allowed[1].largest)
    return st.integers(allowed[0], allowed[-1])


@st.composite
def wishes(draw: st.DrawFn) -> LeafWish:
    kind = draw(st.sampled_from(sorted(DEFAULTS)))
    known = defaults(kind, PACKET, QUEUE)
    options = {}
    for name in draw(st.sets(st.sampled_from(sorted(RANGES[kind])))):
        usual = [st.just(known[name])] if name in known else []
        options[name] = draw(st.one_of(numbers(kind, name), *usual))
    return LeafWish(kind, tuple(sorted(options.items())))


def parsed(value: Any) -> LeafWish | None:
    problems = Problems()
    wish = parse_leaf(value, "leaf", problems)
    assert problems.found == []
    return wish


@pytest.mark.parametrize(
    ("value", "wish"),
    [
        ("none", None),
        ({"kind": "none"}, None),
        ("fq_codel", LeafWish("fq_codel")),
        ({"kind": "pfifo", "limit": None}, LeafWish("pfifo")),
        ({"kind": "pfifo", "limit": "7"}, LeafWish("pfifo", (("limit", 7),))),
        (
            {"kind": "fq_codel", "target": "2ms", "ecn": "no", "memory_limit": "1MiB", "flows": 65536},
            LeafWish("fq_codel", (("ecn", 0), ("flows", 65536), ("memory_limit", 1 << 20), ("target", 2000))),
        ),
        ({"kind": "sfq", "perturb": "10s", "quantum": "3kB"}, LeafWish("sfq", (("perturb", 10), ("quantum", 3000)))),
    ],
)
def test_what_is_written_is_understood(value: Any, wish: LeafWish | None) -> None:
    assert parsed(value) == wish


@pytest.mark.parametrize(
    ("value", "fragment"),
    [
        ("tbf", "leaf 'tbf': not a qdisc that can be inside a class; use one of fq_codel, sfq, pfifo, none."),
        (7, "leaf 7: not a qdisc"),
        ([], "leaf []: not a qdisc"),
        ({"limit": 7}, "leaf.kind: not a qdisc"),
        ({"kind": ["sfq"]}, "leaf.kind ['sfq']: not a qdisc"),
        ({"kind": "none", "limit": 7}, "leaf.limit 7: none has no such option; leave it out."),
        ({"kind": "pfifo", "flows": 7}, "leaf.flows 7: pfifo has no such option; use one of limit."),
        ({"kind": "pfifo", "limit": 0}, "leaf.limit 0: not a whole number from 1 to 4294967295"),
        ({"kind": "pfifo", "limit": True}, "leaf.limit True: not a whole number"),
        ({"kind": "pfifo", "limit": "-1"}, "leaf.limit '-1': not a whole number"),
        ({"kind": "pfifo", "limit": 1.5}, "leaf.limit 1.5: not a whole number"),
        ({"kind": "sfq", "limit": 1}, "not a whole number from 2 to 16256"),
        ({"kind": "sfq", "perturb": 10}, "leaf.perturb '10': a number without a unit is ambiguous"),
        ({"kind": "sfq", "perturb": "10ms"}, "sfq takes perturb as whole seconds to 2147483s"),
        ({"kind": "sfq", "perturb": "1500ms"}, "the nearest two are 1s or 2s"),
        ({"kind": "sfq", "quantum": "262137B"}, "sfq takes a quantum from 1B to 262136B; the largest is 262136B."),
        ({"kind": "fq_codel", "flows": 65537}, "not a whole number from 1 to 65536"),
        ({"kind": "fq_codel", "quantum": "255B"}, "the smallest is 256B"),
        ({"kind": "fq_codel", "quantum": "2MiB"}, "the largest is 1MiB"),
        ({"kind": "fq_codel", "memory_limit": "3GiB"}, "the largest is 2GiB"),
        ({"kind": "fq_codel", "target": "5"}, "a number without a unit is ambiguous"),
        ({"kind": "fq_codel", "target": "2148s"}, "CoDel's clock"),
        ({"kind": "fq_codel", "ecn": 2}, "leaf.ecn 2: neither true nor false"),
    ],
)
def test_what_cannot_be_is_refused(value: Any, fragment: str) -> None:
    problems = Problems()
    parse_leaf(value, "leaf", problems)
    (problem,) = problems.found
    assert fragment in problem


@given(wishes())
def test_what_is_left_of_a_wish_without_the_defaults_means_the_same(wish: LeafWish) -> None:
    known = defaults(wish.kind, PACKET, QUEUE)
    left = less_defaults(wish, PACKET, QUEUE)
    assert list(left) == sorted(left)
    assert not any(known.get(name) == value for name, value in left)
    meant = {
        name: kept_time(value) if name in ("target", "interval", "ce_threshold") else value
        for name, value in wish.options
    }
    assert {**known, **dict(left)} == {**known, **meant}


@given(wishes())
def test_a_qdisc_is_written_as_it_may_be_pasted_back(wish: LeafWish) -> None:
    left = less_defaults(wish, PACKET, QUEUE)
    assert parsed(leaf_option(wish.kind, left)) == LeafWish(wish.kind, left)


@given(TIMES)
def test_times_survive_how_the_kernel_rounds_them(time: int) -> None:
    def reported(written: int) -> int:  # fq_codel_change(), then codel_time_to_us()
        return ((written * 1000 >> 10) << 10) // 1000

    assert reported_time(reported(time)) == kept_time(time) <= time
    assert reported(kept_time(time)) == reported(time)
    assert kept_time(kept_time(time)) == kept_time(time)


def test_the_usual_times_are_kept_as_they_are_written() -> None:
    assert [reported_time(4999), reported_time(99999)] == [5000, 100000]
    assert all(kept_time(1000 * number) == 1000 * number for number in range(1, 1000))


def test_what_the_kernel_takes_from_the_device() -> None:
    assert defaults("pfifo", 1514, 0) == {"limit": 1000}
    assert defaults("sfq", 9014, 5) == {"limit": 127, "perturb": 0, "quantum": 9014}
    assert defaults("cake", 1514, 5) == {}
