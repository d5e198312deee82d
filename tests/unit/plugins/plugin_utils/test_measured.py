# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says of the answers of iperf3, of a guest's agent and of virsh."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.filter import measure_report, measure_rows

rows = measure_rows.FilterModule().filters()["measure_rows"]
report = measure_report.FilterModule().filters()["measure_report"]

MBIT = 1_000_000


def nic(direction: str = "outbound", burst: int = 0, address: str | None = "192.0.2.7") -> dict[str, Any]:
    """Return a NIC with a limit of 8 Mbit/s, as measure_plan does."""
    texts = {"direction": direction, "declared": "average 8mbit", "enforced": "average 8mbit"}
    numbers = {"limit": 8 * MBIT, "burst": burst, "most": 16 * MBIT, "seconds": 23, "options": []}
    return {
        "domain": "guest1",
        "mac": "52:54:00:4c:0a:10",
        "address": address,
        "port": 5201,
        "streams": [{**texts, **numbers}],
    }


def iperf3(rate: float, *before: float) -> dict[str, Any]:
    """Return what iperf3 answers after six seconds at this rate, and others in seconds before, in Mbit/s."""
    seconds = [{"sum": {"seconds": 1.0, "bytes": each * MBIT / 8, "omitted": True}} for each in before]
    received = {"seconds": 6.0, "bits_per_second": rate * MBIT}
    return {"rc": 0, "stdout": json.dumps({"intervals": seconds, "end": {"sum_received": received}})}


def said(stream: dict[str, Any] | None = None, **else_said: Any) -> dict[str, Any]:
    """Return what the tasks said of a NIC whose address was given, where all went well."""
    well = {"address": "192.0.2.7", "near": True, "answers": {"state": "started"}}
    skipped = {"changed": False, "skipped": True}
    asked = {"addresses": skipped, "started": skipped, "ended": skipped, "neighbours": {"rc": 0, "stdout": "[]"}}
    return {**well, **asked, "streams": {"results": [stream or iperf3(7.7)]}, **else_said}


@pytest.mark.parametrize(
    ("rate", "ratio", "verdict"),
    [(7.7, 0.963, "as declared"), (8.4, 1.05, "as declared"), (8.5, 1.062, "above"), (4.8, 0.6, "as declared")],
)
def test_a_rate_beside_its_limit(rate: float, ratio: float, verdict: str) -> None:
    (row,) = rows(nic(), said(iperf3(rate)), 5, 60)
    assert row == {
        "domain": "guest1",
        "mac": "52:54:00:4c:0a:10",
        "direction": "outbound",
        "declared": "average 8mbit",
        "enforced": "average 8mbit",
        "measured": rate * MBIT,
        "ratio": ratio,
        "verdict": verdict,
        "note": "",
    }


def test_a_rate_far_below_its_limit_is_noted() -> None:
    (row,) = rows(nic(), said(iperf3(4.7)), 5, 60)
    assert (row["verdict"], row["note"]) == ("below", "the sender may be the limit, or the burst too small for TCP")


@pytest.mark.parametrize(
    ("direction", "before", "verdict"),
    [
        # Of a burst of 1 MB (8 Mbit), a slow sender has spent 2 Mbit, so that 6 more may pass: one a second.
        ("outbound", (9, 9), "as declared"),
        ("outbound", (12, 12), "above"),
        ("outbound", (2, 2), "as declared"),
        # What the host has sent is not what has passed, and it does send as fast as it was told.
        ("inbound", (9, 9), "above"),
    ],
)
def test_what_is_left_of_the_burst_may_pass(direction: str, before: tuple[float, ...], verdict: str) -> None:
    (row,) = rows(nic(direction, burst=MBIT), said(iperf3(9.3, *before)), 5, 60)
    assert row["verdict"] == verdict


AGENT = {"stderr": "error: Guest agent is not responding: QEMU guest agent is not connected\n", "rc": 1}
DISABLED = {"stderr": "error: internal error: unable to execute QEMU agent command 'guest-exec': disabled", "rc": 1}
NOTHING = {"stdout": " Name  MAC address  Protocol  Address\n-----\n", "rc": 0}
STARTED = {"rc": 0, "stdout": '{"return":{"pid":42}}'}


# What the lab's guest answered, once the iperf3 that it had been told to start was to be killed.
BUSY = (
    '{"return":{"exitcode":1,"err-data":"aXBlcmYzOiBlcnJvciAtIHVuYWJsZSB0byBzdGFydCBsaXN0ZW5lciBmb3IgY29ubmVjdGlvbnM6IEFkZHJl'
    'c3MgYWxyZWFkeSBpbiB1c2UKaXBlcmYzOiBleGl0aW5nCg==","err-truncated":false,"exited":true}}'
)
MISSING = (
    '{"return":{"exitcode":127,"err-data":"dGltZW91dDogY2FuJ3QgZXhlY3V0ZSAnaXBlcmY5JzogTm8gc3VjaCBmaWxlIG9yIGRpcmVjdG9yeQo=",'
    '"err-truncated":false,"exited":true}}'
)
RUNNING = (
    '{"return":{"exitcode":1,"err-data":"aXBlcmYzOiBpbnRlcnJ1cHQgLSB0aGUgc2VydmVyIGhhcyB0ZXJtaW5hdGVkCg==",'
    '"err-truncated":false,"exited":true}}'
)
KILLED, NOT_THERE = '{"return":{"exitcode":0,"exited":true}}', '{"return":{"exitcode":1,"exited":true}}'


