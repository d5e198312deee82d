# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import errno
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import TAGGED, Curve, Filter, HfscClass, Leaf, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, Rule, rules_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import PARTS, Step
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link, devices, enter
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Tc, TcError, roots
from ansible_collections.virtnet.qos.tests.kernel.scenarios import DEFAULT, LS, MAJOR, SCENARIOS, Scenario

OURS = {name: scenario for name, scenario in SCENARIOS.items() if scenario.ours}


def tc(batch: str) -> str:
    done = subprocess.run(["tc", "-batch", "-"], input=batch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown() -> str:
    said = tc("qdisc show dev near\nfilter show dev near\n") + "".join(
        sorted(tc("class show dev near").splitlines(True))
    )
    return re.sub(r"index \d+ ref 1 bind 1|refcnt \d+ ", "", said)


def grown(tree: Tree) -> list[Step]:
    """Return the steps that make a tree where there is none."""
    order = [("classes", minor) for minor in tree.parents_first(tree.classes)]
    order += [(part, key) for part in ("leaves", "lifts", "filters") for key in getattr(tree, part)]
    steps = [Step("qdisc", major, None, default) for major, default in tree.qdisc.items()]
    return steps + [Step(part, key, None, getattr(tree, part)[key]) for part, key in order]


@pytest.fixture
def near() -> Iterator[Tc]:
    subprocess.run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"], check=True)
    yield Tc("near", devices()["near"], MAJOR)
    subprocess.run(["ip", "link", "del", "near"], check=True)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_what_tc_makes_is_read(near: Tc, scenario: Scenario) -> None:
    tc(scenario.batch)
    assert near.read() == scenario.tree


@pytest.mark.parametrize("scenario", OURS.values(), ids=OURS)
def test_what_is_sent_is_what_tc_makes(near: Tc, scenario: Scenario) -> None:
    tc(scenario.batch)
    made_by_tc = shown()
    near.send([Step("qdisc", MAJOR, 0, None)])
    steps = grown(scenario.tree)
    near.send(steps)
    assert shown() == made_by_tc
    again = near.read_again(steps)
    assert [getattr(again, part) for part in PARTS] == [getattr(scenario.tree, part) for part in PARTS]
    near.send([Step("qdisc", MAJOR, 0, None)])
    assert near.read_again(steps) == Tree()


def test_a_link_is_known_without_sys(near: Tc) -> None:
    assert near.link == Link("veth", "far")
    subprocess.run(["ip", "link", "set", "near", "mtu", "9000", "txqueuelen", "7"], check=True)
    assert Tc("near", near.index, MAJOR).link == Link("veth", "far", 9014, 7)
    # A device on a veth is as fast as a veth says it is.
    subprocess.run(["ip", "link", "add", "link", "near", "name", "near.5", "type", "vlan", "id", "5"], check=True)
    link = Tc("near.5", devices()["near.5"], MAJOR).link
    assert (link.kind, link.below, link.speed) == ("vlan", "near", 1_250_000_000)
    assert Tc("lo", 1, MAJOR).link == Link("loopback", "", 65536 + 14)
    with pytest.raises(TcError) as raised:
        Tc("gone", 999, MAJOR)
    assert raised.value.number == errno.ENODEV


def test_a_device_that_is_gone_is_not_an_empty_one(near: Tc) -> None:
    subprocess.run(["ip", "link", "del", "near"], check=True)
    with pytest.raises(TcError) as raised:
        near.read()
    assert raised.value.number == errno.ENODEV
    subprocess.run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"], check=True)


def test_strays_go_and_nothing_else(near: Tc) -> None:
    for name in ("vdsm", "strays"):
        tc(SCENARIOS[name].batch)
        tree = near.read()
        near.send([Step("strays", stray, True, None) for stray in tree.strays])
        near.send([Step("lifts", TAGGED, lifts, None) for lifts in tree.lifts.values()])
        left = near.read()
        assert (left.strays, left.lifts) == ({}, {})
        assert (left.filters, left.classes, left.leaves) == (tree.filters, tree.classes, tree.leaves)
        near.send([Step("filters", *pair, None) for pair in left.filters.items()])
        assert tc("filter show dev near") == ""
        near.send([Step("qdisc", MAJOR, 0x1388, None)])
        subprocess.run(["tc", "qdisc", "del", "dev", "near", "ingress"], check=False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("fq_codel", "fq_codel limit 5 target 9ms interval 80ms quantum 400 memory_limit 4mb drop_batch 3 noecn"),
        ("fq_codel limit 5 flows 7 target 9ms quantum 400 noecn ce_threshold 1ms", "fq_codel flows 7 ce_threshold 2ms"),
        ("fq_codel limit 5 target 9ms interval 80ms quantum 400 memory_limit 4mb drop_batch 3 noecn", "fq_codel"),
        ("pfifo", "pfifo limit 5"),
        ("pfifo limit 5", "pfifo"),
    ],
)
def test_a_leaf_is_changed_where_it_is(near: Tc, before: str, after: str) -> None:
    leaf = "qdisc add dev near parent 1389:1388 handle 1:"
    tc(DEFAULT)
    tc(f"{leaf} {after}")
    wanted, text = near.read().leaves[0x1388], shown()
    tc("qdisc del dev near parent 1389:1388")
    tc(f"{leaf} {before}")
    near.send([Step("leaves", 0x1388, near.read().leaves[0x1388], wanted)])
    assert near.read().leaves[0x1388] == wanted
    assert shown() == text


