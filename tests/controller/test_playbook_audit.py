# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook audit, run against libvirt's test driver: what it finds, what it writes, and its exit status.

Those hosts have no devices in the kernel. A host with an uplink and a guest is audited in Molecule's scenario fleet.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest
import yaml
from ansible.release import __version__

from ansible_collections.virtnet.qos.plugins.filter import audit_render, audit_report
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_kinds import KINDS
from ansible_collections.virtnet.qos.tests.controller.role import ROOT

pytest.importorskip("libvirt")

NIC = "<interface type='{type}'><mac address='52:54:00:00:00:{mac}'/>{source}<bandwidth>{has}</bandwidth></interface>"
ON_PROD = "<source network='prod'/>"
SLOW = "<inbound average='500'/>"
FLOOR = "<inbound average='1000' floor='800'/>"
NODE = """<node>
  <network><name>prod</name><forward mode='route'/><bridge name='nowhere0'/><ip address='192.0.2.1' prefix='24'/>
    <bandwidth><inbound average='1000'/></bandwidth></network>
  <domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os>
    <devices>{nics}</devices></domain>
</node>"""
PROFILES = {"slow": {"inbound": {"average": "4mbit"}}}
POLICIES = [{"match": {"network": "prod"}, "inbound": {"average": "8mbit", "floor": "6.4mbit"}}]
NETWORKS = [{"name": "prod", "inbound": {"average": "8mbit"}}]


class Audit(NamedTuple):
    """What a run of the playbook gave."""

    status: int
    printed: str
    report: dict[str, Any]
    folder: Path

    def found(self, host: str) -> dict[str, list[str]]:
        """Return what was found on a host: the objects by kind."""
        kinds: dict[str, list[str]] = {}
        for each in self.report["findings"]:
            if each["host"] == host:
                kinds.setdefault(each["kind"], []).append(each["object"])
        return kinds


Run = Callable[..., Audit]
# Before, a variable in hostvars that cannot be templated was its own text.
HOSTVARS_RAISE = not __version__.startswith("2.18.")


