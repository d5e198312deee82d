# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The job templates as AWX starts them: by ansible-runner, with a private data directory, in slices.

A host with 1 000 NICs has to fit into what AWX keeps of an event.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import ansible_runner
import pytest

from ansible_collections.virtnet.qos.tests.controller.test_awx import FLEET, ROOT, TEMPLATES

# awx/settings/defaults.py: MAX_EVENT_RES_DATA. The result of a larger event is thrown away, by ansible-runner already.
LARGEST = 700_000
GUESTS, NICS = 250, 4
GOLD = {
    "inbound": {"average": "200mbit", "peak": "400mbit", "burst": "1024KiB"},
    "outbound": {"average": "200mbit", "burst": "1024KiB"},
}
BANDWIDTH = (
    "<bandwidth><inbound average='{0}' peak='{1}' burst='{2}'/><outbound average='{0}' burst='{2}'/></bandwidth>"
)
LIMITED, FORMER = BANDWIDTH.format(25000, 50000, 1024), BANDWIDTH.format(12500, 25000, 512)


def machine(guest: int, nics: int, own: str) -> str:
    """Return the XML of a guest whose NICs have this of their own."""
    interfaces = "".join(
        f"<interface type='bridge'><mac address='52:54:00:{guest >> 8:02x}:{guest & 255:02x}:{nic:02x}'/>"
        f"<source bridge='br-production'/>{own}</interface>"
        for nic in range(nics)
    )
    return (
        f"<domain type='test'><name>customer-{guest:04d}-web.example</name><memory>8192</memory>"
        f"<os><type>hvm</type></os><devices>{interfaces}</devices></domain>"
    )


def hosts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return hosts with 1 000 NICs that all get other limits, of a policy each, 1 000 that do not, and two others."""
    kinds = {"hv1": (GUESTS, NICS, FORMER), "hv2": (GUESTS, NICS, LIMITED), "hv3": (1, 1, ""), "hv4": (1, 1, LIMITED)}
    found: dict[str, dict[str, Any]] = {}
    for name, (guests, nics, own) in kinds.items():
        path = folder / f"{name}.xml"
        path.write_text(f"<node>{''.join(machine(guest, nics, own) for guest in range(guests))}</node>")
        found[name] = {"vm_qos_uri": f"test://{path}"}
    macs = re.findall(r"mac address='(.*?)'", (folder / "hv1.xml").read_text())
    found["hv1"]["vm_qos_policies"] = [{"match": {"mac": mac}, "profile": "gold"} for mac in macs]
    return found


class Controller:
    """Starts job templates over an inventory as AWX does."""

    def __init__(self, folder: Path) -> None:
        """Begin without any job."""
        self.folder, self.inventory, self.jobs = folder, hosts(folder), 0

    def variables(self) -> dict[str, Any]:
        """Return what the inventory says of all hosts. This machine is all of them, and keeps its packages."""
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
            "prepare_packages": [],
            "qos_record_dir": f"{self.folder}/record-{{{{ inventory_hostname }}}}",
            "qos_profiles": {"gold": GOLD},
            "vm_qos_policies": [{"match": {"domain": "customer-*"}, "profile": "gold"}],
        }

    def launch(self, name: str, limit: str = "", number: int = 1, slices: int = 1) -> Any:
        """Run a job of a template, or one of its slices, and return what ansible-runner says of it."""
        template = TEMPLATES[name]
        self.jobs += 1
        private = self.folder / f"awx_{self.jobs}"
        shutil.copytree(FLEET, private / "project")
        # awx/main/models/inventory.py, get_script_data: an inventory that has the hosts of the slice only.
        sliced = dict(sorted(self.inventory.items())[number - 1 :: slices])
        groups = {"qos_canary": {"hosts": {host: {} for host in sliced if host == "hv1"}}}
        inventory = {"all": {"hosts": sliced, "vars": self.variables(), "children": groups}}
        _write(private / "inventory/hosts.json", inventory)
        # awx/main/tasks/jobs.py, RunJob.build_args and build_extra_vars_file
        answers = {each["variable"]: each["default"] for each in template.get("survey_spec", {"spec": []})["spec"]}
        _write(private / "env/extravars", {**template.get("extra_vars", {}), **answers, "awx_job_id": self.jobs})
        arguments = ["--check"] * (template["job_type"] == "check") + ["--diff"] * template.get("diff_mode", False)
        arguments += [f"--forks={template['forks']}"] + (["-l", limit] if limit else [])
        (private / "env/cmdline").write_text(" ".join(arguments))
        variables = {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"),
            "MAX_EVENT_RES": str(LARGEST),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "LC_ALL": "C.UTF-8",
        }
        _write(private / "env/envvars", variables)
        return ansible_runner.run(private_data_dir=str(private), playbook=template["playbook"], quiet=True)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def results(job: Any) -> dict[str, list[dict[str, Any]]]:
    """Return what each host answered, task by task. Nothing is what ansible-runner leaves of one that is too large."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in job.events:
        if event["event"].startswith("runner_on_") and "res" in event["event_data"]:
            assert event["event_data"]["res"], event["event_data"]["task"]
            found.setdefault(event["event_data"]["host"], []).append(event["event_data"]["res"])
    return found