def small(*minors: int) -> list[Step]:
    nodes = dict.fromkeys(minors, LS)
    return grown(Tree({MAJOR: 0x1388}, nodes, {minor: Leaf("fq_codel", minor) for minor in minors}))


def test_a_thousand_classes_go_and_come(near: Tc) -> None:
    minors = range(1, 1001)
    rules = {Rule(Match(vlan=minor), True): Filter(minor, minor) for minor in minors}
    steps = small(*minors) + [Step("filters", rule, None, to) for rule, to in rules.items()]
    near.send(steps)
    tree = near.read()
    assert (len(tree.classes), len(tree.leaves), tree.filters) == (1000, 1000, rules)
    assert near.drain(minors, 1) == {}
    near.send([Step(step.part, step.key, step.after, None) for step in reversed(steps)])
    assert near.read() == Tree()


def test_the_first_refusal_ends_it_after_its_send(near: Tc) -> None:
    steps = small(*range(1, 200))
    twice = Step("classes", 9, None, LS)
    steps[50:50] = [twice]
    with pytest.raises(TcError) as raised:
        near.send(steps)
    error = raised.value
    assert (error.number, error.step, error.unclear) == (errno.EEXIST, twice, False)
    assert error.done == steps[:50] + steps[51:100]
    assert len(near.read().classes) == 98


def test_the_kernels_own_words_are_passed_on(near: Tc) -> None:
    before, after = Leaf("sfq", 1), Leaf("sfq", 1, (("limit", 5),))
    near.send(grown(Tree({MAJOR: 0x1388}, {1: LS}, {1: before})))
    step = Step("leaves", 1, before, after)
    with pytest.raises(TcError, match="Change operation not supported by specified qdisc") as raised:
        near.send([step])
    assert (raised.value.number, raised.value.step, raised.value.done) == (errno.EINVAL, step, [])


def test_a_small_socket_buffer_holds_the_answers(near: Tc) -> None:
    near._route._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212992 // 2)  # the usual limit; it is doubled
    near.send(small(*range(1, 100)))
    with pytest.raises(TcError) as raised:
        near.send(small(*range(1, 200)))
    assert raised.value.number == errno.EEXIST


def test_roots_of_all_devices_are_listed(near: Tc) -> None:
    assert near.index not in roots()
    near.send(small(1))
    tc("qdisc add dev far root handle 7: prio")
    assert roots() == {near.index: ("hfsc", MAJOR), devices()["far"]: ("prio", 7)}


