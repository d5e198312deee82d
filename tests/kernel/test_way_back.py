# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees that a run changed come back from its record, and go again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.virtnet.qos.plugins.module_utils import _hfsc_run
from ansible_collections.virtnet.qos.plugins.plugin_utils._record import record_of
from ansible_collections.virtnet.qos.plugins.plugin_utils._record_read import parse_record
from ansible_collections.virtnet.qos.plugins.plugin_utils._way_back import find_way_back
from ansible_collections.virtnet.qos.tests.kernel.changes import OLD

Module = Any
Wire = Any

FIRST = [
    {"default": True, "ls": "8mbit", "ul": "80mbit"},
    {"classid": "1389:2000", "ls": "80mbit"},
    {"vlan": 100, "parent": "1389:2000", "rt": {"m1": "16mbit", "d": "10ms", "m2": "8mbit"}, "share": 8},
    {"vlan": 200, "sc": "800kbit", "leaf": "none"},
    {"classid": "1389:3000", "ls": "1mbit", "match": [{"dscp": "ef"}, {"ip_proto": "udp", "dst_port": "5060"}]},
]
SECOND = [
    {"default": True, "ls": "9mbit"},
    {"classid": "1389:3000", "ls": "2mbit", "match": [{"src": "10.0.0.0/24"}]},
    {"vlan": 100, "rt": "1mbit", "share": 2, "leaf": {"kind": "fq_codel", "target": "1ms"}},
    {"vlan": 300, "share": 3},
]


def go(module: Module, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Go back before the run of a record, and return what the module answered."""
    read, problem = parse_record(json.dumps(record))
    assert not problem
    answers = [module(**options) for options in find_way_back(read, [], [])["devices"]]
    assert not [answer["msg"] for answer in answers if answer.get("failed")]
    return answers


@pytest.mark.parametrize("first", [None, FIRST], ids=["none", "some"])
@pytest.mark.parametrize("second", [None, SECOND], ids=["none", "some"])
def test_there_and_back_and_there(first: Any, second: Any, module: Module, wire: Wire) -> None:
    if first == second:
        first = OLD["classes"]
    if first:
        module(classes=first)
    before = wire.tree()
    changed = module(classes=second, prune=True) if second else module(state="absent")
    after = wire.tree()
    assert before != after
    record = record_of({"devices": {"results": [changed]}}, "1", "2026-03-01T10:15:02Z")
    back = go(module, record)
    assert wire.tree() == before
    forward = record_of({"devices": {"results": back}}, "2", "2026-03-02T10:15:02Z", former=record)
    assert not go(module, record)[0]["changed"]
    go(module, forward)
    assert wire.tree() == after


def test_a_change_that_fails_half_way_tells_what_was_before(
    module: Module, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(classes=FIRST)
    before = wire.tree()
    carry_out = _hfsc_run.bring_about

    def then_fail(*arguments: Any) -> None:
        carry_out(*arguments)
        raise OSError("the host is odd")

    with monkeypatch.context() as patch:
        patch.setattr(_hfsc_run, "bring_about", then_fail)
        failed = module(classes=SECOND, prune=True)
    assert (failed["failed"], failed["changed"]) == (True, True)
    assert wire.tree() != before
    go(module, record_of({"devices": {"results": [failed]}}, "1", "2026-03-01T10:15:02Z"))
    assert wire.tree() == before
