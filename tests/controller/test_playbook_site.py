# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook site over small fleets: the canary, batches, percentages, records, and how many tasks it takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.virtnet.qos.tests.controller.fleet import ROOT, UNREACHABLE, inventory, play, record

pytest.importorskip("libvirt")

LIMITED = {"vm_qos_policies": [{"match": {"domain": "test"}, "inbound": {"average": "8mbit"}}]}
# libvirt's test driver does not keep what is written to a network, so this changes something, and fails.
BREAKS = {"network_qos_networks": [{"name": "default", "inbound": {"average": "8mbit"}}]}
ONLY_LIBVIRT = ("--skip-tags", "prepare,host_qos")


def ensured(printed: str, role: str = "vm_qos", outcome: str = "changed") -> list[list[str]]:
    """Return the hosts of each batch on which a role changed something."""
    tasks = re.split(r"^TASK ", printed, flags=re.MULTILINE)
    tasks = [task for task in tasks if task.startswith(f"[virtnet.qos.{role} : Ensure")]
    return [sorted(re.findall(rf"^{outcome}: \[(\w+)\]", task, re.MULTILINE)) for task in tasks]


def test_a_canary_that_fails_stops_the_run_and_its_record_is_kept(tmp_path: Path) -> None:
    # The host that does not answer comes first, and cannot be the canary.
    hosts = inventory(tmp_path, {"away": UNREACHABLE, "canary": BREAKS, "second": {}}, **LIMITED)
    ran = play("site", hosts, *ONLY_LIBVIRT, qos_run="first")
    assert ran.failed
    assert (ran.hosts("unreachable"), ran.hosts("failed")) == (["away"], ["canary"])
    assert "reads back differently" in ran.said("canary")
    assert ensured(ran.printed) == []
    assert [bool(record(hosts, host)) for host in ("canary", "second")] == [True, False]
    kept = record(hosts, "canary")
    assert (kept["run"], kept["undid"], kept["interfaces"]) == ("first", None, [])
    assert [(each["name"], each["scope"], each["before"]) for each in kept["networks"]] == [
        ("default", "config", {"inbound": {"average": "unlimited"}})
    ]
    folder = tmp_path / "records/canary"
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "last-run.json")] == [0o700, 0o600]


@pytest.mark.parametrize(("percentage", "batches"), [(50, [["canary"], ["b"], ["c"]]), (10, [["canary"], ["b"]])])
def test_one_that_fails_in_the_middle(tmp_path: Path, percentage: int, batches: list[list[str]]) -> None:
    hosts = inventory(tmp_path, {"canary": {}, "a": BREAKS, "b": {}, "gone": UNREACHABLE, "c": {}}, **LIMITED)
    ran = play("site", hosts, *ONLY_LIBVIRT, qos_serial=[1, 2, "100%"], qos_max_fail_percentage=percentage)
    assert ran.failed
    assert (ran.hosts("unreachable"), ran.hosts("failed")) == (["gone"], ["a"])
    assert ensured(ran.printed) == batches
    assert [bool(record(hosts, host)) for host in ("canary", "a", "b", "c")] == [True, True, True, len(batches) == 3]
    assert len({record(hosts, host)["run"] for host in ("canary", "a", "b")}) == 1


def test_a_host_that_lacks_what_is_declared_is_not_the_canary(tmp_path: Path) -> None:
    lacks = {"host_qos_devices": [{"device": "bond7", "classes": [{"default": True, "share": 1}]}]}
    # Where there is a libvirt, the policy would be for its guests.
    bare = {} if list(Path("/run/libvirt").glob("*-sock")) else {"bare": {"vm_qos_uri": "qemu:///system"}}
    hosts = inventory(tmp_path, {"lacks": lacks, **bare, "b": {}, "c": {}}, **LIMITED)
    ran = play("site", hosts, *ONLY_LIBVIRT)
    assert ran.said("lacks").startswith("host_qos_devices[0].device 'bond7': no such device; there are ")
    assert "lo" in re.findall(r"\w+", ran.said("lacks").partition("there are ")[2])
    for host in bare:
        assert ran.said(host).startswith("vm_qos_uri 'qemu:///system': libvirt is not running here")
    assert (ran.hosts("failed"), ensured(ran.printed)) == ([*bare, "lacks"], [["b"], ["c"]])


