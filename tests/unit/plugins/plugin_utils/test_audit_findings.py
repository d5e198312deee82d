# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit makes of what its tasks answered on a host."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_capacity import bits, text
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import ERRORS, KINDS, SEVERITIES
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_read import read
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_report import STATES, report
from ansible_collections.virtnet.qos.tests.controller.role import ROOT

NONE = {"average": "unlimited"}
UNLIMITED = {"inbound": NONE, "outbound": NONE}
MADE = "today"


def slow(average: str) -> dict[str, Any]:
    return {"inbound": {"average": average}, "outbound": NONE}


def agrees(**wrong: dict[str, str]) -> dict[str, Any]:
    return {name: {**wrong.get(name, NONE), "agrees": name not in wrong} for name in UNLIMITED}


def network(**more: Any) -> dict[str, Any]:
    plain = {
        "name": "prod",
        "bridge": "virbr1",
        "active": True,
        "live": UNLIMITED,
        "config": UNLIMITED,
        "drift": [],
        "enforced": agrees(),
        "floors": {"used": "0bit", "left": None},
        "portgroups": [],
    }
    return {**plain, **more}


def libvirt(*interfaces: dict[str, Any], networks: tuple[dict[str, Any], ...] = (), **summary: Any) -> dict[str, Any]:
    sums = {"running": 4, "limited": 2, "unknown": 0, "averages": {"inbound": {}, "outbound": {}}, "promised": []}
    listed = {"interfaces": list(interfaces), "networks": list(networks)}
    return {"__qos_audit_libvirt": {"considered": 4, **listed, "summary": {**sums, **summary}}}


def nic(number: int, **why: Any) -> dict[str, Any]:
    return {"domain": "web", "mac": f"52:54:00:00:00:0{number}", "running": True, "limited": True, **why}


def uplink(*tree: dict[str, Any], speed: str | None = "1gbit") -> dict[str, Any]:
    device = {"device": "bond0", "managed": True, "speed": speed, "tree": list(tree), "classes": list(tree)}
    return {"__qos_audit_kernel": {"devices": [device]}}


def node(classid: str, *children: dict[str, Any], **curves: str) -> dict[str, Any]:
    return {"name": classid, "classid": classid, "children": list(children), **curves}


def audited(*parts: dict[str, Any]) -> dict[str, Any]:
    """Return the report on one host with these variables."""
    variables: dict[str, Any] = {"__qos_audit_kernel": {"devices": []}, **libvirt(), "__qos_audit_failed": {}}
    for part in parts:
        variables.update(part)
    return report({"one": variables}, ["one"], MADE)


def found(*parts: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(each["kind"], each["object"], each["message"]) for each in audited(*parts)["findings"]]


def test_nothing_is_found_where_all_is_as_declared() -> None:
    declared = {"host_qos_devices": [{"device": "bond0"}], "network_qos_networks": [{"name": "prod"}]}
    limited = network(live=slow("8mbit"), config=slow("8mbit"))
    whole = audited(uplink(node("1389:64", rt="1gbit")), libvirt(networks=(limited,)), declared)
    assert whole["findings"] == []
    assert whole["hosts"][0]["nics"]["in_order"] == whole["hosts"][0]["nics"]["total"] == 4