def answer(job: Any, host: str) -> dict[str, Any]:
    """Return what the task for the guests' NICs answered."""
    (found,) = (each for each in results(job)[host] if "interfaces" in each)
    return found


def sizes(job: Any) -> dict[str, int]:
    """Return how large the largest result of each host is."""
    return {host: max(len(json.dumps(each)) for each in given) for host, given in results(job).items()}


def test_plan_and_apply_in_slices_of_hosts_with_many_nics(controller: Controller) -> None:
    plan = controller.launch("qos-plan")
    assert plan.status == "successful", plan.stdout.read()[-4000:]
    assert plan.stats["changed"] == {"hv1": 1, "hv3": 1}
    apply = [controller.launch("qos-apply", number=number, slices=2) for number in (1, 2)]
    assert [job.status for job in apply] == ["successful"] * 2
    # Each host is in one slice, neighbours are in different ones, and the slices do together what was planned.
    assert [sorted(job.stats["ok"]) for job in apply] == [["hv1", "hv3"], ["hv2", "hv4"]]
    assert sorted(host for job in apply for host in job.stats["changed"]) == ["hv1", "hv3"]
    planned, applied = answer(plan, "hv1"), answer(apply[0], "hv1")
    assert len(planned["interfaces"]) == GUESTS * NICS
    for key in ("interfaces", "diff", "changed"):
        assert applied[key] == planned[key]
    assert answer(plan, "hv2")["diff"] == {"before": "", "after": ""}
    for job in (plan, *apply):
        for host, size in sizes(job).items():
            assert size < (LARGEST if host == "hv1" else 4_000), f"{host}: {size}"


def test_a_limit_that_leaves_a_slice_without_hosts_is_an_error(controller: Controller) -> None:
    # So the canary, which has a limit, is not sliced.
    assert controller.launch("qos-apply", limit="qos_canary", number=2, slices=2).status == "failed"


def test_the_other_jobs_and_what_their_events_weigh(controller: Controller) -> None:
    audit = controller.launch("qos-audit")
    assert audit.status == "failed"  # for what it finds: 1 000 NICs of one host, and one of another
    said = audit.stdout.read()
    assert "Bandwidth audit of 4 hosts with 2002 NICs" in said
    assert "findings of kinds that qos_audit_fail_on has: drift" in said
    assert sorted(audit.stats["ok"]) == ["hv1", "hv2", "hv3", "hv4"]

    assert controller.launch("qos-apply").status == "successful"
    # The test driver has forgotten what the other process set, so that this finds all back already.
    rollback = controller.launch("qos-rollback")
    assert rollback.status == "successful", rollback.stdout.read()[-4000:]
    said = [each["msg"] for each in results(rollback)["hv1"] if isinstance(each.get("msg"), dict)]
    assert [(each["before_the_run"], len(each["guests"])) for each in said] == [("2", GUESTS)]

    measure = controller.launch("qos-measure")
    assert measure.status == "failed"
    assert "qos_measure_guests is empty for every host" in measure.stdout.read()
    for job in (audit, rollback, measure):
        assert max(sizes(job).values()) < LARGEST
