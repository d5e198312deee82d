# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which streams of iperf3 show what a NIC gets, and how little they send."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.filter import measure_plan

plan = measure_plan.FilterModule().filters()["measure_plan"]

MAC, OTHER = "52:54:00:4c:0a:10", "52:54:00:4c:0b:10"
NONE = {"average": "unlimited"}


def nic(
    inbound: dict[str, str] | None = None, outbound: dict[str, str] | None = None, mac: str = MAC, **facts: Any
) -> dict[str, Any]:
    """Return a NIC as virt_bandwidth_info does, enforced as it is declared."""
    limits = {"inbound": inbound or NONE, "outbound": outbound or NONE}
    live = {"own": limits, "portgroup": None, "effective": limits}
    place = {"domain": "guest1", "mac": mac, "bridge": "virbr0", "target": "vnet3", "running": True}
    return {**place, "live": live, "enforced": limits, **facts}


def streams(interface: dict[str, Any], seconds: Any = 6, size: str = "4GiB") -> list[dict[str, Any]]:
    planned = plan([interface], [{"domain": "*"}], seconds, size)
    assert planned["problems"] == []
    found: list[dict[str, Any]] = planned["nics"][0]["streams"]
    return found


def options(stream: dict[str, Any]) -> str:
    return " ".join(stream["options"])


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"average": "8mbit"}, "-t 6 -O 1 -b 16000000 -l 8K"),
        # Passes at twice the limit: 64 KiB in excess of 8 Mbit/s take a fifteenth of a second.
        ({"average": "8mbit", "peak": "16mbit", "burst": "64KiB"}, "-t 6 -O 2 -b 16000000 -l 8K"),
        # At 9 Mbit/s, only a megabit a second is more than the limit.
        ({"average": "8mbit", "peak": "9mbit", "burst": "1MiB"}, "-t 6 -O 10 -b 16000000 -l 8K"),
        # Without a peak, nothing passes faster than the average, whatever the burst.
        ({"average": "8mbit", "burst": "1MiB"}, "-t 6 -O 1 -b 16000000 -l 8K"),
        ({"average": "100mbit"}, "-t 6 -O 1 -b 200000000"),
    ],
)
def test_what_a_guest_receives(limit: dict[str, str], said: str) -> None:
    (stream,) = streams(nic(inbound=limit))
    assert (stream["direction"], options(stream)) == ("inbound", said)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"average": "8mbit"}, "-t 6 -O 1 -b 16000000 -l 8K -R"),
        ({"average": "8mbit", "burst": "1MiB"}, "-t 6 -O 3 -b 16000000 -l 8K -R"),
        # A policer has no peak.
        ({"average": "8mbit", "peak": "9mbit", "burst": "1MiB"}, "-t 6 -O 3 -b 16000000 -l 8K -R"),
    ],
)
def test_what_a_guest_sends(limit: dict[str, str], said: str) -> None:
    (stream,) = streams(nic(outbound=limit))
    assert (stream["direction"], options(stream)) == ("outbound", said)


def test_the_burst_that_the_kernel_has_counts() -> None:
    """Where libvirt is told none, tc and libvirt choose one of about a second of traffic."""
    limits = {"inbound": NONE, "outbound": {"average": "8mbit", "burst": "1000000B"}}
    (stream,) = streams(nic(outbound={"average": "8mbit"}, enforced=limits))
    assert (stream["burst"], options(stream)) == (1000000, "-t 6 -O 2 -b 16000000 -l 8K -R")


@pytest.mark.parametrize("enforced", [None, {"inbound": {"average": None}, "outbound": {"average": None}}])
def test_a_kernel_that_could_not_be_asked(enforced: Any) -> None:
    (stream,) = streams(nic(outbound={"average": "8mbit", "burst": "1MiB"}, enforced=enforced))
    assert (stream["burst"], stream["enforced"]) == (2**20, "unknown")