def test_what_site_would_change() -> None:
    actions = [
        {"op": "change", "object": "class", "id": "1389:c8", "before": "ls 1mbit", "after": "ls 20mbit"},
        {"op": "add", "object": "filter", "id": "VLAN 100", "after": "VLAN 100"},
    ]
    limited = {"before": slow("8mbit"), "after": slow("16mbit"), "scopes": ["live", "config"]}
    change = {"domain": "web", "mac": "52:54:00:00:00:01"}
    parts = {
        "host_qos_result": {"results": [{"item": "bond0", "device": "bond0", "actions": actions}]},
        "network_qos_result": {
            "networks": [
                {"name": "prod", "portgroup": None, **limited},
                {"name": "prod", "portgroup": "web", **limited, "scopes": ["config"]},
            ],
            "interfaces": [{**change, "before": {"outbound": NONE}, "after": {"outbound": {"average": "8mbit"}}}],
        },
        "vm_qos_result": {"interfaces": [{**change, **limited, "after": {"inbound": {"average": "9mbit"}}}]},
    }
    whole = "inbound average 8mbit; outbound average unlimited"
    assert found(parts) == [
        ("drift", "bond0 class 1389:c8", "is ls 1mbit; declared ls 20mbit"),
        ("drift", "bond0 filter VLAN 100", "is not there; declared VLAN 100"),
        (
            "drift",
            "network prod",
            f"running and persistent: is {whole}; declared inbound average 16mbit; outbound average unlimited",
        ),
        (
            "drift",
            "portgroup prod/web",
            f"persistent: is {whole}; declared inbound average 16mbit; outbound average unlimited",
        ),
        (
            "drift",
            "web 52:54:00:00:00:01",
            "running: is outbound average unlimited; declared outbound average 8mbit, as its portgroup has it",
        ),
        ("drift", "web 52:54:00:00:00:01", f"running and persistent: is {whole}; declared inbound average 9mbit"),
    ]
    assert audited(parts)["hosts"][0]["nics"] == {
        "total": 4,
        "running": 4,
        "limited": 2,
        **dict.fromkeys(STATES, 0),
        "drift": 1,
        "in_order": 3,
    }


def test_a_nic_is_told_of_once_where_site_mends_it() -> None:
    differs = {"inbound": {"live": "average 8mbit", "config": "average 4mbit"}}
    both = {**differs, "outbound": {"live": "average 8mbit", "config": "average unlimited"}}
    wrong = {"outbound": {"promised": "average 8mbit", "enforced": "average unlimited", "note": "why"}}
    change = {"scopes": ["config"], "before": slow("4mbit"), "after": {"inbound": {"average": "8mbit"}}}
    whole = audited(
        libvirt(nic(1, drift=differs), nic(2, drift=both), nic(3, unenforced=wrong)),
        {"vm_qos_result": {"interfaces": [{**nic(1), **change}, {**nic(2), **change}]}},
    )
    assert [(each["kind"], each["object"][-2:]) for each in whole["findings"]] == [
        ("drift", "01"),
        ("drift", "02"),
        ("unenforced", "03"),
        ("differs", "02"),
    ]
    assert (
        whole["findings"][2]["message"]
        == "outbound: libvirt says average 8mbit, the kernel does average unlimited (why)"
    )
    assert whole["findings"][3]["message"] == "outbound: running average 8mbit; persistent average unlimited"
    assert whole["hosts"][0]["nics"]["drift"] == 2


def test_networks_that_differ_or_are_not_enforced() -> None:
    group = {"name": "web", "live": slow("8mbit"), "config": UNLIMITED, "drift": ["inbound"]}
    odd = network(
        live=UNLIMITED,
        config=slow("8mbit"),
        drift=["inbound"],
        enforced=agrees(inbound={"average": "4mbit"}),
        portgroups=[group],
    )
    declared = {"network_qos_networks": [{"name": "prod"}]}
    assert [each[:2] for each in found(libvirt(networks=(odd,)), declared)] == [
        ("unenforced", "network prod"),
        ("differs", "portgroup prod/web"),
    ]
    # A network that was limited while it ran; nobody knows what becomes of one without a bridge.
    started = network(live=UNLIMITED, config=slow("8mbit"), drift=["inbound"], enforced=agrees())
    assert found(libvirt(networks=(started,)), declared) == []
    bare = {**started, "enforced": None}
    assert [each[:2] for each in found(libvirt(networks=(bare,)), declared)] == [("differs", "network prod")]
    change = {"name": "prod", "portgroup": None, "scopes": ["live"], "before": UNLIMITED, "after": UNLIMITED}
    assert [
        each[:2] for each in found(libvirt(networks=(odd,)), declared, {"network_qos_result": {"networks": [change]}})
    ] == [
        ("drift", "network prod"),
        ("differs", "portgroup prod/web"),
    ]
    off = network(active=False, live=None, enforced=None, config=slow("8mbit"))
    assert found(libvirt(networks=(off,)), declared) == []