def ended(server: str, kill: str) -> dict[str, Any]:
    return {"results": [{"rc": 0, "stdout": server}, {"rc": 0, "stdout": kill}]}


@pytest.mark.parametrize(
    ("given", "tasks", "note"),
    [
        (
            None,
            {"address": "", "addresses": {"results": [AGENT, NOTHING, NOTHING]}},
            "it has no address that the host knows of; name one, or start its guest agent (Guest agent is not"
            " responding: QEMU guest agent is not connected)",
        ),
        (
            None,
            {"started": AGENT},
            "its guest agent did not start iperf3; name an address where one listens (Guest agent is not responding:"
            " QEMU guest agent is not connected)",
        ),
        (
            None,
            {"started": DISABLED},
            "its guest agent did not start iperf3; name an address where one listens (internal error: unable to execute"
            " QEMU agent command 'guest-exec': disabled)",
        ),
        (
            None,
            {"started": STARTED, "answers": {"msg": "Timeout"}, "ended": ended(MISSING, NOT_THERE)},
            "nothing answers at 192.0.2.7, port 5201; in the guest, timeout: can't execute 'iperf9': No such file"
            " or directory",
        ),
        (
            None,
            {"started": STARTED, "answers": {"msg": "Timeout"}, "ended": ended(BUSY, NOT_THERE)},
            "nothing answers at 192.0.2.7, port 5201; in the guest, iperf3: error - unable to start listener for"
            " connections: Address already in use",
        ),
        (
            None,
            {"started": STARTED, "answers": {"msg": "Timeout"}, "ended": ended(RUNNING, KILLED)},
            "nothing answers at 192.0.2.7, port 5201, though iperf3 was running in the guest; does a firewall let it be"
            " reached?",
        ),
        (None, {"started": STARTED, "answers": {"msg": "Timeout"}}, "nothing answers at 192.0.2.7, port 5201"),
        ("192.0.2.7", {"answers": {"msg": "Timeout"}}, "nothing answers at 192.0.2.7, port 5201"),
        (
            "192.0.2.7",
            {"near": False, "neighbours": {"rc": 0, "stdout": '[{"dev":"eth0","lladdr":"52:54:00:00:00:01"}]'}},
            "192.0.2.7 is not the NIC's, or the host reaches it on another way (it finds 52:54:00:00:00:01 on eth0);"
            " nothing was sent",
        ),
        (
            "192.0.2.7",
            {"near": False},
            "192.0.2.7 is not the NIC's, or the host reaches it on another way (it finds no neighbour of that address);"
            " nothing was sent",
        ),
    ],
)
def test_why_nothing_was_sent(given: str | None, tasks: dict[str, Any], note: str) -> None:
    (row,) = rows(nic(address=given), said(**tasks), 5, 60)
    assert (row["verdict"], row["measured"], row["note"]) == ("not measured", None, note)


@pytest.mark.parametrize(
    ("stream", "note"),
    [
        ({"rc": 124, "stdout": ""}, "iperf3 did not end within 23 s"),
        ({"rc": 137, "stdout": "{"}, "iperf3 did not end within 23 s"),
        (
            {"rc": 1, "stdout": '{"end": {}, "error": "unable to connect to server: Connection refused"}'},
            "iperf3 said: unable to connect to server: Connection refused",
        ),
        (
            {"rc": 127, "stdout": "", "stderr": "timeout: failed to run command"},
            "iperf3 said: timeout: failed to run command",
        ),
        ({"rc": 0, "stdout": '{"end": {}}'}, "iperf3 said: no error was told"),
    ],
)
def test_iperf3_that_fails(stream: dict[str, Any], note: str) -> None:
    (row,) = rows(nic(), said(stream), 5, 60)
    assert (row["verdict"], row["measured"], row["note"]) == ("not measured", None, note)


def test_what_would_be_measured() -> None:
    ((first,), (second,)) = (rows(nic(address=given), None, 5, 60) for given in ("192.0.2.7", None))
    assert (first["verdict"], first["note"]) == ("would be measured", "at 192.0.2.7, up to 16 MB")
    assert second["note"] == "by its agent, up to 16 MB"


def test_a_report() -> None:
    off = {"domain": "off", "mac": "52:54:00:00:00:01", "direction": "", "declared": "", "enforced": ""}
    off |= {"measured": None, "verdict": "not measured", "note": "the guest is shut off"}
    made = report({"one": rows(nic(), said(), 5, 60), "two": [off], "three": []}, {"four": "There is no iperf3."})
    assert made["count"] == {"as declared": 1, "not measured": 2}
    assert [line["host"] for line in made["rows"]] == ["one", "two", "four"]
    assert "\n".join(made["table"]) == (
        "host  guest                     direction  declared       enforced       measured    ratio  verdict\n"
        "one   guest1 52:54:00:4c:0a:10  outbound   average 8mbit  average 8mbit  7.7 Mbit/s  0.96   as declared\n"
        f"two   off 52:54:00:00:00:01 {'':63} not measured: the guest is shut off\n"
        f"four  {'':86}not measured: There is no iperf3."
    )