def test_both_directions_and_what_they_are_called() -> None:
    first, second = streams(nic({"average": "8mbit", "peak": "16mbit", "burst": "64KiB"}, {"average": "6mbit"}))
    assert first["declared"] == first["enforced"] == "average 8mbit, peak 16mbit, burst 64KiB"
    assert second["declared"] == "average 6mbit"


def test_fewer_seconds_count_where_they_would_send_too_much() -> None:
    (stream,) = streams(nic({"average": "1gbit"}), size="1250MB")
    assert options(stream) == "-t 4 -O 1 -b 2000000000"
    assert stream["most"] == 1_250_000_000


@pytest.mark.parametrize(
    ("limit", "note"),
    [
        ({"average": "40gbit"}, "it takes up to 30000 MB, more than qos_measure_size allows"),
        ({"average": "8kbit", "burst": "1MiB"}, "its burst of 1MiB lasts 1049 s, and is given 29 s to be spent"),
    ],
)
def test_what_would_send_too_much_or_take_too_long(limit: dict[str, str], note: str) -> None:
    planned = plan([nic(outbound=limit)], [{"domain": "*"}], 6, "4GiB")
    assert planned["nics"] == []
    assert [(row["verdict"], row["note"]) for row in planned["rows"] if row["direction"] == "outbound"] == [
        ("not measured", note)
    ]


LIMITS = st.builds(
    lambda average, more, burst: {"average": average, "peak": average + more, "burst": burst},
    st.integers(1, 10**7),
    st.integers(0, 10**7),
    st.integers(1, 10**6),
)


@given(numbers=LIMITS, seconds=st.integers(2, 3600), size=st.integers(1, 10**6), sends=st.booleans())
def test_no_stream_sends_more_or_lasts_longer_than_it_may(
    numbers: dict[str, int], seconds: int, size: int, sends: bool
) -> None:
    units = {"average": "kbit", "peak": "kbit", "burst": "KiB"}
    limit = {name: f"{number}{units[name]}" for name, number in numbers.items()}
    interface = nic(outbound=limit) if sends else nic(inbound=limit)
    planned = plan([interface], [{"domain": "*"}], seconds, f"{size}kB")
    assert len(planned["nics"]) + len(planned["rows"]) == 2
    for stream in (stream for each in planned["nics"] for stream in each["streams"]):
        said = re.match(r"-t (\d+) -O (\d+) -b (\d+)", options(stream))
        assert said
        counted, omitted, pace = map(int, said.groups())
        assert 2 <= counted <= seconds
        assert omitted <= 30
        assert pace == 2000 * numbers["average"]
        assert pace * (counted + omitted) / 8 <= 1000 * size
        assert stream["seconds"] <= seconds + 45


def test_only_what_is_named() -> None:
    interfaces = [
        nic({"average": "8mbit"}, mac=mac, domain=domain) for domain in ("a1", "a2", "b1") for mac in (MAC, OTHER)
    ]
    guests = [
        {"domain": "a1", "mac": MAC.upper(), "address": "192.0.2.7"},
        {"domain": ["a*", "c*"], "mac": ["52:54:00:4c:0a:*"], "port": 5211},
        {"domain": "gone"},
    ]
    planned = plan(interfaces, guests, 6, "4GiB")
    assert [(each["domain"], each["mac"], each["address"], each["port"]) for each in planned["nics"]] == [
        ("a1", MAC, "192.0.2.7", 5201),
        ("a2", MAC, None, 5211),
    ]
    assert [(row["domain"], row["note"]) for row in planned["rows"] if not row["direction"]] == [
        ("qos_measure_guests[2]", "no NIC of this host fits it")
    ]


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        ({"running": False, "live": None, "enforced": None}, "the guest is shut off"),
        ({"live": None, "enforced": None}, "the running guest has no such NIC"),
    ],
)
def test_what_is_not_running(facts: dict[str, Any], note: str) -> None:
    planned = plan([nic(**facts)], [{"domain": "guest1"}], 6, "4GiB")
    assert planned["nics"] == planned["problems"] == []
    assert [(row["verdict"], row["note"]) for row in planned["rows"]] == [("not measured", note)]


