# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils import _tc_netlink
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    GETQDISC,
    GETTCLASS,
    GETTFILTER,
    INGRESS,
    INGRESS_FILTERS,
    KIND,
    OPTIONS,
    ROOT,
    Message,
    nested,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import (
    Limits,
    Other,
    Roots,
    Shape,
    limits_of,
    roots_by_device,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import limits
from ansible_collections.virtnet.qos.tests.kernel.limited import LIMITED
from ansible_collections.virtnet.qos.tests.unit.recordings import recorded


@pytest.mark.parametrize("name", LIMITED)
def test_what_a_kernel_told_is_read(name: str) -> None:
    parts = recorded(f"limited_{name}")
    (roots,) = roots_by_device(parts["qdisc"]).values() or [Roots()]
    assert limits_of(roots, parts["class"], parts["filter"], parts["received"]) == LIMITED[name][1]


def message(
    kind: str, options: bytes = b"", *, parent: int = ROOT, handle: int = 0x10000, info: int = 0x300
) -> Message:
    return Message(3, handle, parent, info, nested({KIND: kind.encode() + b"\0", OPTIONS: options}))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("noqueue", None), ("fq_codel", None), ("tbf", Other("qdisc tbf 1:")), ("hfsc", Other("qdisc hfsc 1:"))],
)
def test_other_roots(kind: str, expected: Other | None) -> None:
    roots = roots_by_device([message(kind)])
    assert limits_of(roots[3], [], [], []) == Limits(expected)


def test_the_kernels_own_qdiscs_limit_nothing() -> None:
    assert roots_by_device([message("pfifo_fast", handle=0), message("fq_codel", parent=0x10001, handle=0)]) == {}
    assert roots_by_device([message("clsact", parent=INGRESS, handle=0xFFFF0000)]) == {3: Roots(None, True)}


def test_wide_rates() -> None:
    """The kernel keeps 34 Gbit/s and more in attributes of their own."""
    rate = 12_500_000_000
    narrow = struct.pack("=BBHhHI", 0, 0, 0, 0, 0, 2**32 - 1)
    ticks = 1024 * 1024 * 15_625_000 // rate
    parameters = narrow * 2 + struct.pack("=IIIII", ticks, ticks, 0, 0, 0)
    wide = struct.pack("=Q", rate)
    options = nested({1: parameters, 6: wide, 7: struct.pack("=Q", 2 * rate)})
    root = message("htb", nested({2: struct.pack("=IIIII", 3, 10, 1, 0, 0)}))
    police = struct.pack("=IiIII", 1, 2, 0, ticks, 65536) + narrow * 2 + bytes(12)
    action = nested({1: nested({1: b"police\0", 2: nested({1: police, 8: wide})})})
    found = limits_of(
        roots_by_device([root])[3],
        [message("htb", options, handle=0x10001)],
        [],
        [message("matchall", nested({2: action}))],
    )
    assert isinstance(found.sent, Shape)
    assert isinstance(found.received, Shape)
    assert (found.sent.rate, found.sent.ceil, found.received.rate) == (rate, 2 * rate, rate)
    for shape in (found.sent, found.received):
        assert abs(shape.burst - 1024 * 1024) <= shape.tolerance


@given(st.binary(max_size=80), st.sampled_from(["htb", "u32", "matchall"]))
def test_whatever_comes_is_no_failure(data: bytes, kind: str) -> None:
    each = [message(kind, nested(dict.fromkeys((1, 2, 5, 6, 7), data)), handle=0x10001)]
    limits_of(Roots(message("htb", data), True), each, each, each)
    limits_of(Roots(message("htb", nested({2: struct.pack("=III", 3, 10, 1)})), True), each, each, each)


def test_only_what_has_something_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    qdiscs = [*recorded("limited_tap")["qdisc"], *recorded("limited_bridge")["qdisc"]]
    tap, bridge = (recorded(f"limited_{name}")["qdisc"][0].device for name in ("tap", "bridge"))

    class Route:
        def dump(self, number: int, index: int | None = None, parent: int = 0) -> list[Message]:
            asked.append((number, index, parent))
            return qdiscs if number == GETQDISC else []

    monkeypatch.setattr(_tc_netlink, "Route", Route)
    there = [{"vnet0": tap, "virbrq": bridge, "vnet1": 901, "vnet2": 902, "eth0": 903}]
    there.append({**there[0], "vnet1": 904})
    monkeypatch.setattr(_tc_netlink, "devices", lambda: there.pop(0))
    # vnet1 became another device meanwhile, vnet3 is not there.
    assert sorted(limits(["vnet0", "vnet1", "vnet2", "vnet3"], ["virbrq"])) == ["virbrq", "vnet0", "vnet2"]
    assert asked == [
        (GETQDISC, None, 0),
        (GETTCLASS, tap, 0x10000),
        (GETTFILTER, tap, INGRESS_FILTERS),
        (GETTCLASS, bridge, 0x10000),
        (GETTFILTER, bridge, 0x10000),
        (GETTFILTER, bridge, INGRESS_FILTERS),
    ]
