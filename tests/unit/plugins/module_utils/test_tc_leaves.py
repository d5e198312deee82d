# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import TIMED, Leaf
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import LeafWish, less_defaults
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import attributes
from ansible_collections.virtnet.qos.plugins.module_utils._tc_leaves import FQ_CODEL, decode, encode, packet_of

PACKET, QUEUE = 1514, 1000


def fq_codel(before: Leaf | None, *options: tuple[str, int]) -> dict[str, int]:
    """Return the options that are sent, by name."""
    sent = attributes(encode(before, Leaf("fq_codel", 1, options), PACKET, QUEUE))
    return {name: int.from_bytes(sent[number], "little") for name, number in FQ_CODEL.items() if number in sent}


@given(st.fixed_dictionaries({}, optional={name: st.integers(0, 2**31 - 1) for name in FQ_CODEL}))
def test_a_new_leaf_is_sent_what_is_named(options: dict[str, int]) -> None:
    assert fq_codel(None, *options.items()) == options


def test_a_changed_leaf_is_sent_what_differs_with_the_defaults() -> None:
    before = Leaf("fq_codel", 1, (("ce_threshold", 5), ("limit", 7), ("quantum", 300), ("target", 900)))
    assert fq_codel(before, ("ce_threshold", 6), ("ecn", 0), ("limit", 7)) == {
        "ce_threshold": 6,
        "ecn": 0,
        "quantum": PACKET,
        "target": 5000,
    }
    assert encode(before, before, PACKET, QUEUE) is None
    assert encode(Leaf("pfifo", 1, (("limit", 7),)), Leaf("pfifo", 1), PACKET, QUEUE) == struct.pack("=I", QUEUE)


@given(st.dictionaries(st.sampled_from(TIMED), st.integers(0, 2**31), min_size=1))
def test_times_are_read_as_they_are_wished(times: dict[str, int]) -> None:
    told = b"".join(
        # codel_time_t has steps of 1024 ns; told are whole microseconds of them.
        struct.pack("=HHI", 8, FQ_CODEL[name], ((time * 1000 >> 10) << 10) // 1000)
        for name, time in times.items()
    )
    wish = LeafWish("fq_codel", tuple(sorted(times.items())))
    missing = [("drop_batch", 64), ("ecn", 1), ("flows", 1024)]
    told += b"".join(struct.pack("=HHI", 8, FQ_CODEL[name], value) for name, value in missing)
    assert decode("fq_codel", told, PACKET, QUEUE) == less_defaults(wish, PACKET, QUEUE)


@pytest.mark.parametrize("kind", ["fq_codel", "sfq", "pfifo", "htb", ""])
@pytest.mark.parametrize("data", [b"", b"\1", bytes(40), b"\xff" * 11])
def test_odd_options_are_read_as_far_as_they_go(kind: str, data: bytes) -> None:
    decode(kind, data, PACKET, QUEUE)


@pytest.mark.parametrize(
    ("quanta", "packet"),
    [
        ([], PACKET),
        ([None], PACKET),
        ([300, 1518], 1518),
        ([1518, 1518, 9014], 1518),
        ([PACKET + 64], PACKET + 64),
        ([PACKET + 65, PACKET - 1], PACKET),
        ([1518, None], PACKET),
        ([1518, PACKET], PACKET),
        ([1518, 1520], PACKET),
    ],
)
@pytest.mark.parametrize("kind", ["fq_codel", "sfq"])
def test_how_long_a_header_is_leaves_without_a_quantum_tell(kind: str, quanta: list[int | None], packet: int) -> None:
    leaves = [Leaf(kind, 1, (("limit", 7), *([("quantum", each)] if each else []))) for each in quanta]
    others = [Leaf("pfifo", 1), Leaf("cake", 1)]
    assert packet_of(others + leaves, PACKET) == packet


def test_a_kind_that_nobody_knows_has_no_options() -> None:
    assert decode("cake", bytes(60), PACKET, QUEUE) == ()
    assert encode(None, Leaf("cake", 1), PACKET, QUEUE) is None