def test_settings_of_ansible_keep_neither_batches_nor_records_from_their_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"STRATEGY": "free", "ANY_ERRORS_FATAL": "1"}.items():
        monkeypatch.setenv(f"ANSIBLE_{name}", value)
    declared: dict[str, Any] = {"wrong": {"qos_profiles": 3}, "canary": {}, "a": BREAKS, "b": {}, "c": {}}
    hosts = inventory(tmp_path, declared, qos_hosts="nobody", **LIMITED)
    ran = play("site", hosts, *ONLY_LIBVIRT, qos_serial=[1, 2, "100%"])
    assert (ran.failed, ran.hosts("failed")) == (True, ["a", "wrong"])
    assert ensured(ran.printed) == [["canary"], ["b"]]
    assert [bool(record(hosts, host)) for host in ("canary", "a", "b", "c")] == [True, True, True, False]


def test_what_an_inventory_says_of_qos_hosts_counts_for_nothing(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, {"away": UNREACHABLE, "a": {}, "b": {}}, {"some": ["a"]}, qos_hosts="some", **LIMITED)
    ran = play("site", hosts, *ONLY_LIBVIRT, qos_serial=[1, "100%"])
    assert ensured(ran.printed) == [["a"], ["b"]]


def test_what_was_changed_by_a_run_that_was_begun_in_its_middle_is_recorded(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, {"a": {}, "b": {}}, **LIMITED)
    ran = play("site", hosts, "--start-at-task", "virtnet.qos.vm_qos : Ensure the limits of guest NICs")
    assert not ran.failed, ran.printed
    (run,) = {record(hosts, host)["run"] for host in "ab"}
    assert re.fullmatch(r"begun in the middle on [0-9-]{10}", run)


def test_a_record_that_turns_out_not_to_be_writable(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, {"a": {}}, **LIMITED)
    (tmp_path / "records/a/last-run.json").mkdir(parents=True)
    ran = play("site", hosts, *ONLY_LIBVIRT)
    assert (ran.failed, ensured(ran.printed)) == (True, [["a"]])
    assert ran.answers("a")[-1]["msg"].endswith(
        ". Changed, and not recorded, so that virtnet.qos.rollback does not know of it, were: test."
    )


def test_misspelt_names_of_variables_are_warned_of(tmp_path: Path) -> None:
    misspelt = {
        "vm_qos_polices": LIMITED["vm_qos_policies"],
        "host_qos_device": "{{ nowhere }}",
        "vm_qos_policies_web": 1,
    }
    hosts = inventory(tmp_path, {"a": misspelt, "b": {**misspelt, **LIMITED}}, qos_profile="own", qos_profiles={})
    ran = play("site", hosts, *ONLY_LIBVIRT, "--check")
    assert not ran.failed, ran.printed
    warned = re.findall(
        r"(\w+): No role of virtnet.qos reads the variable (\w+)\. If (\w+) is meant", " ".join(ran.printed.split())
    )
    # Of each host, though Ansible prints what is the same of both once. The second has the right one of the policies.
    device = ("host_qos_device", "host_qos_devices")
    assert sorted(warned) == [("a", *device), ("a", "vm_qos_polices", "vm_qos_policies"), ("b", *device)]


