# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run changed, and the way back: NICs by the module itself against libvirt's test driver, the rest as data.

tests/kernel has the way back of trees, and a real host had all of it together; see docs/rollback.md.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
import yaml

from ansible_collections.virtnet.qos.plugins.filter import record_run as record_plugin
from ansible_collections.virtnet.qos.plugins.filter import way_back as way_plugin
from ansible_collections.virtnet.qos.plugins.modules import virt_bandwidth_info, virt_iface_bandwidth
from ansible_collections.virtnet.qos.tests.unit.driver import CAPPED, Run, host, runner
from ansible_collections.virtnet.qos.tests.unit.driver import state as state_of

record_run = record_plugin.FilterModule().filters()["record_run"]
way_back = way_plugin.FilterModule().filters()["way_back"]

DOMAIN = """<domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='bridge'><mac address='52:54:00:00:0{number}:01'/><source bridge='br0'/></interface>
  <interface type='network'><mac address='52:54:00:00:0{number}:02'/><source network='capped'{group}/></interface>
  <interface type='bridge'><mac address='52:54:00:00:0{number}:03'/><source bridge='br0'/>
    <bandwidth><inbound average='5'/><outbound average='6' peak='7' burst='8'/></bandwidth></interface>
  </devices></domain>"""
ODD = "w[e]b*"
T1, T2 = "2026-03-01T10:15:02Z", "2026-03-02T10:15:02Z"
NAMES = (ODD, "off", "late")


@pytest.fixture
def connection() -> Iterator[Any]:
    # That driver cannot plug a NIC anew, and so not give it back what its portgroup gives, unless it is shut off.
    groups = ("", " portgroup='gold'", "")
    domains = (DOMAIN.format(name=name, number=at, group=groups[at]) for at, name in enumerate(NAMES))
    running, off, late = domains
    with host(CAPPED, running=[running], off=[off, late]) as connection:
        yield connection