def test_another_namespace_is_entered(near: Tc) -> None:
    subprocess.run(["ip", "netns", "add", "other"], check=True)
    link = "link add inside mtu 1000 type veth peer name peer"
    subprocess.run(["ip", "-netns", "other", *link.split()], check=True)

    def entered(name: str) -> Any:
        try:
            enter(name)
            return devices().keys(), Tc("inside", devices()["inside"], 1).link
        except OSError as error:
            return error.filename

    said = []
    for name in ("other", "/run/netns/other", "nowhere"):
        thread = threading.Thread(target=lambda name=name: said.append(entered(name)))  # it enters alone
        thread.start()
        thread.join()
    subprocess.run(["ip", "netns", "del", "other"], check=True)
    assert said == [({"inside", "lo", "peer"}, Link("veth", "peer", 1014))] * 2 + ["/run/netns/nowhere"]
    assert not Path("/run/netns/nowhere").exists()


UDP, TCP, SCTP = 17, 6, 132


def packet(*, version: int = 4, tos: int = 0, protocol: int = UDP, **more: Any) -> bytes:
    """Return a whole IPv4 or IPv6 packet with ports; those of other protocols have that at their place, too."""
    src, dst = (more.get(side, "10.9.9.9" if version == 4 else "fd00::9") for side in ("src", "dst"))
    ends = ip_address(src).packed + ip_address(dst).packed
    content = struct.pack("!HH36x", *more.get("ports", (1, 2)))
    if version == 4:
        return struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(content), 0, 0, 64, protocol, 0) + ends + content
    return struct.pack("!IHBB", 6 << 28 | tos << 20, len(content), protocol, 64) + ends + content


def send(packet: bytes, inner: int | None = None, device: str = "near", mark: int = 0) -> None:
    """Send a packet in a frame, with a VLAN's tag inside or none."""
    ethertype = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    tag = b"" if inner is None else struct.pack("!HH", 0x8100, inner)
    frame = bytes.fromhex("020000000002" + "020000000001") + tag + struct.pack("!H", ethertype) + packet
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        raw.bind((device, 0))
        with contextlib.suppress(OSError):  # ENOBUFS, where a qdisc drops it
            raw.send(frame)


NET4, NET6 = ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")
# What is matched, the packets that are, and packets that are not
CLASSIFIED: list[tuple[Match, list[dict[str, Any]], list[dict[str, Any]]]] = [
    (Match(dscp=46), [{"tos": 0xB8}, {"tos": 0xBB}], [{"tos": 0xB4}]),
    (Match(dscp=0), [{}, {"tos": 3}], [{"tos": 4}]),
    (Match(ip_proto=47), [{"protocol": 47}], [{}]),
    (Match(ip_proto=1), [{"version": 4, "protocol": 1}], [{"version": 6, "protocol": 1}, {}]),
    (Match(ip_proto=58), [{"version": 6, "protocol": 58}], [{"version": 4, "protocol": 58}, {}]),
    (Match(src=NET4), [{"version": 4, "src": "192.0.2.255"}], [{"version": 4, "src": "192.0.3.0"}, {"version": 6}]),
    (Match(dst=NET4), [{"version": 4, "dst": "192.0.2.0"}], [{"version": 4, "src": "192.0.2.0"}]),
    (Match(src=NET6), [{"version": 6, "src": "2001:db8:1::1"}], [{"version": 6, "dst": "2001:db8::1"}, {"version": 4}]),
    (Match(ip_proto=TCP, dst_port=(443, 443)), [{"protocol": TCP, "ports": (1, 443)}], [{"ports": (1, 443)}]),
    (Match(ip_proto=UDP, src_port=(53, 53)), [{"ports": (53, 1)}], [{"ports": (1, 53)}]),
    (Match(ip_proto=SCTP, dst_port=(9, 9)), [{"protocol": SCTP, "ports": (1, 9)}], [{"protocol": SCTP}]),
    (
        Match(ip_proto=UDP, src_port=(5, 5), dst_port=(8000, 8999)),
        [{"ports": (5, 8000)}, {"ports": (5, 8999)}],
        [{"ports": (5, 7999)}, {"ports": (5, 9000)}, {"ports": (6, 8000)}, {"protocol": TCP, "ports": (5, 8000)}],
    ),
    (Match(vlan=100), [{"vlan": 100}], [{}, {"vlan": 300}]),
    (Match(vlan=0), [{"vlan": 0}], [{}, {"vlan": 100}]),
    (Match(vlan=100, dscp=46), [{"vlan": 100, "tos": 0xB8}], [{"vlan": 100}, {"vlan": 300, "tos": 0xB8}]),
    (
        Match(vlan=100, ip_proto=TCP, dst_port=(1, 9)),
        [{"vlan": 100, "protocol": TCP, "ports": (3, 9)}],
        [{"vlan": 100}],
    ),
    (Match(fwmark=(16, 0xFFFFFFFF)), [{"mark": 16}, {"mark": 16, "vlan": 100}], [{"mark": 17}, {}]),
    (Match(fwmark=(1, 1)), [{"mark": 1}, {"mark": 7}], [{"mark": 2}, {}]),
]


