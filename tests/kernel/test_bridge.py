# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge of a running network is brought to another limit, beside what libvirt itself has tc make at its start."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import NO_BANDWIDTH, UNLIMITED, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_enforced import Kernel, of_network
from ansible_collections.virtnet.qos.plugins.module_utils._bridge import Bridge, as_it_was, difference, shaped
from ansible_collections.virtnet.qos.plugins.module_utils._htb import Police
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import Shape
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError, bridge, carry_out, limits
from ansible_collections.virtnet.qos.tests.kernel.limited import BRIDGE, CHECKSUMS
from ansible_collections.virtnet.qos.tests.kernel.stream import Stream, Wire

FLOORLESS = "\n".join(BRIDGE.splitlines()[:7]) + "\n"
RECEIVED = "\n".join(BRIDGE.splitlines()[5:7]) + "\n"
BEGINNINGS = {"none": "", "checksums": CHECKSUMS, "limited": FLOORLESS, "with a floor": BRIDGE, "outbound": RECEIVED}
NEW = {"inbound": Limit(2500, 7000, 3000), "outbound": Limit(777, burst=99)}


def tc(*words: str) -> str:
    done = subprocess.run(["tc", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(batch: str, device: str = "virbrq") -> None:
    done = subprocess.run(
        ["tc", "-batch", "-"], input=batch.replace("virbrq", device), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def shown(device: str = "virbrq") -> list[str]:
    """Everything that tc shows of a device, in an order of our own and without what is chosen by chance."""
    commands = [["qdisc", "show"], ["class", "show"], ["filter", "show"], ["filter", "show", "ingress"]]
    lines = [line for kind, *more in commands for line in tc(kind, more[0], "dev", device, *more[1:]).splitlines()]
    # tc tells or leaves out the parent of a filter as it likes, and rounds times differently.
    chance = r" parent ffff:|cburst \w+|(?<=police) 0x\w+|(?<=csum) .* index \d+"
    return sorted(re.sub(chance, "", line) for line in lines)


@pytest.fixture(autouse=True)
def devices() -> Iterator[None]:
    for name in ("virbrq", "virbrx"):
        subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    yield
    for name in ("virbrq", "virbrx"):
        subprocess.run(["ip", "link", "del", name], check=True)


def now() -> Bridge:
    found = bridge("virbrq")
    assert found
    return found


def change(wanted: Mapping[str, Limit], holds: bool = False) -> Bridge:
    """Bring the bridge there; return what it was. A second time, there is nothing to do."""
    before = now()
    carry_out(difference(before, shaped(before, wanted, holds)))
    again = now()
    assert difference(again, shaped(again, wanted, holds)) == []
    return before


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_from_anywhere_to_a_limit_and_back(beginning: str) -> None:
    make(BEGINNINGS[beginning])
    at_first = shown()
    before = change(NEW, holds=beginning in ("limited", "with a floor"))
    found = limits([], ["virbrq"])["virbrq"]
    assert isinstance(found.sent, Shape)
    assert (found.sent.rate, found.sent.ceil) == (2_500_000, 7_000_000)
    assert abs(found.sent.burst - 3000 * 1024) <= found.sent.tolerance
    assert isinstance(found.received, Shape)
    assert found.received.rate == 777_000
    assert found.guaranteed == ({"52:54:00:00:00:04": 200_000} if beginning == "with a floor" else {})
    carry_out(difference(now(), before))
    assert shown() == at_first


def test_it_is_what_libvirt_makes_at_the_start_of_the_network() -> None:
    make(
        """\
qdisc add dev virbrq root handle 1: htb default 2
class add dev virbrq parent 1: classid 1:1 htb rate 2500kbps ceil 7000kbps quantum 213
class add dev virbrq parent 1:1 classid 1:2 htb rate 2500kbps ceil 7000kbps burst 3000kb quantum 213
qdisc add dev virbrq parent 1:2 handle 2: sfq perturb 10
qdisc add dev virbrq ingress
filter add dev virbrq parent ffff: protocol all u32 match u32 0 0 police rate 777kbps burst 99kb mtu 64kb drop flowid :1
""",
        "virbrx",
    )
    change(NEW)
    assert shown() == shown("virbrx")


def test_a_floor_stays_and_the_others_have_the_rest() -> None:
    make(BRIDGE)
    change({"inbound": Limit(3000, 6000)}, holds=True)
    classes = now().classes
    assert {minor: (each.parent, each.rate, each.ceil) for minor, each in classes.items()} == {
        1: (0, 3_000_000, 6_000_000),
        2: (1, 5_800_000, 6_000_000),
        3: (1, 200_000, 6_000_000),
    }
    assert now().police == change({"inbound": Limit(3000)}, holds=True).police
    assert now().classes[2].rate == 2_800_000


def test_what_libvirt_rewrites_with_another_floor_is_repaired() -> None:
    make(BRIDGE)
    change({"inbound": Limit(3000, 6000, 100)}, holds=True)
    make("class change dev virbrq classid 1:2 htb rate 4700kbps ceil 5000kbps quantum 85\n")
    change({"inbound": Limit(3000, 6000, 100)}, holds=True)
    assert (now().classes[2].rate, now().classes[2].ceil) == (5_800_000, 6_000_000)


def test_a_burst_that_is_not_wanted_any_more_is_gone() -> None:
    """libvirt and tc then have each their own."""
    bare = {"inbound": Limit(2500, 7000), "outbound": Limit(777)}
    change(bare)
    without = shown()
    change({"inbound": Limit(2500, 7000, 64), "outbound": Limit(777, burst=1)})
    assert shown() != without
    change(bare)
    assert shown() == without
    assert now().classes[2].burst == 1600
    assert abs((now().police or Police(0, 0)).burst - 777 * 1024) < 10


def test_the_way_back_leaves_what_others_made() -> None:
    """Of what nothing was done about, and of the root where a filter came."""
    nothing = now()
    make(BRIDGE)
    theirs = now()
    assert difference(theirs, as_it_was(theirs, nothing, ())) == []
    back = difference(theirs, as_it_was(theirs, nothing, ("outbound",)))
    assert {each.about for each in back} == {"qdisc ingress"}
    make("qdisc del dev virbrq root\nqdisc del dev virbrq ingress\n")
    before = change(NEW)
    make(CHECKSUMS.splitlines()[1] + "\n")
    carry_out(difference(now(), as_it_was(now(), before)))
    assert (now().root, now().filtered, dict(now().classes)) == (True, True, {})


def test_the_way_back_leaves_floors_that_came_and_went_meanwhile() -> None:
    make(BRIDGE)
    before = change(NEW, holds=True)
    make("class add dev virbrq parent 1:1 classid 1:4 htb rate 300kbps ceil 7000kbps quantum 25\n")
    carry_out(difference(now(), as_it_was(now(), before)))
    classes = now().classes
    assert (classes[1].rate, classes[2].rate) == (1_000_000, 4_500_000)
    assert [classes[minor].rate for minor in (3, 4)] == [200_000, 300_000]
    assert {each.ceil for each in classes.values()} == {5_000_000}
    assert now().police == before.police
    make("class del dev virbrq classid 1:4\n")
    carry_out(difference(now(), as_it_was(now(), replace(before, classes={**before.classes, 9: before.classes[3]}))))
    assert sorted(now().classes) == [1, 2, 3]
    assert now().classes[2].rate == 4_800_000


def test_classes_of_somebody_else_stay() -> None:
    make(FLOORLESS + "class add dev virbrq parent 1: classid 1:20 htb rate 100kbps\n")
    theirs = [line for line in shown() if "1:20" in line]
    change({"inbound": Limit(3000)}, holds=True)
    change({"inbound": UNLIMITED})
    assert [line for line in shown() if "1:20" in line] == theirs
    assert sorted(now().classes) == [0x20]


def test_what_limits_nothing_is_left_alone() -> None:
    make("qdisc add dev virbrq root handle 1: htb default 2\nqdisc add dev virbrq ingress\n")
    at_first = shown()
    change(dict.fromkeys(("inbound", "outbound"), UNLIMITED))
    assert shown() == at_first


@pytest.mark.parametrize("beginning", ["none", "checksums", "limited"])
def test_the_way_back_where_nothing_came(beginning: str) -> None:
    make(BEGINNINGS[beginning])
    at_first = shown()
    before = change(NEW, holds=beginning == "limited")
    carry_out(difference(now(), as_it_was(now(), before)))
    assert shown() == at_first


@pytest.mark.parametrize("holds", [True, False])
def test_unlimited(holds: bool) -> None:
    """Where libvirt believes in a limit, it may put a floor below class 1:1 at any time."""
    make(FLOORLESS)
    change(dict.fromkeys(("inbound", "outbound"), UNLIMITED), holds)
    assert sorted(now().classes) == ([1, 2] if holds else [])
    enforced = of_network("virbrq", NO_BANDWIDTH, Kernel(limits([], ["virbrq"])))
    assert {name: each["agrees"] for name, each in enforced.items()} == {"inbound": True, "outbound": True}
    if holds:  # what libvirt does for a floor
        make("class add dev virbrq parent 1:1 classid 1:3 htb rate 200kbps ceil 5000kbps quantum 25\n")
    assert "ingress" not in tc("qdisc", "show", "dev", "virbrq")


def test_nothing_is_lost_while_a_network_is_unlimited_and_limited_again(wire: Wire) -> None:
    """It was started with a limit, and keeps its classes."""
    make(FLOORLESS)
    plugged = ["addr flush dev near", "link set near master virbrq", "addr add 10.0.0.1/24 dev virbrq"]
    plugged += ["link set virbrq up", "neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev virbrq"]
    for command in plugged:
        subprocess.run(["ip", *command.split()], check=True)
    stream = Stream(wire, 0)
    for limit in (UNLIMITED, Limit(2500, 7000, 3000), UNLIMITED, Limit(1000, 5000)):
        before = sent()
        change({"inbound": limit}, holds=True)
        deadline = time.monotonic() + 10
        while sent() < before + 50 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sent() >= before + 50
    assert stream.lost() == 0
    assert (now().classes[1].rate, now().classes[1].ceil) == (1_000_000, 5_000_000)


def sent() -> int:
    """How many packets class 1:2 sent."""
    found = re.search(r"class htb 1:2 .*\n Sent \d+ bytes (\d+) pkt", tc("-s", "class", "show", "dev", "virbrq"))
    assert found
    return int(found[1])


def test_the_filters_of_the_firewall_backend_stay() -> None:
    make(CHECKSUMS)
    at_first = shown()
    change(NEW)
    assert any("csum" in line for line in shown())
    change(dict.fromkeys(("inbound", "outbound"), UNLIMITED))
    assert shown() == at_first


def test_a_direction_that_is_not_named_stays() -> None:
    make(FLOORLESS)
    police = now().police
    change({"inbound": Limit(3000)}, holds=True)
    assert now().police == police
    classes = now().classes
    change({"outbound": Limit(555)}, holds=True)
    assert now().classes == classes


@pytest.mark.parametrize(
    ("batch", "foreign"),
    [
        ("qdisc add dev virbrq root handle 7: tbf rate 1mbit burst 10k limit 10k\n", {"inbound": "qdisc tbf 7:"}),
        ("qdisc add dev virbrq root handle 1: htb default 9\n", {"inbound": "qdisc htb 1:"}),
        (
            "qdisc add dev virbrq clsact\nfilter add dev virbrq ingress matchall action police rate 1mbit burst 9k"
            " conform-exceed drop\n",
            {"outbound": "a policer in a filter of kind matchall"},
        ),
        ("qdisc add dev virbrq clsact\n", {"outbound": "a qdisc clsact"}),
    ],
)
def test_what_is_not_libvirts(batch: str, foreign: dict[str, str]) -> None:
    make(batch)
    assert now().foreign == foreign


def test_filters_beside_the_policer_stay() -> None:
    make("qdisc add dev virbrq ingress\nfilter add dev virbrq ingress protocol ip prio 9 u32 match ip dport 53 ffff\n")
    at_first = shown()
    change({"outbound": Limit(555)})
    change({"outbound": UNLIMITED})
    assert shown() == at_first


@pytest.mark.parametrize("average", [1, 77, 1250, 125_000, 4_294_967, 4_294_968, 12_500_000, 4_294_967_295])
def test_every_rate(average: int) -> None:
    change({"inbound": Limit(average), "outbound": Limit(average)})
    found = limits([], ["virbrq"])["virbrq"]
    assert isinstance(found.received, Shape)
    assert found.received.rate == average * 1000
    assert now().classes[1].rate == average * 1000


def test_a_burst_for_which_the_kernel_has_no_room() -> None:
    longest = Limit(1, burst=4_194_303)
    change({"inbound": longest, "outbound": longest})
    assert now().classes[2].burst > 270_000


def test_what_the_kernel_refuses_is_told() -> None:
    before = now()
    requests = difference(before, shaped(before, NEW, False))
    with pytest.raises(TcError, match=r"class htb 1:1"):
        carry_out(requests[1:])
    with pytest.raises(TcError, match=r"qdisc htb 1:") as refused:
        carry_out([*requests[:1], *requests])
    assert refused.value.sent == requests[:1]
    assert now().classes == {}  # what comes after is not sent


def test_no_such_device() -> None:
    assert bridge("virbr99") is None
