# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook rollback over a small fleet: on which hosts it goes back, what it says of the others, what it records.

libvirt's test driver forgets everything with the module that opened it; the Molecule scenario fleet has a real host.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtnet.qos.tests.controller.fleet import inventory, play, record

pytest.importorskip("libvirt")

FAST, NONE = {"inbound": {"average": "8mbit"}}, {"inbound": {"average": "unlimited"}}
MAC = "aa:bb:cc:dd:ee:ff"  # of the one NIC that there is


def nic(domain: str = "test", scope: str = "live", mac: str = MAC) -> dict[str, Any]:
    sides = {"own": {"before": True, "after": False}, "before": FAST, "after": NONE}
    return {"domain": domain, "mac": mac, "target": "testnet0", "scope": scope, **sides}


def recorded(run: str, time: str, *nics: dict[str, Any], networks: Any = ()) -> dict[str, Any]:
    about = {"version": 1, "run": run, "time": time, "undid": None, "devices": []}
    return {**about, "networks": list(networks), "interfaces": list(nics)}


NETWORK = {"name": "nowhere", "portgroup": None, "scope": "config", "before": NONE, "after": FAST}
RECORDS: dict[str, Any] = {
    "due": recorded("last", "2026-03-02T10:15:02Z", nic(), nic(scope="config")),
    "bereft": recorded("last", "2026-03-01T10:15:02Z", nic(), nic("gone", mac="52:54:00:00:00:01"), networks=[NETWORK]),
    "old": recorded("former", "2026-02-01T10:15:02Z", nic()),
    "odd": {"version": 1},
    "none": None,
}


def test_going_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_ANY_ERRORS_FATAL", "1")
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")  # which is not to make a host's own last run the last of all
    for host, content in RECORDS.items():
        folder = tmp_path / "records" / host
        folder.mkdir(parents=True)
        if content:
            (folder / "last-run.json").write_text(json.dumps(content))
    hosts = inventory(tmp_path, {host: {} for host in RECORDS})

    checked = play("rollback", hosts, "--check", "--diff")
    assert {host: record(hosts, host) or None for host in RECORDS} == RECORDS
    ran = play("rollback", hosts, "--diff", "--tags", "vm_qos", qos_run="back")  # which leaves nothing out
    for each in (checked, ran):
        assert each.hosts("changed") == ["bereft", "due"]
        assert each.hosts("failed") == ["bereft", "odd"]
        assert "odd/last-run.json: this is not the record of a run; look at it, and remove it" in each.said("odd")
        assert each.said("bereft") == (
            "Not everything was brought back: network 'nowhere' is not there any more."
            " NIC 52:54:00:00:00:01 of domain 'gone' is not there any more. The rest was."
        )
        assert each.printed.count("+  inbound: {average: 8mbit}") == 2
        assert "Left alone: the run last has not changed this host" in each.printed
        assert "To undo what former did, which changed it last, set qos_rollback_run to that." in each.printed
    # What was brought back can be undone; a host that has nothing to go back to has the record that it had.
    for host, scopes in (("due", ["live", "config"]), ("bereft", ["live"])):
        back = record(hosts, host)
        assert (back["run"], back["undid"]) == ("back", "last")
        there = [each for each in back["interfaces"] if each["domain"] == "test"]
        assert [(each["scope"], each["before"], each["after"]) for each in there] == [
            (scope, NONE, FAST) for scope in scopes
        ]
    assert [record(hosts, host) for host in ("old", "odd")] == [RECORDS["old"], RECORDS["odd"]]

    typo = play("rollback", hosts, "--limit", "!odd", qos_rollback_run="lost")
    assert typo.failed
    assert (
        "qos_rollback_run 'lost': no record of these hosts that could be read is of a run of that name;"
        " there are back, former, last. Correct the name. Nothing was changed."
    ) in typo.printed
    again = play("rollback", hosts, "--limit", "due,none")
    assert not again.failed, again.printed
    assert "Nothing to do: this host is back before the run last already." in again.printed
    assert record(hosts, "due")["run"] == "back"
    nobody = play("rollback", hosts, "--limit", "none")
    assert nobody.said("none").startswith(
        f"There is no record in {tmp_path}/records/none of this host, nor of any other"
    )


def test_a_record_that_cannot_be_read_is_told_of_its_host_and_keeps_none_of_the_others(tmp_path: Path) -> None:
    records = {
        "due": RECORDS["due"],
        "bare": RECORDS["due"],
        "typed": {**RECORDS["due"], "time": 5},
        "early": {**RECORDS["due"], "run": "ahead", "time": "2999-01-01T00:00:00Z"},
        "folder": None,
        "bytes": None,
    }
    for host, content in records.items():
        path = tmp_path / "records" / host / "last-run.json"
        path.parent.mkdir(parents=True)
        if content:
            path.write_text(json.dumps(content))
    (tmp_path / "records/folder/last-run.json").mkdir()
    (tmp_path / "records/bytes/last-run.json").write_bytes(b"\xff\xfe")
    bare = {"bare": {"ansible_python_interpreter": "/nonexistent"}}
    hosts = inventory(tmp_path, {host: bare.get(host, {}) for host in records})

    ran = play("rollback", hosts, "--diff", qos_run="back")
    assert ran.hosts("changed") == ["due"]
    assert ran.hosts("failed") == ["bare", "bytes", "early", "folder", "typed"]
    assert "/nonexistent" in str(ran.answers("bare")[0])
    assert "directory" in ran.said("folder")
    assert "typed/last-run.json: this is not the record of a run;" in ran.said("typed")
    assert "(time is missing or not what a run writes)." in ran.said("typed")
    assert "bytes/last-run.json: this is not the record of a run;" in ran.said("bytes")
    early = ran.said("early")
    assert "the run ahead ended at 2999-01-01T00:00:00Z, it says, and it is 2" in early
    assert early.endswith("If that is the run to undo, set qos_rollback_run to its name.")
    assert "No record could be read of bare, bytes, early, folder, typed, as is said above." in ran.printed
    assert "Of the others the last run is last;" in ran.printed

    named = play("rollback", hosts, "--limit", "early", qos_rollback_run="ahead")
    assert (named.hosts("changed"), named.failed) == (["early"], False)