@pytest.mark.parametrize("serial", ["abc", "10.5%", "0", 0, [], [1, "0%"], "101%", [1, -1], "1,25%", None])
def test_odd_batches_are_refused_once_and_before_anything(tmp_path: Path, serial: Any) -> None:
    ran = play("site", inventory(tmp_path, {"a": {}, "away": UNREACHABLE, "b": {}}, **LIMITED), qos_serial=serial)
    assert ran.failed
    assert ran.said("a").startswith(
        f"qos_serial {json.dumps(serial)}: a batch is a number of hosts from 1, or 1% to 100%"
    )
    assert (ran.printed.count("fatal: "), ran.hosts("ok"), ran.hosts("unreachable")) == (1, [], [])
    assert "Traceback" not in ran.printed


@pytest.mark.parametrize(("share", "fine"), [("abc", False), (101, False), (-1, False), ("12.5", True), ("30%", True)])
def test_the_share_that_may_fail(tmp_path: Path, share: Any, fine: bool) -> None:
    ran = play(
        "site", inventory(tmp_path, {"a": {}}), *ONLY_LIBVIRT, qos_max_fail_percentage=share, qos_serial=["1", "9%"]
    )
    assert ran.failed is not fine
    if not fine:
        assert (
            ran.said("a")
            == f"qos_max_fail_percentage {json.dumps(share)}: this is not from 0 to 100; write such a number."
        )


def test_a_record_that_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    dirs = {"a": f"{tmp_path}/file", "b": f"{tmp_path}/file/below", "c": f"{tmp_path}/it's/new"}
    hosts = inventory(tmp_path, {host: {"qos_record_dir": folder} for host, folder in dirs.items()}, **LIMITED)
    for options in (["--check"], []):
        ran = play("site", hosts, *ONLY_LIBVIRT, *options)
        assert ran.hosts("failed") == ["a", "b"]
        for host in "ab":
            assert ran.said(host).startswith(
                f"qos_record_dir '{dirs[host]}': this is no folder that can be written or made"
            )
        assert ensured(ran.printed) == [["c"]]
    assert (tmp_path / "it's/new/last-run.json").exists()
    assert not (tmp_path / "records").exists()


def test_a_record_dir_that_is_no_absolute_path(tmp_path: Path) -> None:
    dirs = {"a": 7, "b": ["/x"], "c": "records", "d": "~/records"}
    hosts = inventory(tmp_path, {host: {"qos_record_dir": folder} for host, folder in dirs.items()}, **LIMITED)
    ran = play("site", hosts, *ONLY_LIBVIRT)
    assert ran.hosts("failed") == ["a", "b", "c", "d"]
    for host, folder in dirs.items():
        assert ran.said(host) == (
            f"qos_record_dir {json.dumps(folder)}: this is no absolute path; write one, or drop the line for "
            "/var/lib/virtnet-qos."
        )
    assert ensured(ran.printed) == []


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_record_dir_is_the_usual_one(tmp_path: Path, nothing: str | None) -> None:
    hosts = inventory(tmp_path, {"a": {"qos_record_dir": nothing}}, **LIMITED)
    assert "d=/var/lib/virtnet-qos;" in play("site", hosts, *ONLY_LIBVIRT, "--check", "-vvv").printed
    assert "There is no record in /var/lib/virtnet-qos of" in play("rollback", hosts, "--check").printed
    # So has the play that keeps the record.
    plays = [
        each for name in ("site", "rollback") for each in yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text())
    ]
    assert len({each["vars"]["__qos_record_dir"] for each in plays}) == 1


def test_nobody_is_called_so(tmp_path: Path) -> None:
    ran = play("site", inventory(tmp_path, {"a": {}}), qos_hosts="misspelt")
    assert ran.failed
    assert "qos_hosts 'misspelt' names no host of the inventory; nothing was done." in ran.printed
    assert "Traceback" not in ran.printed
    # A list of patterns, as Ansible takes them.
    some = play(
        "site", inventory(tmp_path, {"a": {}, "b": {}}), *ONLY_LIBVIRT, "--limit", "b,a", qos_hosts=["a", "b:!b"]
    )
    assert (some.failed, some.hosts("ok")) == (False, ["a"])