def test_what_nobody_declared() -> None:
    parts = [
        uplink(node("1389:64", rt="1mbit")),
        libvirt(
            nic(1, undeclared=["live", "config"], network="prod", bridge="virbr1"),
            nic(2, undeclared=["config"], limited=False, bridge="br0"),
            networks=(network(config=slow("8mbit")), network(name="free")),
        ),
    ]
    assert found(*parts) == [
        ("undeclared", "web 52:54:00:00:00:01", "no policy fits it; it has a limit and is on prod"),
        (
            "undeclared",
            "web 52:54:00:00:00:02",
            "no policy fits it where it is persistent; it has no limit and is on br0",
        ),
        ("undeclared", "uplink bond0", "it has 1 traffic classes, and host_qos_devices does not name it"),
        ("undeclared", "network prod", "it has limits, and network_qos_networks does not name it"),
    ]


DECLARED = {"host_qos_devices": [{"device": "bond0"}], "network_qos_networks": [{"name": "prod"}]}


@pytest.mark.parametrize(
    ("tree", "speed", "objects"),
    [
        ([node("a", rt="600mbit"), node("b", rt="400mbit")], "1gbit", []),
        ([node("a", rt="600mbit"), node("b", rt="m1 1mbit d 10ms m2 400.001mbit")], "1gbit", ["uplink bond0"]),
        ([node("a", rt="2gbit")], None, []),
        ([node("r", node("a", rt="2gbit"), ul="1gbit", ls="1gbit")], None, ["uplink bond0"]),
        ([node("r", node("a", rt="2gbit"), ul="3gbit", ls="1gbit")], "10gbit", []),
        (
            [node("a", node("b", rt="2mbit"), ul="1mbit"), node("c", ul="1mbit")],
            "1gbit",
            ["bond0 class a"],
        ),
        ([node("r", node("a", node("b", rt="2mbit"), ul="1mbit"), ls="1mbit")], "1gbit", ["bond0 class a"]),
        ([], "1gbit", []),
    ],
)
def test_uplinks_that_guarantee_too_much(tree: list[dict[str, Any]], speed: str | None, objects: list[str]) -> None:
    whole = audited(uplink(*tree, speed=speed), DECLARED)
    assert [(each["kind"], each["object"]) for each in whole["findings"]] == [
        ("overcommitted", name) for name in objects
    ]
    # As Ansible reads text: templates give text with some of its releases.
    for allowed, kind in ((True, "oversubscribed"), ("yes", "oversubscribed"), ("no", "overcommitted")):
        declared = {"host_qos_devices": [{"device": "bond0", "allow_overcommit": allowed}]}
        kinds = [each["kind"] for each in audited(uplink(*tree, speed=speed), declared)["findings"]]
        assert kinds == [kind] * len(objects)