def nic(mac: str, has: str = "", kind: str = "network", source: str = ON_PROD) -> str:
    return NIC.format(mac=mac, has=has, type=kind, source=source)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return what audits hosts by their variables; ``extra`` are options of the command line."""
    variables = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_FORKS": "8",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_ANY_ERRORS_FATAL": "1",  # which is to keep no host out of the report
        "LC_ALL": "C.UTF-8",
    }

    def run(
        *extra: str, playbook: str = "virtnet.qos.audit", always: dict[str, Any] | None = None, **hosts: dict[str, Any]
    ) -> Audit:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
        inventory = {"all": {"hosts": {name: {**local, **given} for name, given in hosts.items()}}}
        inventory["all"]["vars"] = {"network_qos_affect": ["config"], **(always or {})}
        (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory.yml", playbook]
        ran = subprocess.run(
            [*command, *extra],
            check=False,
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        kept = tmp_path / "qos-audit/audit.json"
        report = json.loads(kept.read_text()) if kept.exists() else {}
        return Audit(ran.returncode, ran.stdout + ran.stderr, report, tmp_path / "qos-audit")

    return run


def host(folder: Path, *nics: str, name: str = "guest", **more: Any) -> dict[str, Any]:
    """Return the variables of a host whose one guest has these NICs."""
    node = folder / f"{len(list(folder.iterdir()))}.xml"
    node.write_text(NODE.format(name=html.escape(name), nics="".join(nics)))
    uri = f"test://{node}"
    inventory = {"qos_profiles": PROFILES, "vm_qos_policies": POLICIES, "network_qos_networks": NETWORKS}
    return {"vm_qos_uri": uri, "network_qos_uri": uri, **inventory, **more}


def gone(**more: Any) -> dict[str, Any]:
    return {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, **more}


def tasks(printed: str, name: str) -> int:
    """Return how many tasks a host had."""
    (recap,) = re.findall(rf"^{name} .*\bok=(\d+)", printed, re.MULTILINE)
    return int(recap)


def test_a_fleet_that_is_as_declared(run: Run, tmp_path: Path) -> None:
    good = host(tmp_path, nic("01", FLOOR))
    audit = run(first=good, second=good, always={"network_qos_affect": ["config"]})
    assert audit.status == 0, audit.printed
    assert audit.report["totals"]["nics"]["in_order"] == 2
    assert {kind for name in ("first", "second") for kind in audit.found(name)} == {"unknown"}
    # Three checks of arguments, one of devices and two of profiles are the controller's; four tasks reach the host.
    assert tasks(audit.printed, "second") == 7
    assert "changed=0" in audit.printed
    assert "DEPRECATION" not in audit.printed
    assert oct(audit.folder.stat().st_mode & 0o777) == "0o750"
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in audit.folder.iterdir()} == dict.fromkeys(
        ("audit.txt", "audit.json", "audit.html"), "0o640"
    )
    assert (audit.folder / "audit.txt").read_text().startswith("Bandwidth audit of 2 hosts with 2 NICs, ")


def test_each_host_by_itself(run: Run, tmp_path: Path) -> None:
    odd = "{{ 7 * 7 }}<b>"
    nics = [
        nic("01", FLOOR),
        nic("02", FLOOR),
        nic("03", SLOW),
        nic("04", SLOW, "user", ""),
        nic("05", "", "bridge", "<source bridge='br0'/>"),
    ]
    bad = host(tmp_path, *nics, name=odd, network_qos_networks=[{"name": "prod", "inbound": {"average": "16mbit"}}])
    good = host(tmp_path, nic("01", FLOOR))
    before = {path: path.read_bytes() for path in tmp_path.glob("*.xml")}
    wrong = {**good, "vm_qos_policies": [{"match": {"domain": "*"}, "profile": "slwo"}]}
    (tmp_path / "qos-audit").mkdir(mode=0o755)
    audit = run(
        "--tags",  # which leave nothing out
        "network_qos",
        bad=bad,
        gone=gone(),
        typo=wrong,
        device={**good, "host_qos_devices": [{"device": "nowhere7", "classes": [{"vlan": 1, "share": 1}]}]},
        nolibvirt={**good, "vm_qos_uri": "test:///nowhere.xml", "network_qos_uri": "test:///nowhere.xml"},
        bare={**good, "ansible_python_interpreter": "/nonexistent"},
        good=good,
    )
    assert audit.status == 2
    assert audit.folder.stat().st_mode & 0o777 == 0o755  # a folder that was there stays as it is
    assert audit.found("bad") == {
        "refused": ["vm_qos_policies"],
        "drift": ["network prod"],
        "unenforced": [f"{odd} 52:54:00:00:00:04"],
        "overcommitted": ["network prod"],
        "oversubscribed": ["network prod"],
        "unknown": ["NICs"],
    }
    assert audit.found("gone") == {"unreachable": ["host"]}
    assert audit.found("typo") == {"refused": ["vm_qos_policies"], "unknown": ["NICs"]}
    assert audit.found("device") == {"refused": ["nowhere7"], "unknown": ["NICs"]}
    assert audit.found("nolibvirt") == {"unreadable": ["libvirt"]}
    assert audit.found("bare") == {"unreadable": ["traffic classes"]}
    (bare,) = (each for each in audit.report["findings"] if each["host"] == "bare")
    assert "/nonexistent" in bare["message"]
    assert "install Python or correct ansible_python_interpreter." in bare["remedy"]
    assert audit.found("good") == {"unknown": ["NICs"]}
    nics = {row["name"]: row["nics"] for row in audit.report["hosts"]}
    assert (nics["typo"]["in_order"], nics["typo"]["not_compared"]) == (0, 1)
    assert (nics["good"]["in_order"], nics["good"]["not_compared"]) == (1, 0)
    messages = {each["host"]: each["message"] for each in audit.report["findings"] if each["kind"] == "refused"}
    assert messages["typo"].startswith("vm_qos_policies[0].profile 'slwo': qos_profiles has slow; ")
    assert "Connection refused" in next(each for each in audit.report["findings"] if each["host"] == "gone")["message"]
    # Failing is told by the report; no host is failed but the one that happens to write it.
    assert re.findall(r"^(\w+) .*failed=1", audit.printed, re.MULTILINE) == ["bad"]
    assert "Traceback" not in audit.printed
    page = (audit.folder / "audit.html").read_text()
    assert "{{ 7 * 7 }}&lt;b&gt;" in page
    HTMLParser().feed(page)
    assert before == {path: path.read_bytes() for path in tmp_path.glob("*.xml")}


def test_what_cannot_be_read_of_a_host_keeps_no_other_out(run: Run, tmp_path: Path) -> None:
    good = host(tmp_path, nic("01", FLOOR))
    classes = [{"default": True, "share": 1}]
    audit = run(
        uplink={**good, "host_qos_devices": [{"device": "{{ bond }}", "classes": classes}]},
        network={**good, "network_qos_networks": [{"name": "{{ netname }}", "inbound": {"average": "8mbit"}}]},
        policies={**good, "vm_qos_policies": "{{ nope }}"},
        profiles={**good, "qos_profiles": "{{ nope }}"},
        device={**good, "host_qos_devices": [{"device": ["x"], "classes": classes}]},
        uri={**good, "vm_qos_uri": "{{ nowhere }}"},
        kind={**good, "vm_qos_policies": {"x": 1}},
        timeout={**good, "vm_qos_timeout": None},
        good=good,
        always={"qos_audit_fail_on": []},
    )
    assert audit.status == 0, audit.printed
    refused = {
        each["host"]: (each["object"], each["message"])
        for each in audit.report["findings"]
        if each["kind"] == "refused"
    }
    assert refused.pop("device")[0] == "['x']"
    assert refused == {
        "uplink": ("host_qos_devices", "'bond' is undefined"),
        "network": ("network_qos_networks", "'netname' is undefined"),
        "policies": ("vm_qos_policies", "'nope' is undefined"),
        "profiles": ("qos_profiles" if HOSTVARS_RAISE else "vm_qos_policies", "'nope' is undefined"),
        "uri": ("vm_qos_uri" if HOSTVARS_RAISE else "vm_qos_policies", "'nowhere' is undefined"),
        # Ansible says which of its types it is not; the playbook site says these.
        "timeout": (
            "vm_qos_policies",
            "vm_qos_timeout: nothing is written there; write a value, or drop the line.",
        ),
        "kind": (
            "vm_qos_policies",
            "vm_qos_policies {'x': 1}: this is not a list; write a list, be it of one element.",
        ),
    }
    # Whether the network is declared nobody can tell, so that it is not said to be undeclared.
    beside = {} if HOSTVARS_RAISE else {"undeclared": ["network prod"]}
    assert audit.found("network") == {"refused": ["network_qos_networks"], "unknown": ["NICs"], **beside}
    assert audit.found("uri").keys() == {"unreadable", "refused"}
    assert audit.found("good") == {"unknown": ["NICs"]}
    assert re.findall(r"^(\w+) .*failed=1", audit.printed, re.MULTILINE) == []


def test_nics_that_nobody_declared(run: Run, tmp_path: Path) -> None:
    good = host(tmp_path, nic("01", FLOOR), nic("05", "", "bridge", "<source bridge='br0'/>"))
    audit = run("--check", one={**good, "network_qos_networks": []})
    assert audit.status == 0  # a warning
    assert audit.found("one")["undeclared"] == ["guest 52:54:00:00:00:05", "network prod"]
    page = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    failing = run(one=good, always=yaml.safe_load(shown))
    assert failing.status == 2
    assert "1 findings of kinds that qos_audit_fail_on has: undeclared." in " ".join(failing.printed.split())
    written = sorted(path.name for path in (tmp_path / "reports/bandwidth").iterdir())
    assert written == ["audit.html", "audit.json"]


def test_guests_that_are_not_as_declared_and_the_examples_of_the_filters(run: Run, tmp_path: Path) -> None:
    examples = [task for module in (audit_report, audit_render) for task in yaml.safe_load(module.EXAMPLES)]
    after = {"hosts": "all", "gather_facts": False, "tasks": examples}
    (tmp_path / "qos-audit").mkdir()
    play = tmp_path / "qos-audit/play.yml"
    play.write_text(json.dumps([{"import_playbook": "virtnet.qos.audit"}, after]))
    one = host(tmp_path, nic("01", SLOW))
    audit = run(playbook=str(play), one=one, always={"qos_audit_fail_on": [], "qos_audit_formats": ["json"]})
    assert audit.status == 0, audit.printed
    assert re.search(r'"msg": \[\s*"one"\s*\]', audit.printed)
    assert (audit.folder / "audit.html").read_text() == audit_render.audit_render(audit.report, "html")
    (drift,) = (each for each in audit.report["findings"] if each["kind"] == "drift")
    assert drift["message"] == (
        "running and persistent: is inbound average 4mbit; declared inbound average 8mbit, floor 6.4mbit"
    )
    assert drift["about"] == {"domain": "guest", "mac": "52:54:00:00:00:01"}


def test_all_hosts_fail(run: Run, tmp_path: Path) -> None:
    audit = run("--limit", "a,b", a=gone(), b=gone(), c=host(tmp_path))
    assert audit.status == 2
    assert [(each["host"], each["kind"]) for each in audit.report["findings"]] == [
        ("a", "unreachable"),
        ("b", "unreachable"),
    ]
    assert run(a=gone(), always={"qos_audit_fail_on": ["drift"]}).status == 0


def test_the_first_host_keeps_no_other_out(run: Run, tmp_path: Path) -> None:
    """What is done once for all is done in its name."""
    audit = run(first={"ansible_host": "{{ nope }}"}, good=host(tmp_path, nic("01", FLOOR)))
    assert (audit.status, audit.found("good")) == (2, {"unknown": ["NICs"]})
    assert "unreadable" in audit.found("first")
    (first,) = (each["message"] for each in audit.report["findings"] if each["host"] == "first")
    assert first.endswith("'nope' is undefined")


def test_nobody_becomes_root_on_the_controller(run: Run, tmp_path: Path) -> None:
    wrong = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": "/nonexistent/sudo"}
    audit = run(one=host(tmp_path, nic("01", FLOOR)), always=wrong)  # the host itself has ansible_become: false
    assert (audit.status, audit.found("one")) == (0, {"unknown": ["NICs"]})


def test_where_nobody_becomes_root(run: Run, tmp_path: Path) -> None:
    wrong = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": "/nonexistent/sudo"}
    audit = run(a={**host(tmp_path), **wrong}, b={**host(tmp_path), **wrong})
    assert audit.status == 2
    # One cause, and no other: libvirt was not asked.
    for name in "ab":
        assert audit.found(name) == {"unreadable": ["traffic classes"]}
    assert "/nonexistent/sudo" in audit.report["findings"][0]["message"]


def test_a_host_without_libvirt_that_has_nothing_of_it_declared(run: Run, tmp_path: Path) -> None:
    bare = {**host(tmp_path), "vm_qos_uri": "test:///nowhere.xml", "vm_qos_policies": [], "network_qos_networks": []}
    audit = run(one=bare)
    assert (audit.status, audit.found("one")) == (0, {"unknown": ["libvirt"]})


@pytest.mark.parametrize(
    "option", [{"qos_audit_fail_on": ["drfit"]}, {"qos_audit_fail_on": None}, {"qos_audit_formats": ["pdf"]}]
)
def test_what_does_not_exist_is_refused_at_once(run: Run, option: dict[str, Any]) -> None:
    audit = run(one=gone(), always=option)
    assert audit.status == 2
    assert audit.report == {}
    printed = " ".join(audit.printed.split())
    assert (
        f"qos_audit_fail_on is a list of {', '.join(KINDS)}, and qos_audit_formats one of text, json, html." in printed
    )