def test_one_run_in_two_parts(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, {"one": BREAKS}, **LIMITED)
    for role in ("vm_qos", "network_qos"):
        play("site", hosts, "--tags", role, "--skip-tags", "prepare", qos_run="both")
    both = record(hosts, "one")
    assert (len(both["interfaces"]), len(both["networks"])) == (2, 1)
    assert {each["before"]["inbound"]["average"] for each in both["interfaces"]} == {"unlimited"}
    # Another run begins anew.
    play("site", hosts, "--tags", "network_qos", "--skip-tags", "prepare", qos_run="other")
    assert (record(hosts, "one")["run"], record(hosts, "one")["interfaces"]) == ("other", [])


def test_a_former_record_that_nobody_can_read_stays_beside_the_new_one(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, {"one": {}}, **LIMITED)
    folder = tmp_path / "records/one"
    folder.mkdir(parents=True)
    (folder / "last-run.json").write_text("torn")
    for run in "ab":
        assert not play("site", hosts, *ONLY_LIBVIRT, qos_run=run).failed
        assert record(hosts, "one")["run"] == run
    assert [each.read_text() for each in folder.iterdir() if each.name != "last-run.json"] == ["torn"]


LOST = "This host answered at first and no longer does, as it says above. What was left to do was left out. "
AGAIN = "Look at the host from its console; once it answers, run virtnet.qos.site again."


@pytest.mark.parametrize(
    ("after", "known"),
    [
        ("network_qos", "Nothing is known to have been changed."),
        ("vm_qos", "Changed before, and not recorded, so that virtnet.qos.rollback does not know of it, were: test."),
    ],
)
def test_hosts_that_no_longer_answer_count_as_failed(tmp_path: Path, after: str, known: str) -> None:
    lost = {**UNREACHABLE, "ansible_connection": f"{{{{ 'ssh' if {after}_result is defined else 'local' }}}}"}
    hosts = inventory(tmp_path, {"canary": {}, "lost": lost, "b": {}, "c": {}}, **LIMITED)
    ran = play("site", hosts, *ONLY_LIBVIRT, qos_serial=[1, 2, "100%"])
    assert ran.failed
    assert ran.hosts("failed") == ["lost"]
    assert ensured(ran.printed)[0] == ["canary"]
    assert "c" not in str(ensured(ran.printed)[1:])
    assert [bool(record(hosts, host)) for host in ("canary", "b", "c")] == [True, True, False]
    said = ran.answers("lost")[-1]["msg"]
    assert (tmp_path / "records/lost").exists() is False
    assert said.startswith(LOST + known)
    assert said.endswith(AGAIN)
    # It is asked once more: for the record that is there.
    assert ran.printed.count("UNREACHABLE!") == 1