@pytest.fixture
def limit(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(virt_iface_bandwidth, capfd, monkeypatch)


@pytest.fixture
def look(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(virt_bandwidth_info, capfd, monkeypatch)


BOTH = {"inbound": {"average": "1mbit"}, "outbound": {"average": "2mbit"}}
RUNS: dict[str, list[dict[str, Any]]] = {
    "limits for those without": [
        {"match": {"mac": "*:02"}, **BOTH},
        {"match": {"mac": "*:01"}, "inbound": {"average": "1mbit"}},
    ],
    "no limits": [{"match": {"domain": "*"}, "state": "absent"}],
    "one direction": [
        {"match": {"mac": "*:02"}, **BOTH},
        {"match": {"mac": "*:03"}, "outbound": {"average": "unlimited"}},
        {"match": {"mac": "*:01"}, "outbound": {"average": "8mbit", "peak": "9mbit"}},
    ],
}


def state(connection: Any) -> dict[str, str]:
    """Return all XML, without the empty elements that the driver leaves where a limit was."""
    empty = re.compile(r"\s*<bandwidth>\s*</bandwidth>")
    return {name: empty.sub("", xml) for name, xml in state_of(connection).items()}


def go(limit: Run, look: Run, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Go back before the run of a record, and return what the module answered."""
    way = way_back(json.dumps(record), look()["interfaces"])
    assert (way["problem"], way["gone"], way["notes"]) == ("", [], [])
    answers = [limit(policies=task["policies"], affect=task["affect"]) for task in way["guests"]]
    assert not [answer["msg"] for answer in answers if answer.get("failed")]
    return answers


@pytest.mark.parametrize("run", RUNS)
def test_all_nics_are_as_they_were_and_then_as_they_had_become(
    run: str, connection: Any, limit: Run, look: Run
) -> None:
    before = state(connection)
    first = limit(policies=RUNS[run])
    after = state(connection)
    assert before != after
    record = record_run({"interfaces": first}, "1", T1)
    back = go(limit, look, record)
    assert state(connection) == before
    assert all(answer["warned"] == [] for answer in back)
    forward = record_run({"interfaces": {"results": back}}, "2", T2, former=record)
    assert forward["undid"] == "1"
    assert go(limit, look, record)[0]["changed"] is False
    go(limit, look, forward)
    assert state(connection) == after


@pytest.mark.parametrize("parts", list(permutations(RUNS, 2)))
def test_a_run_in_two_parts_goes_back_to_before_the_first(
    parts: tuple[str, str], connection: Any, limit: Run, look: Run
) -> None:
    before = state(connection)
    first, second = (limit(policies=RUNS[part]) for part in parts)
    there = record_run({"interfaces": first}, "1", T1)
    record = record_run({"interfaces": second}, "1", T2, earlier=there)
    assert (record["run"], record["time"], record["undid"]) == ("1", T2, None)
    go(limit, look, record)
    assert state(connection) == before
    # A part that changes nothing has no record, and another run none of the first.
    assert record_run({}, "1", T2, earlier=there) == {}
    assert record_run({"interfaces": second}, "2", T2, earlier=there) == record_run({"interfaces": second}, "2", T2)


def test_a_guest_that_was_started_since_loses_what_it_was_started_with(connection: Any, limit: Run, look: Run) -> None:
    late = connection.lookupByName("late")
    before = state(connection)
    record = record_run({"interfaces": limit(policies=RUNS["one direction"])}, "1", T1)
    for entry in record["interfaces"]:  # the driver gives a guest that is shut off a device, too
        entry["target"] = None if entry["domain"] == "late" else entry["target"]
    late.create()
    go(limit, look, record)
    assert state(connection)["late 2"] == before["late 2"]
    assert late.interfaceParameters("52:54:00:00:02:01", 0)["outbound.average"] == 0


def test_what_is_gone_is_named_and_what_was_shut_off_has_nothing_running(
    connection: Any, limit: Run, look: Run
) -> None:
    record = record_run({"interfaces": limit(policies=RUNS["one direction"])}, "1", T1)
    connection.lookupByName("off").undefine()
    connection.lookupByName(ODD).destroy()
    way = way_back(json.dumps(record), look()["interfaces"])
    assert way["gone"] == [f"NIC 52:54:00:00:01:0{number} of domain 'off'" for number in (1, 2, 3)]
    assert [task["affect"] for task in way["guests"]] == [["config"]]


def side(average: str, **more: str) -> dict[str, Any]:
    return {"inbound": {"average": average, **more}}


def network(name: str, before: Any, after: Any, portgroup: str | None = None, scopes: Any = ("live", "config")) -> Any:
    return {"name": name, "portgroup": portgroup, "scopes": list(scopes), "before": before, "after": after}


def seen(name: str, *portgroups: str, **more: Any) -> dict[str, Any]:
    there = {"live": {}, "config": {}}
    return {"name": name, **there, "portgroups": [{"name": each, **there} for each in portgroups], **more}


def test_networks_that_rise_come_before_the_guests_and_those_that_sink_after_them() -> None:
    changed = [
        network("rises", side("8mbit", peak="16mbit"), side("8mbit")),
        network("gets one", side("8mbit"), side("unlimited")),
        network("sinks", side("8mbit"), side("9mbit")),
        network("loses its", side("unlimited"), side("9mbit")),
        network("sinks", side("1mbit"), side("2mbit"), portgroup="web"),
        network("apart", side("1mbit"), side("2mbit"), scopes=["live"]),
        network("apart", side("3mbit"), side("2mbit"), scopes=["config"]),
        network("mended", {"class 1:2": "ceil 8mbit"}, {"class 1:2": "ceil 9mbit"}, scopes=["live"]),
    ]
    record = record_run({"networks": {"networks": changed, "changed": True}}, "1", T1)
    names = ("rises", "gets one", "loses its", "apart", "mended")
    way = way_back(json.dumps(record), networks=[seen("sinks", "web"), *map(seen, names)])
    both, running = {"update_running": True}, ["live", "config"]
    assert way["networks_first"] == [
        {
            "affect": running,
            "networks": [
                {"name": "rises", **both, "inbound": {"average": "8mbit", "peak": "16mbit"}},
                {"name": "gets one", **both, "inbound": {"average": "8mbit"}},
                {"name": "sinks", **both, "portgroups": [{"name": "web", "inbound": {"average": "1mbit"}}]},
            ],
        },
        {"affect": ["config"], "networks": [{"name": "apart", "update_running": False, **side("3mbit")}]},
    ]
    assert way["networks_last"] == [
        {
            "affect": running,
            "networks": [
                {"name": "sinks", **both, **side("8mbit")},
                {"name": "loses its", **both, **side("unlimited")},
            ],
        },
        {"affect": ["live"], "networks": [{"name": "apart", **both, **side("1mbit")}]},
    ]


def test_networks_and_portgroups_that_are_gone_or_were_somebody_elses() -> None:
    changed = [
        network("gone", side("8mbit"), side("9mbit")),
        network("prod", side("8mbit"), side("9mbit"), portgroup="gone"),
        network("prod", side("unknown (htb 5:)"), side("9mbit"), scopes=["live"]),
        network("stopped", side("8mbit"), side("9mbit"), scopes=["live"]),
    ]
    record = record_run({"networks": {"networks": changed}}, "1", T1)
    way = way_back(json.dumps(record), networks=[seen("prod"), seen("stopped", live=None)])
    assert way["gone"] == ["network 'gone'", "portgroup 'gone' of network 'prod'"]
    assert way["notes"] == [
        "Network 'prod' had average unknown (htb 5:) inbound in the kernel, which does not come back."
    ]
    assert (way["networks_first"], way["networks_last"]) == ([], [])


TREE = {"handle": "1389:", "classes": [{"default": True, "ls": "8mbit"}], "root": None, "kept": True}
OTHER = {**TREE, "classes": [{"default": True, "ls": "9mbit"}, {"classid": "1389:10", "ls": "1mbit"}]}
NONE = {"handle": None, "classes": [], "root": None, "kept": True}


def device(before: Any, after: Any, **more: Any) -> dict[str, Any]:
    return {"device": "bond0", "changed": True, "before": before, "after": after, **more}


@pytest.mark.parametrize(
    ("before", "after", "options", "notes"),
    [
        (TREE, OTHER, {"classes": TREE["classes"], "prune": True, "allow_overcommit": True, "persistent": True}, []),
        (NONE, TREE, {"state": "absent", "persistent": True}, []),
        ({**NONE, "kept": None}, TREE, {"state": "absent", "persistent": False}, []),
        (
            {**NONE, "root": "htb 1:"},
            TREE,
            {"state": "absent", "persistent": True},
            ["bond0: the root qdisc htb 1: was somebody else's, and does not come back."],
        ),
        (
            {**NONE, "kept": False},
            TREE,
            {"state": "absent", "persistent": True},
            ["bond0: the next boot would have brought something else than it had; now it brings that."],
        ),
        (
            {**TREE, "classes": [*TREE["classes"], {"classid": "1389:20", "ignore": True}]},
            TREE,
            {"classes": TREE["classes"], "prune": True, "allow_overcommit": True, "persistent": True},
            ["bond0: what was in 1389:20 was somebody else's, and does not come back."],
        ),
    ],
)
def test_devices(before: Any, after: Any, options: Any, notes: list[str]) -> None:
    record = record_run({"devices": {"results": [device(before, after)]}}, "1", T1)
    way = way_back(json.dumps(record))
    assert way["devices"] == [{"device": "bond0", "handle": "1389:", **options}]
    assert way["notes"] == notes


def test_only_what_was_changed_is_recorded() -> None:
    skipped = {"changed": False, "skipped": True}
    answers = {
        "devices": {
            "results": [
                device(TREE, OTHER, failed=True, msg="half-way"),
                device(TREE, OTHER, device="brought back", failed=True, changed=False, confirmed=False),
                {"device": "same", "changed": False, "actions": []},
                {"item": "missing", "failed": True, "msg": "no such device", "changed": False},
            ]
        },
        "networks": skipped,
    }
    record = record_run(answers, "1", T1)
    assert [entry["device"] for entry in record["devices"]] == ["bond0"]
    assert record_run({"devices": {"results": [skipped], "skipped": True}, "networks": skipped}, "1", T1) == {}
    assert record_run({}, "1", T1) == {}


def test_the_way_forward_has_what_was_back_already() -> None:
    first = record_run(
        {
            "devices": {"results": [device(TREE, OTHER)]},
            "networks": {
                "networks": [
                    network(
                        "prod",
                        {**side("8mbit"), "outbound": {"average": "1mbit"}},
                        {**side("9mbit"), "outbound": {"average": "2mbit"}},
                    ),
                ]
            },
        },
        "1",
        T1,
    )
    answers = {
        "networks": {"results": [{"networks": [network("prod", side("7mbit"), side("8mbit"))]}, {"skipped": True}]}
    }
    second = record_run(answers, "2", T2, former=first)
    assert [(entry["before"], entry["after"]) for entry in second["devices"]] == [(OTHER, TREE)]
    assert [(entry["scope"], entry["before"], entry["after"]) for entry in second["networks"]] == [
        (
            scope,
            {**side("7mbit"), "outbound": {"average": "2mbit"}},
            {**side("8mbit"), "outbound": {"average": "1mbit"}},
        )
        for scope in ("live", "config")
    ]


def test_the_other_half_of_a_run_keeps_the_first() -> None:
    third = {**OTHER, "kept": None}
    networks = {"networks": [network("prod", side("8mbit"), side("9mbit"))]}
    first = record_run({"devices": device(TREE, OTHER), "networks": networks}, "1", T1)
    both = record_run({"devices": device(OTHER, third)}, "1", T2, earlier=first)
    assert [(entry["before"], entry["after"]) for entry in both["devices"]] == [(TREE, third)]
    assert both["networks"] == first["networks"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "this is not the record of a run; look at it, and remove it if it is of no use (Expecting value"),
        ("[1]", "this is not the record of a run; look at it, and remove it if it is of no use"),
        ('{"version": 1}', "this is not the record of a run;"),
        (
            '{"version": 2, "run": "", "time": "", "undid": null, "devices": [], "networks": [], "interfaces": []}',
            "this is a record of version 2, and this collection knows 1",
        ),
    ],
)
def test_what_is_no_record(text: str, problem: str) -> None:
    way = way_back(text)
    assert way["problem"].startswith(problem)
    assert (way["record"], way["devices"], way["guests"]) == ({}, [], [])


WHOLE: dict[str, Any] = {
    "version": 1,
    "run": "1",
    "time": T1,
    "undid": None,
    "devices": [{"device": "bond0", "before": TREE, "after": NONE}],
    "networks": [{"name": "prod", "portgroup": None, "scope": "live", "before": side("1mbit"), "after": {}}],
    "interfaces": [
        {
            "domain": "off",
            "mac": "52:54:00:00:01:01",
            "target": None,
            "scope": "config",
            "own": {"before": True, "after": False},
            "before": side("1mbit"),
            "after": {},
        }
    ],
}


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("time", 5, ""),
        ("time", "yesterday", ""),
        ("time", "2026-3-1T10:15:02Z", ""),
        ("run", None, ""),
        ("undid", 1, ""),
        ("devices", "x", ""),
        ("devices", [WHOLE], "devices[0].device"),
        ("devices.0.before", None, ""),
        ("devices.0.before.kept", "yes", ""),
        ("devices.0.after.classes", [1], "devices[0].after.classes[0]"),
        ("devices.0.before.classes", [{"ignore": True}], "devices[0].before.classes[0]"),
        ("networks.0.portgroup", ..., ""),
        ("networks.0.before", {"sideways": {}}, ""),
        ("interfaces", None, ""),
        ("interfaces", [1], "interfaces[0]"),
        ("interfaces.0.mac", ..., ""),
        ("interfaces.0.scope", "somewhere", ""),
        ("interfaces.0.scope", ["live"], ""),
        ("interfaces.0.own.after", None, ""),
        ("interfaces.0.after", {"inbound": "1mbit"}, ""),
        ("interfaces.0.after", {"inbound": {"average": 1}}, ""),
    ],
)
def test_a_record_that_somebody_edited_is_refused_by_what_is_wrong_in_it(path: str, value: Any, named: str) -> None:
    record = copy.deepcopy(WHOLE)
    *parents, last = path.split(".")
    place: Any = record
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    assert way_back(json.dumps(record))["problem"] == ""
    if value is ...:
        del place[last]
    else:
        place[last] = value
    way = way_back(json.dumps(record))
    named = named or re.sub(r"\.(\d+)", r"[\1]", path)
    assert way["problem"] == (
        "this is not the record of a run; look at it, and remove it if it is of no use"
        f" ({named} is missing or not what a run writes)"
    )
    assert (way["record"], way["devices"], way["guests"]) == ({}, [], [])


def test_the_examples(connection: Any, limit: Run, look: Run) -> None:
    write, *_say = yaml.safe_load(record_plugin.EXAMPLES)
    options = write["virtnet.qos.virt_iface_bandwidth"]
    options["policies"][0]["match"] = {"domain": "late", "mac": "*:01"}
    before = state(connection)
    record = record_run({"interfaces": limit(**options)}, "first", "2026-03-01T10:15:02Z")
    assert record["run"] == "first"
    _read, _look, back = yaml.safe_load(way_plugin.EXAMPLES)
    assert back["virtnet.qos.virt_iface_bandwidth"] == {
        "policies": "{{ item.policies }}",
        "affect": "{{ item.affect }}",
    }
    go(limit, look, record)
    assert state(connection) == before
