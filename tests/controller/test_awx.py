# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbook awx makes fits together, and awx.awx's own modules take all of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.awx.awx.plugins.modules import workflow_job_template

from ansible_collections.virtnet.qos.tests.controller.awx_api import Store, serving

ROOT = Path(__file__).resolve().parents[2]
FLEET = ROOT / "docs/examples/fleet"
GIVEN = {"qos_awx_scm_url": "https://git.example.com/fleet.git", "qos_awx_image": "registry.example.com/qos-ee:1.0.0"}
DATA = {**yaml.safe_load((ROOT / "playbooks/vars/awx.yml").read_text()), **GIVEN}
# What AWX takes as the type of a question, with the Python type of its answer.
TYPES = {"multiplechoice": str, "integer": int}
KEYS = {"question_name", "question_description", "variable", "type", "choices", "min", "max", "default", "required"}


def rendered(value: Any) -> Any:
    """Return data with its variables in place. All that it has are whole values, and one that may be left out."""
    if isinstance(value, dict):
        return {key: rendered(each) for key, each in value.items() if "default(omit)" not in str(each)}
    if isinstance(value, list):
        return [rendered(each) for each in value]
    variable = re.fullmatch(r"{{ (\w+) }}", value) if isinstance(value, str) else None
    return rendered(DATA[variable[1]]) if variable else value


TEMPLATES = {
    each["name"]: {**rendered(DATA["qos_awx_common"]), **each} for each in rendered(DATA["qos_awx_job_templates"])
}
NODES = {each["identifier"]: each for each in rendered(DATA["qos_awx_workflow_nodes"])}


def played(template: dict[str, Any]) -> str:
    """Return the text of the collection's playbook that a job template starts, through that of the project."""
    ((imported,),) = ([each["ansible.builtin.import_playbook"]] for each in _plays(FLEET / template["playbook"]))
    return (ROOT / "playbooks" / f"{imported.removeprefix('virtnet.qos.')}.yml").read_text()


def _plays(path: Path) -> list[dict[str, Any]]:
    plays: list[dict[str, Any]] = yaml.safe_load(path.read_text())
    return plays


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_sets_what_its_playbook_reads_for_a_play(name: str) -> None:
    template = TEMPLATES[name]
    text = played(template)
    asked = template.get("survey_spec", {"spec": []})["spec"]
    for variable in [*template.get("extra_vars", {}), *(each["variable"] for each in asked)]:
        assert re.search(rf"\b{variable}\b", text)


@pytest.mark.parametrize("question", DATA["qos_awx_apply_survey"]["spec"], ids=lambda question: question["variable"])
def test_a_question_of_the_survey(question: dict[str, Any]) -> None:
    assert set(question) <= KEYS
    assert question["question_name"]
    answer = TYPES[question["type"]]
    assert isinstance(question["default"], answer)
    assert not isinstance(question["default"], bool)
    assert question["default"] in (question.get("choices") or range(question["min"], question["max"] + 1))
    # Its answer wins over the inventory: it must be nothing that an inventory says.
    specs = (ROOT / "roles").glob("*/meta/argument_specs.yml")
    options = {key for spec in specs for key in yaml.safe_load(spec.read_text())["argument_specs"]["main"]["options"]}
    assert "vm_qos_policies" in options
    assert question["variable"] not in options
    # Not even by accident: it is in a line that Ansible reads without any host, and beside that only looked at.
    text, looked_at = re.subn(r"    - name: Refuse batches.*?\n\n", "", played(TEMPLATES["qos-apply"]), flags=re.DOTALL)
    assert looked_at == 1
    (line,) = [line for line in text.splitlines() if re.search(rf"\b{question['variable']}\b", line)]
    assert re.match(r"  (serial|max_fail_percentage): ", line)
    assert not [path for path in (ROOT / "roles").rglob("*.yml") if question["variable"] in path.read_text()]


def _next(node: dict[str, Any]) -> dict[str, list[str]]:
    return {kind: [each["identifier"] for each in nodes] for kind, nodes in node.get("related", {}).items()}


def test_the_workflow_fits_together() -> None:
    known = {
        ("project", DATA["qos_awx_project"]["name"]),
        ("inventory_source", DATA["qos_awx_inventory_source"]["name"]),
        *(("job_template", name) for name in TEMPLATES),
    }
    documented = yaml.safe_load(workflow_job_template.DOCUMENTATION)["options"]["workflow_nodes"]["suboptions"]
    for node in NODES.values():
        assert set(node) <= set(documented)
        unified = node["unified_job_template"]
        assert set(unified) <= set(documented["unified_job_template"]["suboptions"])
        assert set(_next(node)) <= {"success_nodes", "failure_nodes"}
        assert all(set(after) <= set(NODES) for after in _next(node).values())
        if unified["type"] != "workflow_approval":
            assert (unified["type"], unified["name"]) in known
        for asked in {"limit", "job_slice_count", "extra_data"} & set(node):
            assert TEMPLATES[unified["name"]][f"ask_{asked}_on_launch"] is True