def test_networks_that_guarantee_or_promise_too_much() -> None:
    peak = {"inbound": {"average": "8mbit", "peak": "16mbit"}, "outbound": NONE}
    promised = {"network": "prod", "bridge": "virbr1", "nics": 3, "inbound": "9mbit", "outbound": "1mbit"}
    elsewhere = {**promised, "network": None, "bridge": "br0"}
    limited = network(live=peak, config=peak, floors={"used": "17mbit", "left": "0bit"})
    whole = audited(libvirt(networks=(limited,), promised=[promised, elsewhere]), DECLARED)
    assert [(each["kind"], each["message"]) for each in whole["findings"]] == [
        ("overcommitted", "17mbit are guaranteed to NICs by floors, it has 16mbit inbound"),
        ("oversubscribed", "its 3 NICs may receive 9mbit together, it has 8mbit inbound"),
    ]
    (row,) = whole["hosts"]
    assert row["bridges"] == [{"bridge": "br0", "nics": 3, "promised": {"inbound": "9mbit", "outbound": "1mbit"}}]
    assert row["networks"][0]["left"] == "0bit"
    # Limited while it runs, which libvirt does not know of; it guarantees nothing.
    since = network(config=slow("8mbit"), drift=["inbound"], enforced={"inbound": {"average": "8mbit", "agrees": True}})
    since["enforced"]["outbound"] = {**NONE, "agrees": True}
    whole = audited(libvirt(networks=(since,), promised=[promised]), DECLARED)
    assert [each["message"] for each in whole["findings"]] == [
        "its 3 NICs may receive 9mbit together, it has 8mbit inbound"
    ]
    (row,) = whole["hosts"][0]["networks"]
    assert (row["average"], row["capacity"], row["left"]) == ("8mbit", None, None)
    fits = network(live=peak, config=peak, floors={"used": "16mbit", "left": "0bit"})
    assert audited(libvirt(networks=(fits,), promised=[{**promised, "inbound": "8mbit"}]), DECLARED)["findings"] == []


LOST = {"unreachable": True, "msg": "Task failed: Failed to connect\nto the host"}
NO_LIBVIRT = {"__qos_audit_libvirt": {"msg": "Connecting to qemu:///system failed."}}
FAILED = {"failed": True, "msg": "Connecting to qemu:///system failed."}
POLICIES = {"vm_qos_policies": [{"match": {"domain": "*"}, "inbound": {"average": "8mbit"}}]}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([{"__qos_audit_kernel": LOST}], [("unreachable", "host", "Failed to connect to the host")]),
        # It went away in the middle: what came before does not matter.
        (
            [{"vm_qos_result": LOST}, NO_LIBVIRT, POLICIES, {"__qos_audit_failed": {"vm_qos": "x"}}],
            [("unreachable", "host", "Failed to connect to the host")],
        ),
        ([NO_LIBVIRT, POLICIES], [("unreadable", "libvirt", "Connecting to qemu:///system failed.")]),
        ([NO_LIBVIRT], [("unknown", "libvirt", "Connecting to qemu:///system failed.")]),
        # The role fails for the same reason: that is told once.
        (
            [NO_LIBVIRT, POLICIES, {"vm_qos_result": FAILED, "__qos_audit_failed": {"vm_qos": FAILED["msg"]}}],
            [("unreadable", "libvirt", "Connecting to qemu:///system failed.")],
        ),
        (
            [
                {
                    "vm_qos_result": {**FAILED, "msg": "policies[0]: no"},
                    "__qos_audit_failed": {"vm_qos": "policies[0]: no"},
                }
            ],
            [("refused", "vm_qos_policies", "policies[0]: no")],
        ),
        ([{"__qos_audit_failed": {"vm_qos": "no such profile"}}], [("refused", "vm_qos_policies", "no such profile")]),
        (
            [
                {
                    "__qos_audit_failed": {"host_qos": "One or more items failed"},
                    "host_qos_result": {
                        "failed": True,
                        "results": [
                            {"item": "bond9", "failed": True, "msg": "no device"},
                            {"item": "bond0", "actions": []},
                        ],
                    },
                }
            ],
            [("refused", "bond9", "no device")],
        ),
        # What could not be templated, with the place in a file as ansible-core 2.18 adds it.
        (
            [
                {
                    "__qos_audit_libvirt": {
                        "msg": "'uri' is undefined\n\nThe error appears to be in 'x': line 1\n^ here\n"
                    }
                }
            ],
            [("unknown", "libvirt", "'uri' is undefined")],
        ),
        # No Python: both modules end without an answer, with the same words.
        (
            [
                {
                    name: {
                        "_ansible_parsed": False,
                        "rc": 127,
                        "module_stdout": "sh: python3: not found",
                        "msg": "MODULE",
                    }
                    for name in ("__qos_audit_kernel", "__qos_audit_libvirt")
                },
                POLICIES,
            ],
            [("unreadable", "traffic classes", "sh: python3: not found; exit status 127")],
        ),
    ],
)
def test_hosts_that_could_not_be_looked_at(parts: list[dict[str, Any]], expected: list[tuple[str, str, str]]) -> None:
    assert found(*parts) == expected
    row = audited(*parts)["hosts"][0]
    assert row["looked_at"] is not (expected[0][0] in ("unreachable", "unreadable"))