def forms(said: dict[str, Any], vlans: bool) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield a packet in each way in which it can come: in both IP versions, and with its tag outside or inside.

    ``vlans``: what has no VLAN is to come through one, too.
    """
    more = {name: value for name, value in said.items() if name not in ("version", "vlan", "mark")}
    for version in (said["version"],) if "version" in said else (4, 6):
        content, mark = packet(version=version, **more), {"mark": said.get("mark", 0)}
        vlan = said.get("vlan", 200 if vlans else None)
        if "vlan" not in said:
            yield content, mark
        if vlan:
            yield content, {**mark, "device": f"near.{vlan}"}
        if vlan is not None:
            yield content, {**mark, "inner": vlan}


def test_packets_go_where_a_rule_says(wire: Any) -> None:
    door = Tc("near", devices()["near"], MAJOR)
    for match, fit, other in CLASSIFIED:
        steps = [*small(1, 0x1388), Step("lifts", TAGGED, None, True)]
        for number, rule in enumerate(rules_of(match), 5):
            handle = match.fwmark[0] if match.fwmark else number
            steps.append(Step("filters", rule, None, Filter(1, handle)))
        door.send(steps)
        for said, minor in [(each, 1) for each in fit] + [(each, 0x1388) for each in other]:
            for content, way in forms(said, match.vlan is None):
                before = door.statistics()
                send(content, **way)
                after = door.statistics()
                got = {minor: after[minor].packets - before[minor].packets for minor in after}
                assert got == {**dict.fromkeys(after, 0), minor: 1}, (str(match), said, way)
        door.send([Step("qdisc", MAJOR, 0x1388, None)])


def test_what_is_counted(wire: Any) -> None:
    door = Tc("near", devices()["near"], MAJOR)
    nodes = {0x1388: LS, 5: LS, 6: HfscClass(rt=Curve(125), parent=5), 7: HfscClass(ls=Curve(1), parent=5)}
    leaves = {0x1388: Leaf("fq_codel", 0x1388), 6: Leaf("pfifo", 6, (("limit", 3),))}
    rule = Rule(Match(dscp=8), False, 4)
    door.send(grown(Tree({MAJOR: 0x1388}, nodes, leaves, filters={rule: Filter(6, 5)})))
    for tos in (0, 0, *(32,) * 9):
        send(packet(tos=tos))
    counted = door.statistics()
    size = 14 + 20 + 40
    assert (counted[0x1388].bytes, counted[0x1388].packets, counted[0x1388].queue) == (2 * size, 2, 0)
    held = counted[6]
    assert (held.queue, held.backlog, held.packets + held.queue + held.drops) == (3, 3 * size, 9)
    assert held.drops >= 4
    assert (held.work, held.realtime, held.level) == (held.bytes, held.bytes, 0)
    assert (counted[5].packets, counted[5].work, counted[5].level) == (0, held.work, 1)
    start = time.monotonic()
    assert door.drain([5, 6, 0x1388], 0.1) == {6: 3}
    assert 0.1 <= time.monotonic() - start < 0.5
    # With a faster class it is soon empty.
    door.send([Step("classes", 6, nodes[6], HfscClass(rt=Curve(12_500), parent=5))])
    assert door.drain([6], 5) == {}
