# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/bad-input.md is what the playbook site answers to mistakes in an inventory: it is run over its rows.

`make refusals` writes the page anew. Here it has to be what would be written.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.virtnet.qos.plugins.filter import check_declared as plugin
from ansible_collections.virtnet.qos.tests.controller.fleet import ROOT, UNREACHABLE, Ran, inventory, play

pytest.importorskip("libvirt")

PAGE = ROOT / "docs/bad-input.md"
check = plugin.FilterModule().filters()["check_declared"]

HEAD = """\
<!--
Copyright (c) 2026 The virtnet.qos authors
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
-->

# Mistakes in an inventory, and what is said of them

What `virtnet.qos.site` answers, word for word: `make refusals` writes this page with the answers to one run over these
rows, each of them a host, and `tests/controller/test_bad_input.py` fails when they are others. Each is told on its
host only. A warning begins with the name that its host has for itself, and that of a misspelt variable with the name
in the inventory: Ansible prints equal ones of several hosts once.

- What is found without asking a host is found of all hosts before the first change, and so is a device that a host has
  not, or that it has no libvirt. Those hosts are left out, and all others go on: none of them is the canary.
- What else only the host can tell is found when its batch has begun, before that part of the host is changed. It
  counts as failed: on the canary it ends the run before any other host is touched, and so it does in a later batch if
  more than `qos_max_fail_percentage` failed. `--check` finds it beforehand, on all hosts at once.

The roles refuse the same mistakes when they are run without the playbook, some of them in Ansible's own words.

All hosts have these profiles, in `group_vars/all.yml`:

```yaml
qos_profiles:
  gold: {inbound: {average: 1gbit}, outbound: {average: 1gbit}}
```
"""
PROFILES = {"gold": {"inbound": {"average": "1gbit"}, "outbound": {"average": "1gbit"}}}
ALL = {"domain": "test"}
BAD_PROFILE = {"qos_profiles": {"gold": {"inbound": {"average": "1000Mbps"}, "outbund": {"average": "1gbit"}}}}


def policies(*elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**more, "vm_qos_policies": list(elements)}


def devices(*classes: dict[str, Any], device: str = "bond0") -> dict[str, Any]:
    return {"host_qos_devices": [{"device": device, "classes": list(classes)}]}


DECLARED: dict[str, dict[str, Any]] = {
    "a misspelt profile": policies({"match": ALL, "profile": "golden"}),
    "units": policies(
        {"match": ALL, "inbound": {"average": "100Mbps"}},
        {"match": ALL, "inbound": {"average": 100}},
        {"match": ALL, "inbound": {"average": "1mbit", "burst": "64k"}},
    ),
    "a mistake in a profile, told once": policies(
        {"match": {"domain": "db*"}, "profile": "gold"}, {"match": ALL, "profile": "gold"}, **BAD_PROFILE
    ),
    "a misspelt key": policies({"match": ALL, "inbond": {"average": "1mbit"}}),
    "nothing that a policy is for": policies({"match": {}, "profile": "gold"}),
    "classes": devices(
        {"vlan": 100, "rt": "2gbit", "share": 1, "ul": "1gbit"},
        {"vlan": 100, "share": 1},
        {"default": True, "share": 0},
    ),
    "a device twice": {"host_qos_devices": [{"device": "bond0", "state": "absent"}, {"device": "bond0"}]},
    "a network": {
        "network_qos_networks": [
            {"name": "prod", "portgroups": [{"name": "web", "profile": "gold"}, {"name": "web", "profile": "silver"}]}
        ]
    },
    "options of the roles": {
        "host_qos_state": "gone",
        "host_qos_confirm_timeout": 3,
        "host_qos_persistent": "perhaps",
        "network_qos_affect": ["life"],
        "vm_qos_timeout": "soon",
        "vm_qos_uri": None,
        "vm_qos_affect": [],
    },
    "a variable that nobody has": devices({"default": True, "share": 1}, device="{{ uplink }}"),
}
NO_LIBRARY = "no python3-libvirt, and the role prepare left out"
LACKED = {"a device that this host has not": devices({"default": True, "share": 1}, device="bond7")}
ON_THE_HOST: dict[str, dict[str, Any]] = {
    "a portgroup that this host has not": {
        "network_qos_networks": [{"name": "default", "portgroups": [{"name": "web", "profile": "gold"}]}]
    },
    "a guest that no host has": policies({"match": {"domain": "nobody"}, "profile": "gold"}, vm_qos_require_match=True),
    "no libvirt daemon": policies(
        {"match": ALL, "profile": "gold"}, vm_qos_uri="qemu+unix:///system?socket=/run/libvirt/none"
    ),
    NO_LIBRARY: policies({"match": ALL, "profile": "gold"}),
    "a host that does not answer": UNREACHABLE,
}
WARNED = {"a guest in two policies": policies({"match": ALL, "profile": "gold"}, {"match": ALL, "state": "absent"})}
FINE = {"nothing wrong": policies({"match": ALL, "profile": "gold"})}


