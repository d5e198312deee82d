# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold for any two trees, whatever they are; how many are tried, and which: see docs/kernel-lab.md."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import MINORS
from ansible_collections.virtnet.qos.plugins.modules import tc_hfsc_class, tc_hfsc_info

PAIRS = int(os.environ.get("VIRTNET_QOS_PAIRS", "25"))
SEED = int(os.environ.get("VIRTNET_QOS_SEED", "1"))
RTNLGRP_TC = 4
DEVICES = ("one", "two", "three")
Options = dict[str, Any]


# Trees, as a user writes them. Pools are small, so that two trees have much in common.

IDENTITIES: list[Options] = [
    *({"vlan": vlan} for vlan in (1, 100, 200, 4094)),
    *({"classid": classid} for classid in (":a", ":b", "1389:300", ":1389", f":{MINORS[-1]:x}")),
    {"vlan": 0, "classid": ":d"},
    {"vlan": 300, "classid": ":e"},
]
# No two of them fit the same packet and fix as many bits, so any of them may stand side by side.
MATCHES: list[Options] = [
    *({"fwmark": mark} for mark in ("1", "0x64", "4294967295")),
    *({"vlan": vlan} for vlan in (10, 20)),  # 12 bits
    *({"dscp": dscp} for dscp in ("ef", "0", "cs1")),  # 6
    *({"ip_proto": protocol} for protocol in ("icmp", "gre", "255")),  # 8
    *({"src": network} for network in ("10.0.0.0/9", "2000::/9")),  # 9
    *({"dst": network} for network in ("192.0.2.0/24", "198.51.100.0/24")),  # 24
    *({"dst": address} for address in ("192.0.2.1", "2001:db8::1")),  # 32 and 128
    *({"ip_proto": "udp", "dst_port": port} for port in ("8000-8999", "9000-9900")),  # 14
    *({"ip_proto": "tcp", "src_port": port, "dst": "2001:db8::/64"} for port in ("22", "443")),  # 88
    *({"vlan": vlan, "dscp": dscp} for vlan in (10, 100) for dscp in ("ef", "af41")),  # 18
    {"vlan": 100, "src": "10.0.0.1", "ip_proto": "sctp", "src_port": "1", "dst_port": "65535"},  # 84
]
LEAVES: dict[str, dict[str, list[Any]]] = {
    "fq_codel": {
        "limit": [1, 10240, 4294967295],
        "flows": [1, 512, 1024],
        "target": ["1ms", "5ms", "33us"],
        "interval": ["100ms", "1s"],
        "quantum": ["300B", "1514B"],
        "memory_limit": ["4MiB", "32MiB"],
        "drop_batch": [1, 64],
        "ecn": [True, False],
        "ce_threshold": ["0s", "1ms"],
    },
    "sfq": {"limit": [2, 127, 1000], "quantum": ["1514B", "3000B"], "perturb": ["0s", "10s"]},
    "pfifo": {"limit": [1, 1000, 4294967295]},
}
bytes_a_second = st.one_of(st.sampled_from([1, 125, 125_000, 1_250_000, 2**32 - 1]), st.integers(1, 2**32 - 1))
microseconds = st.one_of(st.sampled_from([1, 10_000]), st.integers(1, 2**32 - 1))


def rate(number: int) -> str:
    return f"{number * 8}bit"


def curve_of(m1: int | None, d: int, m2: int) -> Any:
    return rate(m2) if m1 is None else {"m1": rate(m1), "d": f"{d}us", "m2": rate(m2)}


curves = st.tuples(st.none() | st.just(0) | bytes_a_second, microseconds, bytes_a_second)


@st.composite
def links(draw: st.DrawFn) -> Options:
    if draw(st.booleans()):
        return {"share": draw(st.integers(1, 34359))}
    return {"ls": curve_of(*draw(curves))}


@st.composite
def inner_curves(draw: st.DrawFn) -> Options:
    ul = draw(st.none() | curves)
    return {**draw(links()), **({"ul": curve_of(*ul)} if ul else {})}


@st.composite
def leaf_curves(draw: st.DrawFn) -> Options:
    kind = draw(st.sampled_from(["ls", "ls", "rt", "both", "sc"]))
    rt = draw(curves)
    options: Options = draw(links()) if kind in ("ls", "both") else {}
    if kind in ("rt", "both", "sc"):
        options["sc" if kind == "sc" else "rt"] = curve_of(*rt)
    if kind != "rt" and draw(st.booleans()):
        least = max(rt[0] or 0, rt[2]) if kind != "ls" else 1
        options["ul"] = rate(draw(st.one_of(st.just(least), st.integers(least, 2**32 - 1))))
    return options


@st.composite
def leaves(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["none", *LEAVES]))
    if kind == "none" or draw(st.booleans()):
        return kind
    names = draw(st.lists(st.sampled_from(sorted(LEAVES[kind])), unique=True))
    return {"kind": kind, **{name: draw(st.sampled_from(LEAVES[kind][name])) for name in names}}


