# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example in the documentation is one that the modules and roles take, and every name in it is there.

Tasks are held against the argument spec of their module, inventories against those of the roles. Pages whose examples
are run as well have tests of their own.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, SIZE, Scale, Unfit

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
MODULES = {path.stem for path in ROOT.glob("plugins/modules/*.py")}
PLAYBOOKS = {path.stem: path for path in ROOT.glob("playbooks/*.yml")}
CONTENT = {*MODULES, *PLAYBOOKS, *(path.stem for path in ROOT.glob("plugins/filter/*.py"))}
CONTENT |= {path.parent.name for path in ROOT.glob("roles/*/meta")}
TARGETS = set(re.findall(r"^([a-z_-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
# Programs of hosts and of those who build images, which the machine that runs this may not have
ELSEWHERE = {"journalctl", "podman", "systemctl", "virsh"}
RATES = {"average", "peak", "floor", "ls", "rt", "ul", "sc", "m1", "m2"}
ANY = Scale(1, 0, 2**64, "any number")


def blocks(*languages: str) -> list[Any]:
    """Return the examples in these languages, each with the text of its page."""
    found = []
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        for number, (_indent, language, text) in enumerate(FENCE.findall(page)):
            if language in languages:
                name = f"{path.relative_to(ROOT)}:{number}"
                found.append(pytest.param(textwrap.dedent(text), page, id=name))
    return found


@cache
def module_spec(name: str) -> dict[str, Any]:
    """Return what a module gives to AnsibleModule."""
    module = importlib.import_module(f"ansible_collections.virtnet.qos.plugins.modules.{name}")
    with (
        mock.patch.object(module, "AnsibleModule", side_effect=InterruptedError) as made,
        pytest.raises(InterruptedError),
    ):
        module.main()
    given: dict[str, Any] = made.call_args.kwargs
    given.pop("supports_check_mode")
    return given


@cache
def role_options() -> dict[str, Any]:
    """Return the variables of all roles."""
    specs = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    return {name: each for spec in specs for name, each in spec["argument_specs"]["main"]["options"].items()}


def problems(options: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    return list(ArgumentSpecValidator(**spec).validate(json.loads(json.dumps(options))).error_messages)


def quantities(example: Any) -> Iterator[str]:
    """Yield what is wrong with rates and bursts."""
    for key, value in example.items() if isinstance(example, dict) else enumerate(example):
        if isinstance(value, (dict, list)):
            yield from quantities(value)
        elif isinstance(value, (str, int)) and key in (*RATES, "burst") and value != "unlimited":
            try:
                (SIZE if key == "burst" else RATE).parse(str(value), ANY)
            except Unfit as unfit:
                yield f"{key} {value}: {unfit}"


def tasks(plays: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the names of modules with their options."""
    for each in plays:
        if "hosts" in each:
            yield from tasks([task for key in ("pre_tasks", "tasks", "post_tasks") for task in each.get(key, ())])
            continue
        called = [key for key in each if "." in key]
        assert len(called) == 1, f"one module, by its full name: {each}"
        yield called[0], each[called[0]]


def variables(example: Mapping[str, Any], page: str) -> Iterator[str]:
    """Yield the names of variables that playbooks know, or that are the page's own: its templates have them."""
    known = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("playbooks/**/*.yml"))
    own = " ".join(re.findall(r"{{.*?}}", page))
    for name in example:
        word = re.compile(rf"\b{name}\b")
        if word.search(own) or (name.startswith("qos_") and word.search(known)):
            yield name


def wrong(example: Any, page: str = "") -> list[str]:
    """Return what is wrong with an example: tasks, an inventory, or some options of a module."""
    found = list(quantities(example))
    if isinstance(example, list):
        for name, options in tasks(example):
            collection, _dot, module = name.rpartition(".")
            if collection == "virtnet.qos":
                found += problems(options or {}, module_spec(module)) if module in MODULES else [f"no module {name}"]
        return found
    if "hosts" in example.get("all", {}):
        return found
    others = set(variables(example, page))
    roles = {name for name in example if name in role_options()}
    if roles or others:
        found += [f"no variable {name}" for name in example.keys() - roles - others]
        plain = {name: example[name] for name in roles if "{{" not in str(example[name])}
        return found + problems(plain, {"argument_spec": {name: role_options()[name] for name in plain}})
    answers = [
        [each for each in problems(example, module_spec(name)) if "missing required" not in each] for name in MODULES
    ]
    return found + min(answers, key=len)


@pytest.mark.parametrize(("text", "page"), blocks("yaml", "yml"))
def test_a_yaml_example_is_taken(text: str, page: str) -> None:
    assert not wrong(yaml.safe_load(text), page)


@pytest.mark.parametrize(
    "text",
    [
        "- virtnet.qos.virt_iface_bandwidth: {domian: web}",
        "- virtnet.qos.virt_iface_bandwith: {}",
        "- virtnet.qos.tc_hfsc_class: {device: bond0, classes: [{vlan: 1, rt: 1mbps}]}",
        "vm_qos_policies: [{match: {domian: web}}]",
        "vm_qos_policies: [{match: {domain: web}, inbound: {average: 100}}]",
        "{vm_qos_policies: [], vm_qos_polices: []}",
        "{qos_hosts: all, qos_hots: all}",
        "classes: [{vlan: 1, shares: 1}]",
        "clases: []",
    ],
)
def test_a_mistake_in_an_example_is_found(text: str) -> None:
    assert wrong(yaml.safe_load(text))


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of an example, in words."""
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.split(r" (?:&&|\||;) ", line):
            words = shlex.split(command, comments=True)
            while words and re.fullmatch(r"export|\w+=.*", words[0]):
                words.pop(0)
            if words:
                yield words


def missing(words: list[str]) -> list[str]:
    """Return what a command names that is not there."""
    program, *rest = words
    if program == "make":
        return [word for word in rest if "=" not in word and not word.startswith("-") and word not in TARGETS]
    if program == "ansible-playbook":
        ours = [word.rpartition(".")[2] for word in rest if word.startswith("virtnet.qos.")]
        return [word for word in ours if word not in PLAYBOOKS]
    if program == "ansible" and "-m" in rest:
        collection, _dot, module = rest[rest.index("-m") + 1].rpartition(".")
        if collection != "virtnet.qos":
            return []
        if module not in MODULES:
            return [module]
        given = rest[rest.index("-a") + 1] if "-a" in rest else ""
        options = json.loads(given) if given.startswith("{") else dict(each.split("=", 1) for each in given.split())
        return [each for each in problems(options, module_spec(module)) if "missing required" not in each]
    return [] if program in ELSEWHERE or shutil.which(program) else [program]


@pytest.mark.parametrize(("text", "_page"), blocks("sh", "shell", "bash", "console"))
def test_a_command_is_there(text: str, _page: str) -> None:
    assert not [each for words in commands(text) for each in missing(words)]


@pytest.mark.parametrize(
    "text",
    [
        "make tset",
        "ansible-playbook -i inventory virtnet.qos.siet",
        "ansible all -m virtnet.qos.tc_hfsc_inf",
        "ansible all -m virtnet.qos.tc_hfsc_info -a 'intervall=2'",
        "cat x | nosuchprogram",
    ],
)
def test_a_mistake_in_a_command_is_found(text: str) -> None:
    assert [each for words in commands(text) for each in missing(words)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"\bvirtnet\.qos\.(\w+)", text)) <= {*CONTENT, "NAME"}
    assert {target for made in re.findall(r"`make ([a-z_ -]+)`", text) for target in made.split()} <= TARGETS
    links = re.findall(r"\]\((?!\w+:|#)([^)\s#]+)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