def test_what_is_not_limited() -> None:
    planned = plan([nic(outbound={"average": "8mbit"})], [{"domain": "guest1"}], 6, "4GiB")
    assert [(row["direction"], row["verdict"]) for row in planned["rows"]] == [("inbound", "not limited")]
    assert [stream["direction"] for stream in planned["nics"][0]["streams"]] == ["outbound"]


@pytest.mark.parametrize(
    ("bridge", "target", "good", "bad"),
    [
        ("virbr0", "vnet3", ["virbr0", "virbr0.100", "vnet3"], ["virbr01", "vnet33", "eth0", "virbr0.x"]),
        (None, "vnet3", ["vnet3"], ["", "eth0"]),
    ],
)
def test_the_ways_that_do_not_leave_the_host(bridge: str | None, target: str, good: list[str], bad: list[str]) -> None:
    (planned,) = plan([nic({"average": "8mbit"}, bridge=bridge, target=target)], [{"domain": "*"}], 6, "4GiB")["nics"]
    assert [each for each in (*good, *bad) if re.match(planned["through"], each)] == good


@pytest.mark.parametrize(
    ("guests", "problem"),
    [
        ("guest1", "qos_measure_guests 'guest1': this is not a list; write a list, be it of one guest."),
        (
            ["guest1"],
            "qos_measure_guests[0] 'guest1': it names no guest; write {domain: NAME}, or {domain: '*'} for all",
        ),
        ([{"mac": MAC}], "it names no guest; write {domain: NAME}"),
        (
            [{"domain": "x", "adress": "192.0.2.7"}],
            "qos_measure_guests[0].adress: there are domain, mac, address, port;",
        ),
        (
            [{"domain": "x", "port": 65536}],
            "qos_measure_guests[0].port 65536: this is no port; write one from 1 to 65535",
        ),
        ([{"domain": "x", "port": "ssh"}], "qos_measure_guests[0].port 'ssh': this is no port; write one from 1"),
        ([{"domain": ""}], "qos_measure_guests[0].domain ['']: an empty glob fits nothing;"),
        (
            [{"domain": "*", "address": "192.0.2.7"}],
            "qos_measure_guests[0].address '192.0.2.7': 2 NICs fit, and an address is of one;",
        ),
    ],
)
def test_what_cannot_be_meant(guests: Any, problem: str) -> None:
    interfaces = [nic({"average": "8mbit"}), nic({"average": "8mbit"}, mac=OTHER)]
    planned = plan(interfaces, guests, 6, "4GiB")
    assert planned["nics"] == []
    (found,) = planned["problems"]
    assert problem in found


@pytest.mark.parametrize("seconds", [1, 0, -6, 3601, "6s", "", None, 2.5])
def test_seconds_that_are_none(seconds: Any) -> None:
    (found,) = plan([], [{"domain": "*"}], seconds, "4GiB")["problems"]
    assert (
        found == f"qos_measure_seconds {seconds!r}: it is a whole number from 2 to 3600; write one." or seconds is None
    )


@pytest.mark.parametrize("size", ["4G", "0B", "-1MiB", "much", 4096])
def test_sizes_that_are_none(size: Any) -> None:
    (found,) = plan([], [{"domain": "*"}], 6, size)["problems"]
    assert found.startswith(f"qos_measure_size {str(size)!r}: ")


def test_the_guests_of_the_page_on_measuring() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs/measure.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    guests = yaml.safe_load(shown)["qos_measure_guests"]
    limit = {"average": "8mbit"}
    interfaces = [nic(limit, domain="web1", mac="52:54:00:6b:3c:58"), nic(limit, domain="db-1"), nic(limit, domain="x")]
    planned = plan(interfaces, guests, 6, "4GiB")
    assert planned["problems"] == []
    assert [(each["domain"], each["address"]) for each in planned["nics"]] == [("web1", "192.0.2.7"), ("db-1", None)]