@st.composite
def trees(draw: st.DrawFn) -> list[Options]:
    number = draw(st.integers(0, 8))
    chosen = draw(st.lists(st.sampled_from(IDENTITIES), unique_by=str, min_size=number, max_size=number))
    classes = [dict(each) for each in chosen]
    inner = set()
    for place, element in enumerate(classes):
        above = [each["classid"] for each in classes[:place] if "vlan" not in each]
        parent = draw(st.none() | st.sampled_from(above)) if above else None
        if parent:
            element["parent"] = parent
            inner.add(parent)
    with_leaf = [each for each in classes if each.get("classid") not in inner]
    default = draw(st.sampled_from(["none", "own", "one of them"]))
    if with_leaf and default == "one of them":
        draw(st.sampled_from(with_leaf))["default"] = True
    elif default == "own" or not classes:
        classes.append({"default": True})
        with_leaf.append(classes[-1])
    for element in classes:
        element.update(draw(leaf_curves() if element in with_leaf else inner_curves()))
        if element in with_leaf and draw(st.booleans()):
            element["leaf"] = draw(leaves())
    # Of two masks, the same number of bits, which one device cannot have side by side, but one after the other.
    mask = draw(st.sampled_from(["0xff", "0xff00"]))
    pool = [*MATCHES, *({"fwmark": f"0x{mark}/{mask}"} for mark in ("1100", "2200") if mask == "0xff00")]
    pool += [{"fwmark": f"0x{mark}/{mask}"} for mark in ("11", "22") if mask == "0xff"]
    for match in draw(st.lists(st.sampled_from(pool), unique_by=str, max_size=6)):
        if with_leaf:
            draw(st.sampled_from(with_leaf)).setdefault("match", []).append(match)
    return draw(st.permutations(classes))


# What is done with them


def run(*command: str, batch: str | None = None) -> str:
    done = subprocess.run(command, input=batch, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}\n{batch or ''}"
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def devices() -> Iterator[None]:
    for device in DEVICES:
        run("ip", "link", "add", device, "up", "type", "dummy")
    yield
    for device in DEVICES:
        run("ip", "link", "del", device)


@pytest.fixture(scope="module")
def kernel() -> Iterator[socket.socket]:
    """Whatever changes a qdisc, a class or a filter is heard here."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 1 << RTNLGRP_TC - 1))
        kernel.setblocking(False)
        yield kernel


def heard(kernel: socket.socket) -> int:
    number = 0
    with contextlib.suppress(BlockingIOError):
        while kernel.recv(65536):
            number += 1
    return number


def outcome(main: Callable[[], None], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit):
        main()
    result: dict[str, Any] = json.loads(output.getvalue())
    assert not result.get("failed"), f"{json.dumps(options)}: {result['msg']}"
    return result


def declare(device: str, classes: list[Options], check: bool = False) -> dict[str, Any]:
    more = {"_ansible_check_mode": check, "_ansible_diff": True}
    return outcome(tc_hfsc_class.main, device=device, classes=classes, prune=True, allow_overcommit=True, **more)


def clear() -> None:
    batch = "".join(f"qdisc del dev {device} root\n" for device in DEVICES)
    subprocess.run(["tc", "-force", "-batch", "-"], input=batch, text=True, capture_output=True, check=False)


def shown(device: str) -> list[str]:
    """Return all of a device's tree as tc prints it, less what says only in which order things were made."""
    lines = run(
        "tc", "-batch", "-", batch="".join(f"{each} show dev {device}\n" for each in ("qdisc", "class", "filter"))
    )
    lines = re.sub(r"\s*index \d+ ref \d+ bind \d+|refcnt \d+ ", "", lines)
    # A flow of fq_codel that has a packet: of a device that is up, the kernel sends some by itself.
    lines = re.sub(r"^class fq_codel .*\n", "", lines, flags=re.MULTILINE)
    lines = re.sub(r"\b80[0-9a-f](?=:| bkt)", "800", lines)  # the tables of u32, of which there may have been others
    return sorted(re.findall(r"^\S.*(?:\n[ \t].*)*", lines, re.MULTILINE))


def converges(device: str, classes: list[Options], kernel: socket.socket) -> dict[str, Any]:
    """Apply a tree in the four ways there are, and return the result."""
    before = shown(device)
    heard(kernel)
    predicted = declare(device, classes, check=True)
    assert heard(kernel) == 0
    assert shown(device) == before
    applied = declare(device, classes)
    assert predicted == applied
    assert applied["changed"] == (shown(device) != before) == (heard(kernel) > 0) == bool(applied["actions"])
    for check in (False, True):
        again = declare(device, classes, check=check)
        assert not again["changed"], again["actions"]
        assert again["diff"] == {"before": "", "after": ""}
        assert again["script"] == applied["script"]
    assert heard(kernel) == 0
    return applied


@seed(SEED)
@settings(
    max_examples=PAIRS,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(first=trees(), second=trees())
def test_any_two_trees(kernel: socket.socket, first: list[Options], second: list[Options]) -> None:
    note(f"VIRTNET_QOS_SEED={SEED} VIRTNET_QOS_PAIRS={PAIRS}")
    note(f"first: {json.dumps(first)}")
    note(f"second: {json.dumps(second)}")
    clear()
    declare("one", first)
    applied = converges("one", second, kernel)
    there = shown("one")

    # What was there before has left nothing behind.
    declare("two", second)
    assert shown("two") == there

    # The script makes the same tree from nothing.
    run("tc", "-batch", "-", batch=re.sub(r"\bdev one\b", "dev three", applied["script"]))
    assert shown("three") == there

    # What the tree is said to be is that tree.
    heard(kernel)
    (info,) = outcome(tc_hfsc_info.main, device="one")["devices"]
    assert not info["foreign"]
    assert not declare("one", info["classes"])["changed"]
    assert heard(kernel) == 0


@pytest.fixture(scope="module", autouse=True)
def said(devices: None) -> Iterator[None]:
    """So that any run can be done again, and a longer one be told from a shorter."""
    yield
    print(f"\n{PAIRS} pairs of trees, VIRTNET_QOS_SEED={SEED}")