def test_lists_of_the_inventory_that_are_none() -> None:
    assert found({"vm_qos_policies": "gold", "host_qos_devices": None, "network_qos_networks": [1, "x"]}) == []


def test_nothing_else_of_a_result_is_looked_at() -> None:
    """Each key that is deprecated warns when it is read."""
    skipped = {"skipped": True, "skipped_reason": "No items in the list", "results": []}
    assert read("one", {"host_qos_result": skipped}).roles["host_qos"] == {"results": []}


def test_names_are_read_as_the_roles_read_them() -> None:
    parts = [uplink(node("a", rt="1mbit")), libvirt(networks=(network(name="100", config=slow("8mbit")),))]
    number = {"network_qos_networks": [{"name": 100}], "host_qos_devices": [{"device": ["x"]}, {"device": "bond0"}]}
    assert found(*parts, number) == []
    # Where it is no list, nobody knows what is declared.
    whole = audited(*parts, {"network_qos_networks": {"name": "prod"}, "host_qos_devices": None})
    assert (whole["findings"], whole["hosts"][0]["uplinks"][0]["declared"]) == ([], None)


def test_what_ansible_refuses_before_the_role_can_is_said_as_site_says_it() -> None:
    early = {
        "__qos_audit_failed": {"vm_qos": "Validation of arguments failed:\nargument 'x' is of type <class 'dict'>"}
    }
    told = "this is not a list; write a list, be it of one element."
    assert found(early, {"vm_qos_policies": {"x": 1}}) == [
        ("refused", "vm_qos_policies", f"vm_qos_policies {{'x': 1}}: {told}")
    ]
    # What the check knows nothing of stays as Ansible says it.
    assert found(early)[0][2] == "Validation of arguments failed: argument 'x' is of type <class 'dict'>"


def test_a_host_that_is_not_understood_keeps_no_other_out() -> None:
    odd = {"__qos_audit_kernel": {"devices": [{"device": "bond0"}]}}
    good = {"__qos_audit_kernel": {"devices": []}, **libvirt(nic(1, undeclared=["live"]))}
    whole = report({"odd": odd, "good": good}, ["odd", "good"], MADE)
    (first, *others) = whole["findings"]
    assert (first["host"], first["kind"], first["object"]) == ("odd", "unreadable", "answers")
    assert first["message"] == "what its tasks answered is not understood: KeyError: 'managed'"
    assert {each["host"] for each in others} == {"good"}
    assert [row["looked_at"] for row in whole["hosts"]] == [False, True]


def test_the_report_is_complete() -> None:
    whole = report({"one": {}, "two": {**libvirt(nic(1, undeclared=["live"])), **uplink()}}, ["two", "one"], MADE)
    assert (whole["format"], whole["made"]) == (1, MADE)
    assert [row["name"] for row in whole["hosts"]] == ["two", "one"]
    assert whole["totals"]["hosts"] == 2
    assert whole["totals"]["looked_at"] == 1
    counted = {name: kind["findings"] for name, kind in whole["kinds"].items()}
    assert list(counted) == list(KINDS)
    assert sum(counted.values()) == len(whole["findings"])
    assert all(KINDS[name].severity in SEVERITIES for name in KINDS)
    assert "drift" in ERRORS
    assert "undeclared" not in ERRORS