def test_imports_for_different_hosts_in_one_playbook(tmp_path: Path) -> None:
    # A host that failed in an earlier import stays out, and is not the canary of a later one.
    hosts = inventory(
        tmp_path,
        {"a1": {}, "a2": {}, "b1": {"qos_profiles": 3}, "b2": {}, "b3": {}},
        groups={"ga": ["a1", "a2"], "gb": ["b1", "b2", "b3"]},
        **LIMITED,
    )
    imports = [
        {"ansible.builtin.import_playbook": "virtnet.qos.site", "vars": {"qos_hosts": pattern, "qos_run": pattern}}
        for pattern in ("ga", "gb", "ga:gb")
    ]
    (tmp_path / "both.yml").write_text(json.dumps(imports))
    ran = play(str(tmp_path / "both.yml"), hosts, *ONLY_LIBVIRT)
    assert (ran.failed, ran.hosts("failed")) == (True, ["b1"])
    assert ensured(ran.printed) == [["a1"], ["a2"], ["b2"], ["b3"], ["a1"], ["a2"], ["b2", "b3"]]
    assert {host: record(hosts, host)["run"] for host in ("a1", "b3")} == {"a1": "ga:gb", "b3": "ga:gb"}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run in check mode over two hosts, on one of which there is nothing to do."""
    steady = {
        "host_qos_devices": [{"device": "lo", "state": "absent"}],
        "network_qos_networks": [{"name": "default", "state": "absent"}],
        "vm_qos_policies": [{"match": {"domain": "*"}, "state": "absent"}],
        "prepare_packages": ["dpkg"],
    }
    hosts = inventory(tmp_path_factory.mktemp("checked"), {"one": {}, "two": LIMITED}, **steady)
    return hosts, play("site", hosts, "--check", "--diff")


def test_check_mode_takes_all_hosts_at_once_and_records_nothing(checked: Any) -> None:
    hosts, ran = checked
    assert not ran.failed, ran.printed
    assert ensured(ran.printed) == [["two"]]
    assert record(hosts, "two") == {}
    assert "+  inbound: {average: 8mbit}" in ran.printed


def test_a_steady_run_of_all_roles_takes_few_tasks(checked: Any) -> None:
    _hosts, ran = checked
    assert ran.recap["one"]["changed"] == 0
    # Each of the three modules did run, and found nothing to do.
    for role in ("host_qos", "network_qos", "vm_qos"):
        assert "one" in ensured(ran.printed, role, "ok")[0]
    assert ran.recap["one"]["ok"] <= 12


def test_tags_run_one_role(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, {"one": BREAKS}, **LIMITED, host_qos_devices=[{"device": "lo", "state": "absent"}])
    ran = play("site", hosts, "--tags", "vm_qos", "--skip-tags", "prepare", qos_run="7")
    assert not ran.failed, ran.printed
    assert set(re.findall(r"TASK \[virtnet.qos.(\w+) : (?!Validating)", ran.printed)) == {"vm_qos"}
    assert [each["scope"] for each in record(hosts, "one")["interfaces"]] == ["live", "config"]
    # What changes nothing leaves the former record as it is.
    play("site", hosts, "--tags", "host_qos", "--skip-tags", "prepare", qos_run="8")
    assert record(hosts, "one")["run"] == "7"


GUEST = """<domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='bridge'><mac address='52:54:00:00:00:0{number}'/><source bridge='br0'/>
    <bandwidth><inbound average='5'/></bandwidth></interface></devices></domain>"""


def test_what_hosts_get_from_their_groups(tmp_path: Path) -> None:
    """The inventory of docs/profiles-and-policies.md, and a host whose list takes the place of all of it."""
    page = (ROOT / "docs/profiles-and-policies.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"^`(\w+/\w+\.yml)`\n\n```yaml\n(.*?)```", page, re.DOTALL | re.MULTILINE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "host_vars/alone.yml").write_text("vm_qos_policies: [{match: {domain: web}, profile: gold}]\n")
    guests = "".join(GUEST.format(name=name, number=at) for at, name in enumerate(("db-1", "db-9", "web")))
    (tmp_path / "node.xml").write_text(f"<node>{guests}</node>")
    hosts = inventory(
        tmp_path,
        {"node1": {}, "node3": {}, "alone": {}},
        groups={"storage": ["node3"]},
        vm_qos_uri=f"test://{tmp_path}/node.xml",
    )
    ran = play("site", hosts, "--tags", "vm_qos", "--skip-tags", "prepare", qos_serial="100%")
    assert not ran.failed, ran.printed
    silver, gold, own, none = "100mbit", "1gbit", "5gbit", "unlimited"
    wanted = {
        "node1": {"db-1": silver, "db-9": silver, "web": silver},
        "node3": {"db-1": own, "db-9": none, "web": silver},
        "alone": {"web": gold},
    }
    for host, limits in wanted.items():
        changed = record(hosts, host)["interfaces"]
        assert {each["domain"]: each["after"]["inbound"]["average"] for each in changed} == limits
