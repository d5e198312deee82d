# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Curve, HfscClass, Leaf, Tree

MBIT = 125_000
curves = st.builds(Curve, m2=st.integers(1, 100), m1=st.integers(0, 100), d=st.integers(0, 100))


def test_a_first_slope_without_a_time_is_no_difference() -> None:
    assert Curve(5, m1=9, d=0) == Curve(5)


@given(curves, curves)
def test_a_curve_reaches_another_when_it_is_nowhere_below(one: Curve, other: Curve) -> None:
    times = [0, 1, one.d, other.d, one.d + other.d + 1, 10**7]
    nowhere_below = all(one.served(time) >= other.served(time) for time in times)
    assert one.reaches(other) == (nowhere_below and one.m2 >= other.m2)


def test_curves_are_written_as_they_may_be_pasted_back() -> None:
    node = HfscClass(rt=Curve(MBIT, 2 * MBIT, 10_000), ls=Curve(1))
    assert str(node) == "rt m1 2mbit d 10ms m2 1mbit, ls 8bit"


def test_a_leaf_is_written_as_tc_has_it() -> None:
    assert str(Leaf("fq_codel", 0x64, (("ecn", 0), ("target", 1000)))) == "fq_codel 64: noecn target 1000us"


def test_the_number_of_flows_is_for_ever_and_ce_threshold_is_not_switched_off() -> None:
    plain, other = Leaf("fq_codel", 1), Leaf("fq_codel", 1, (("flows", 8),))
    marking = Leaf("fq_codel", 1, (("ce_threshold", 9),))
    assert plain.changes_in_place_to(Leaf("fq_codel", 1, (("limit", 8),)))
    assert plain.changes_in_place_to(marking)
    for before, after in ((plain, other), (marking, plain), (plain, Leaf("sfq", 1)), (plain, Leaf("fq_codel", 2))):
        assert not before.changes_in_place_to(after)


def test_what_is_above_and_below_a_class() -> None:
    tree = Tree(classes={1: HfscClass(), 2: HfscClass(parent=1), 3: HfscClass(parent=2), 4: HfscClass(parent=4)})
    assert tree.ancestors(3) == [2, 1]
    assert tree.ancestors(4) == [4]
    assert tree.below([1]) == {1, 2, 3}
    assert tree.parents_first([3, 2, 1]) == [1, 2, 3]