@pytest.mark.parametrize(
    "parts",
    [
        {"__qos_audit_failed": {"vm_qos": "no such profile"}},
        {"__qos_audit_failed": {"vm_qos": "NIC 5: no"}, "vm_qos_result": {"failed": True, "msg": "NIC 5: no"}},
        # It went away for one task, and was there again for the next.
        {"vm_qos_result": LOST},
    ],
)
def test_nics_that_were_not_compared_are_not_in_order(parts: dict[str, Any]) -> None:
    wrong = {"unenforced": {"inbound": {"promised": "a", "enforced": "b"}}}
    nics = audited(libvirt(nic(1, **wrong)), parts)["totals"]["nics"]
    assert {state: nics[state] for state in STATES if nics[state]} == {"unenforced": 1, "not_compared": 3}


WHY = {
    "unenforced": {"unenforced": {"inbound": {"promised": "a", "enforced": "b"}}},
    "differs": {"drift": {"inbound": {"live": "a", "config": "b"}}},
    "undeclared": {"undeclared": ["live"]},
    "drift": {},
}


@given(st.lists(st.sampled_from(list(WHY)), max_size=9))
def test_every_nic_is_counted_once(kinds: list[str]) -> None:
    """Whatever is true of a NIC, the numbers add up to that of all."""
    nics = [nic(index % 3, **WHY[kind]) for index, kind in enumerate(kinds)]
    change = {"scopes": ["live"], "before": {"outbound": NONE}, "after": {"outbound": NONE}}
    drift = [{**each, **change} for each, kind in zip(nics, kinds) if kind == "drift"]
    counted = audited(libvirt(*nics), {"vm_qos_result": {"interfaces": drift}})["hosts"][0]["nics"]
    assert sum(counted[state] for state in STATES) == counted["total"]


@given(st.integers(0, 2**70))
def test_rates_come_back_as_they_were(rate: int) -> None:
    assert bits(text(rate)) == rate


def test_the_page_on_the_audit_knows_all_kinds_and_keys() -> None:
    page = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        assert f"\n| `{name}` | {kind.severity} | " in page
    promised = {"network": "prod", "bridge": "virbr1", "nics": 3, "inbound": "9mbit", "outbound": "1mbit"}
    sums = [promised, {**promised, "network": None}]
    whole = audited(
        uplink(node("a", rt="1mbit")), libvirt(nic(1, undeclared=["live"]), networks=(network(),), promised=sums)
    )
    (row,) = whole["hosts"]
    (uplinks,), (networks,), (bridges,) = row["uplinks"], row["networks"], row["bridges"]
    known = [whole, whole["totals"], whole["kinds"]["drift"], row, row["nics"], uplinks, *uplinks["classes"]]
    for keys in (*known, networks, bridges, whole["findings"][0]):
        assert [key for key in keys if f"`{key}`" not in page and f"`{key}[]`" not in page] == []


def test_the_page_on_the_audit_knows_all_that_findings_are_about() -> None:
    group = {"name": "web", "live": slow("8mbit"), "config": UNLIMITED, "drift": ["inbound"]}
    action = {"op": "add", "object": "class", "id": "1389:64", "after": "ls 1mbit"}
    whole = audited(
        uplink(node("a", node("b", rt="2mbit"), ul="1mbit"), node("c", ul="1mbit")),
        libvirt(nic(1, **WHY["unenforced"]), networks=(network(portgroups=[group]),), unknown=2),
        {"host_qos_result": {"results": [{"item": "bond0", "actions": [action]}]}},
        {"__qos_audit_failed": {"vm_qos": "no such profile"}},
    )
    page = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
    (rows,) = re.findall(r"^`about` has .*\n\n\| key \| what \|\n\|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", rows, re.MULTILINE)))
    assert sorted(named) == sorted({key for each in whole["findings"] for key in each["about"]})