def host_of(name: str) -> str:
    """Return the name of the host with a row's variables."""
    return re.sub(r"\W+", "_", name)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run of the playbook over all of it, in check mode, which takes all hosts at once."""
    folder = tmp_path_factory.mktemp("fleet")
    bare = folder / "python"  # the same Python without what is in the virtual environment
    bare.write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} -I -S "$@"\n')
    bare.chmod(0o700)
    hosts = {host_of(name): variables for rows in ALL_ROWS for name, variables in rows.items()}
    hosts[host_of(NO_LIBRARY)] = {**hosts[host_of(NO_LIBRARY)], "ansible_python_interpreter": str(bare)}
    return play("site", inventory(folder, hosts, qos_profiles=PROFILES), "--check", "--skip-tags", "prepare")


ALL_ROWS = (FINE, WARNED, DECLARED, LACKED, ON_THE_HOST)


def steady(text: str) -> str:
    """Return a message without what differs from one machine to the next."""
    text = re.sub(r"on \S+'s Python \S+\.", "on node1's Python /usr/bin/python3.", text)
    text = re.sub(r" device '\w+': changing its qdiscs needs CAP_NET_ADMIN; [^.]*\.", "", text)
    text = re.sub(r"there are [^.]*\.", "there are eth0, eth1, lo.", text)
    return text.removeprefix("Task failed: ")


def table(heading: str, rows: dict[str, dict[str, Any]], ran: Ran) -> str:
    lines = [f"\n## {heading}\n", "| mistake | variables of the host | message |", "|---|---|---|"]
    for name, variables in rows.items():
        shown = yaml.safe_dump(json.loads(json.dumps(variables)), default_flow_style=True, sort_keys=False, width=1000)
        cells = (name, f"`{shown.strip()[1:-1]}`", steady(said(ran, name)))
        lines.append("| {} | {} | {} |".format(*(cell.replace("|", "\\|") for cell in cells)))
    return "\n".join(lines) + "\n"


def said(ran: Ran, name: str) -> str:
    if name in WARNED:
        (warning,) = re.findall(r"\[WARNING\]: \S+(: Policies that .*?\)\.)", " ".join(ran.printed.split()))
        return f"node1{warning}"
    return ran.said(host_of(name))


def test_the_page_says_what_the_playbook_says(ran: Ran) -> None:
    page = HEAD + table("Found before anything is changed, without asking a host", DECLARED, ran)
    page += table("Found before anything is changed, by asking the host", LACKED, ran)
    page += table("Found on the host, before that part of it is changed", ON_THE_HOST, ran)
    page += table("Warned of", WARNED, ran)
    if os.environ.get("WRITE_REFUSALS"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page, "docs/bad-input.md is out of date: run make refusals."


def test_all_options_of_the_roles_are_looked_at() -> None:
    names = {
        name
        for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")
        for name in yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    }
    (tasks,) = (each["tasks"] for each in yaml.safe_load((ROOT / "playbooks/site.yml").read_text())[:1])
    (options,) = (task["vars"]["__site_options"] for task in tasks if "__site_options" in task.get("vars", {}))
    assert {name for name in names if re.fullmatch("|".join(options), name)} == names
    assert len(names) == sum(1 + option.count("|") for option in options)


def test_each_is_told_on_its_host_only_and_the_others_go_on(ran: Ran) -> None:
    names = {kind: {host_of(name) for name in rows} for kind, rows in zip("fwdlh", ALL_ROWS)}
    away = {host_of("a host that does not answer")}
    assert set(ran.hosts("unreachable")) == away
    assert set(ran.hosts("failed")) == names["d"] | names["l"] | names["h"] - away
    assert set(ran.hosts("changed")) == names["f"] | names["w"]
    # What is wrong with a declaration is told before the roles begin.
    assert {ran.recap[host]["rescued"] for host in names["d"] | names["l"]} == {0}
    assert "Traceback" not in ran.printed


@pytest.mark.parametrize(
    ("declared", "problems"),
    [
        ({}, []),
        ({"qos_profiles": PROFILES, **policies({"match": ALL, "profile": "gold", "inbound": None})}, []),
        ({"host_qos_state": "absent", "host_qos_devices": [{"device": "bond0"}]}, []),
        ({"host_qos_devices": [{"device": "bond0", "state": "absent"}], "vm_qos_policies": []}, []),
        (policies({"match": ALL, "profile": "golden", "state": "absent"}), []),
        (
            {"host_qos_devices": 3},
            ["host_qos_devices 3: this is not a list; write a list, be it of one element."],
        ),
        (
            {"host_qos_devices": [{}], "network_qos_networks": ["prod"]},
            [
                "host_qos_devices[0]: missing required arguments: device.",
                "network_qos_networks[0] 'prod': this is not a mapping; write keys and values, such as profile: gold.",
            ],
        ),
        (
            {
                "prepare_packages": {"dpkg": 1},
                "host_qos_confirm_timeout": "0",
                "vm_qos_timeout": 0,
                "vm_qos_affect": "live",
            },
            [
                "prepare_packages {'dpkg': 1}: this is not a list; write a list, be it of one element.",
                "vm_qos_timeout 0: not from 5 to 3600 seconds; write a number from 5 to 3600.",
            ],
        ),
        (
            devices({"vlan": "many", "share": 1}),
            ["host_qos_devices[0]: "],
        ),
    ],
)
def test_what_is_found_without_asking(declared: dict[str, Any], problems: list[str]) -> None:
    found = check(declared)
    assert len(found) == len(problems)
    assert all(one.startswith(other) for one, other in zip(found, problems)), found
    assert all(sentence.endswith(".") for sentence in found)


UPLINK = devices({"default": True, "share": 1}, device="bond7")
GUESTS = policies({"match": ALL, "profile": "gold"}, qos_profiles=PROFILES)
NO_DEVICE = "host_qos_devices[0].device 'bond7': no such device; there are eth0, lo."
NO_LIBVIRT = (
    "vm_qos_uri 'qemu:///system': libvirt is not running here, its socket does not exist; correct it, or start it "
    "(systemctl start libvirtd, or virtqemud where libvirt is split into daemons)."
)
SOCKET = "/run/libvirt/virtqemud-sock"


@pytest.mark.parametrize(
    ("declared", "more", "problems"),
    [
        ({}, [], []),
        (UPLINK, [], [NO_DEVICE]),
        (UPLINK, ["bond7"], []),
        ({**UPLINK, "host_qos_state": "absent"}, [], []),
        ({"host_qos_devices": [{"device": "bond7", "state": "absent"}]}, [], []),
        ({"host_qos_devices": [{"device": "bond7"}, 3]}, [], ["host_qos_devices[1] 3: this is not a mapping"]),
        (GUESTS, [], [NO_LIBVIRT]),
        ({**GUESTS, **UPLINK}, [], [NO_DEVICE, NO_LIBVIRT]),
        (
            {**GUESTS, "network_qos_networks": [{"name": "prod", "state": "absent"}]},
            [],
            [NO_LIBVIRT.replace("vm_qos", "network_qos")],
        ),
        ({**GUESTS, "prepare_packages": ["python3-libvirt"]}, [], [NO_LIBVIRT]),
        ({**GUESTS, "prepare_packages": ["dpkg", "libvirt-daemon-system"]}, [], []),
        ({**GUESTS, "vm_qos_uri": "test:///default"}, [], []),
        (GUESTS, [SOCKET], []),
        ({"vm_qos_policies": []}, [], []),
    ],
)
def test_what_the_host_lacks(declared: dict[str, Any], more: list[str], problems: list[str]) -> None:
    found = check(declared, has=["lo", "eth0", *more])
    assert len(found) == len(problems)
    assert all(one.startswith(other) for one, other in zip(found, problems)), found


def test_the_example_shows_what_comes_out() -> None:
    variables = yaml.safe_load(plugin.EXAMPLES)[0]["vars"]
    (shown,) = (line.partition("# ")[2] for line in plugin.EXAMPLES.splitlines() if "# " in line)
    declared = {name: variables[name] for name in ("qos_profiles", "vm_qos_policies")}
    assert f"[{check(declared)[0]}]" == shown
