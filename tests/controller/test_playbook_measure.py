# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook measure, over hosts in libvirt's test driver: none of these can be measured, and each says why.

What it measures is shown on real hosts, in the scenario fleet of Molecule.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from ansible_collections.virtnet.qos.plugins.filter import measure_plan, measure_report, measure_rows

ROOT = Path(__file__).resolve().parents[2]
# The state of such a host is this file, for as long as somebody is connected to it.
NODE = """<node><domain type='test'><name>web1</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <interface type='bridge'><mac address='52:54:00:6b:3c:59'/><source bridge='br0'/><target dev='vnet0'/>
  <bandwidth><inbound average='1000'/></bandwidth></interface></devices></domain></node>"""


def measure(
    folder: Path, hosts: dict[str, Any], *options: str, playbook: str = "virtnet.qos.measure"
) -> subprocess.CompletedProcess[str]:
    """Run the playbook, or another, over hosts with these variables, as a user would."""
    always = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        # Nobody can become this; the hosts need not, and the controller must not.
        "ansible_become": True,
        "ansible_become_user": "nobody",
        "ansible_become_exe": "/nonexistent/sudo",
        "vm_qos_uri": f"test://{folder}/node.xml",
    }
    (folder / "node.xml").write_text(NODE)
    unprivileged = {name: {"ansible_become": False, **given} for name, given in hosts.items()}
    (folder / "inventory.json").write_text(json.dumps({"all": {"vars": always, "hosts": unprivileged}}))
    variables = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"), "ANSIBLE_HOME": str(folder / "home")}
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            "inventory.json",
            playbook,
            *options,
        ],
        cwd=folder,
        env={**os.environ, **variables, "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def recap(ran: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return dict(re.findall(r"(?m)^(\S+) +: .*failed=(\d+)", ran.stdout))


@pytest.fixture
def listening() -> Any:
    """Give the port of an iperf3 server on this machine, which is no guest."""
    with subprocess.Popen(
        ["iperf3", "--server", "--bind", "127.0.0.1", "--port", "5299"], stdout=subprocess.DEVNULL
    ) as server:
        yield 5299
        server.terminate()


def test_what_cannot_be_measured_is_said_host_by_host(tmp_path: Path, listening: int) -> None:
    hosts = {
        "off": {"vm_qos_uri": "test:///nowhere.xml", "qos_measure_guests": [{"domain": "web1"}]},
        "misspelt": {"qos_measure_guests": [{"domain": "web1", "adress": "127.0.0.1"}]},
        "unnamed": {},
        "unreachable": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
        # Somebody answers there, and it is not the guest.
        "elsewhere": {"qos_measure_guests": [{"domain": "web1", "address": "127.0.0.1", "port": listening}]},
        "silent": {"qos_measure_guests": [{"domain": "web*"}, {"domain": "gone"}]},
    }
    hosts["unreachable"]["qos_measure_guests"] = [{"domain": "web1"}]
    (tmp_path / "qos-measure").mkdir(mode=0o755)
    ran = measure(tmp_path, hosts, "--tags", "vm_qos")  # which leaves nothing out
    assert ran.returncode == 2
    assert (tmp_path / "qos-measure").stat().st_mode & 0o777 == 0o755
    assert "Traceback" not in ran.stdout + ran.stderr
    assert recap(ran) == {**dict.fromkeys(hosts, "0"), "off": "1", "misspelt": "1", "unreachable": "1"}
    written = json.loads((tmp_path / "qos-measure/measure.json").read_text())
    notes: dict[str, list[str]] = {}
    for row in written["rows"]:
        notes.setdefault(row["host"], []).append(f"{row['direction']} {row['verdict']}: {row['note']}".strip())
    assert written["count"] == {"not limited": 2, "not measured": 6}
    assert "nowhere.xml" in notes.pop("off")[0]
    assert "qos_measure_guests[0].adress: there are domain, mac, address, port;" in notes.pop("misspelt")[0]
    assert "ssh: connect to host 127.0.0.1 port 1: Connection refused" in notes.pop("unreachable")[0]
    assert notes.pop("elsewhere") == [
        "outbound not limited: nothing was sent",
        "inbound not measured: 127.0.0.1 is not the NIC's, or the host reaches it on another way"
        " (it finds no neighbour of that address); nothing was sent",
    ]
    without, gone, silent = notes.pop("silent")
    assert without == "outbound not limited: nothing was sent"
    assert gone == "not measured: no NIC of this host fits it"
    assert silent.startswith("inbound not measured: it")
    assert not notes


def test_a_host_declared_wrong_keeps_no_other_out(tmp_path: Path) -> None:
    """The hosts are batches of one, and a batch that fails would be the end of all."""
    guests = [{"domain": "web1"}]
    hosts = {
        "nowhere": {"ansible_host": "{{ nope }}", "qos_measure_guests": guests},
        "empty": {"qos_measure_guests": None},
        "undefined": {"qos_measure_guests": "{{ nope }}"},
        "broken": {"qos_measure_guests": "{{ [] | first | int(base='x') }}"},
        "number": {"qos_measure_guests": 5},
        "good": {"qos_measure_guests": guests},
    }
    ran = measure(tmp_path, hosts, "--check")
    assert recap(ran) == {**dict.fromkeys(hosts, "1"), "good": "0"}
    assert "Traceback" not in ran.stdout + ran.stderr
    table = ran.stdout.partition("TASK [Show the report]")[2].partition("TASK")[0]
    notes = dict(re.findall(r'(?m)^ +"(\w+) .*  ([a-z ]+: .*?)",?$', table))
    assert notes.pop("good").startswith("would be measured: ")
    assert notes.pop("broken")
    assert notes.pop("nowhere").endswith("'nope' is undefined")
    not_a_list = "this is not a list; write a list, be it of one guest."
    assert notes == {
        "empty": f"not measured: qos_measure_guests: {not_a_list}",
        "undefined": "not measured: 'nope' is undefined",
        "number": f"not measured: qos_measure_guests 5: {not_a_list}",
    }


def test_what_is_given_as_text(tmp_path: Path) -> None:
    """As by -e NAME=VALUE, and by a survey of AWX."""
    hosts = {"one": {"qos_measure_guests": [{"domain": "web1"}]}}
    ran = measure(tmp_path, hosts, "--check", "-e", "qos_measure_install=false qos_measure_low=60.5")
    assert ran.returncode == 0, ran.stdout
    assert "skipping: [one]" in ran.stdout.partition("TASK [Install iperf3]")[2].partition("TASK")[0]
    ran = measure(tmp_path, hosts, "--check", "-e", "qos_measure_low=60% qos_measure_tolerance=some")
    assert ran.returncode == 2
    rule = "this is per cent of a limit; write a number from 0, without a sign."
    assert f"qos_measure_tolerance 'some': {rule} qos_measure_low '60%': {rule}" in ran.stdout


def test_check_mode_says_what_would_be_measured(tmp_path: Path) -> None:
    ran = measure(tmp_path, {"one": {"qos_measure_guests": [{"domain": "web1", "address": "192.0.2.7"}]}}, "--check")
    assert ran.returncode == 0, ran.stdout
    assert "would be measured: at 192.0.2.7, up to 14 MB" in ran.stdout
    assert not (tmp_path / "qos-measure").exists()


def test_nothing_is_measured_that_nobody_named(tmp_path: Path) -> None:
    ran = measure(tmp_path, {"one": {}, "two": {"qos_measure_guests": []}})
    assert ran.returncode == 2
    assert (
        "qos_measure_guests is empty for every host, and only guests that are named are measured"
        in ran.stdout + ran.stderr
    )


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (measure_plan, '"limit": 8000000'),
        (measure_rows, '"mac": "52:54:00:6b:3c:59"'),
        (measure_report, "this host  web1 52:54:00:6b:3c:59  inbound"),
    ],
)
def test_the_examples_of_the_filters(plugin: ModuleType, said: str, tmp_path: Path) -> None:
    defaults = {"group/virtnet.qos.qos": {"uri": "{{ vm_qos_uri }}"}}
    tasks = yaml.safe_load(plugin.EXAMPLES)
    play = {"hosts": "all", "gather_facts": False, "module_defaults": defaults, "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    ran = measure(tmp_path, {"one": {}}, playbook="play.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert said in ran.stdout