def test_nothing_is_changed_that_nobody_approved_and_no_fleet_before_its_canary() -> None:
    def ways(identifier: str) -> list[list[str]]:
        after = [each for nodes in _next(NODES[identifier]).values() for each in nodes]
        return [[identifier, *way] for each in after for way in ways(each)] or [[identifier]]

    begin = ["project", "inventory", "plan"]
    assert ways("project") == [[*begin, asked, "canary", "fleet"] for asked in ("approval", "approval-with-failures")]
    assert _next(NODES["plan"]) == {"success_nodes": ["approval"], "failure_nodes": ["approval-with-failures"]}
    assert TEMPLATES["qos-plan"]["job_type"] == "check"
    assert all(set(_next(NODES[each])) <= {"success_nodes"} for each in NODES if each != "plan")
    # Where a limit leaves a slice without hosts, that slice fails.
    assert all(node["job_slice_count"] == 1 for node in NODES.values() if "limit" in node)
    assert NODES["canary"]["limit"] in yaml.safe_load((FLEET / "inventory/hosts.yml").read_text())
    assert (FLEET / rendered(DATA["qos_awx_inventory_source"])["source_path"]).is_file()


def test_the_page_says_what_is_in_the_repository() -> None:
    named = set(re.findall(r"^\| `([\w./-]+\.\w+)`", (ROOT / "docs/awx.md").read_text(encoding="utf-8"), re.MULTILINE))
    files = {str(path.relative_to(FLEET)) for path in FLEET.rglob("*") if path.is_file()}
    assert files == named | {each["playbook"] for each in TEMPLATES.values()}


def test_the_page_says_what_can_be_given() -> None:
    page = (ROOT / "docs/awx.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert yaml.safe_load(example).keys() == GIVEN.keys()
    table = dict(re.findall(r"^\| `(qos_awx_\w+)` \| (.*?) \|", page, re.MULTILINE))
    made = {f"qos_awx_{name}" for name in ("common", "job_templates", "apply_survey", "workflow", "workflow_nodes")}
    made |= {f"qos_awx_{name}" for name in ("execution_environment", "project", "inventory_source", "schedule")}
    assert table.keys() == DATA.keys() - GIVEN.keys() - made | {"qos_awx_scm_credential"}
    for name in table.keys() - {"qos_awx_scm_credential", "qos_awx_audit_rrule"}:
        assert yaml.safe_load(table[name].strip("`")) == DATA[name]
    assert DATA["qos_awx_audit_rrule"].partition(" ")[0].endswith("T040000Z")
    questions = dict(re.findall(r"^\| [^|`]+ \| `(qos_\w+)` \| (.*?) \|$", page, re.MULTILINE))
    spec = DATA["qos_awx_apply_survey"]["spec"]
    assert questions == {each["variable"]: str(each["default"]) for each in spec}


def _make(url: str, folder: Path) -> dict[str, str]:
    given = {**GIVEN, "qos_awx_notifications": ["on-call"]}
    variables = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"),
        "ANSIBLE_HOME": str(folder / "home"),
        "CONTROLLER_HOST": url,
        "CONTROLLER_OAUTH_TOKEN": "a token",
        "LC_ALL": "C.UTF-8",
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "virtnet.qos.awx", "-e", json.dumps(given)]
    environment = {**os.environ, **variables}
    ran = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return dict(re.findall(r"(\w+)=(\d+)", ran.stdout.rpartition("PLAY RECAP")[2]))


def test_the_modules_take_all_of_it_and_again_change_nothing(tmp_path: Path) -> None:
    store = Store(organizations=["Default"], credentials=["qos-hosts"], notification_templates=["on-call"])
    with serving(store) as url:
        assert int(_make(url, tmp_path)["changed"]) >= 5
        assert _make(url, tmp_path)["changed"] == "0"
    # A field that a task forgot would not be missed by its module.
    known = {item["id"]: item["name"] for items in store.items.values() for item in items if "name" in item}
    for made in store.items["job_templates"]:
        wanted = dict(TEMPLATES[made["name"]])
        survey = wanted.pop("survey_spec", None)
        assert store.surveys.get(made["id"]) == survey
        wanted["notification_templates_error"] = ["on-call"]
        for key in ("credentials", "notification_templates_error"):
            associated = store.associated["job_templates", made["id"], key]
            assert [known[each] for each in associated] == wanted.pop(key)
        for key in ("organization", "project", "inventory", "execution_environment"):
            assert known[made[key]] == wanted.pop(key)
        wanted["extra_vars"] = json.dumps(wanted.get("extra_vars", {}))
        assert {key: made[key] for key in wanted} == wanted
    assert [made["name"] for made in store.items["job_templates"]] == list(TEMPLATES)
    assert [made["identifier"] for made in store.items["workflow_job_template_nodes"]] == list(NODES)
    for kind, name in (("projects", "project"), ("inventory_sources", "inventory_source"), ("schedules", "schedule")):
        (made,) = store.items[kind]
        wanted = rendered(DATA[f"qos_awx_{name}"])
        assert set(wanted) - {"organization"} <= set(made)
        assert made["name"] == wanted["name"]


def test_what_only_the_operator_knows_is_asked_for(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "virtnet.qos.awx"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"), "LC_ALL": "C.UTF-8"}
    ran = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode != 0
    assert "Give qos_awx_scm_url" in " ".join((ran.stdout + ran.stderr).split())
