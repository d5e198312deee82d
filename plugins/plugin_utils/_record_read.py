# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""From a file to the record of a run. Whoever edited it, it is refused here or it can be gone back to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from time import strftime, strptime
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import DIRECTIONS
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES
from ansible_collections.virtnet.qos.plugins.plugin_utils._record import SIDES, VERSION, Record

UNREADABLE = "this is not the record of a run; look at it, and remove it if it is of no use"


def parse_record(text: str) -> tuple[Record, str]:
    """Return the record in a file, and what is wrong with it."""
    try:
        record = json.loads(text)
    except ValueError as error:
        return {}, f"{UNREADABLE} ({error})"
    if isinstance(record, dict) and record.get("version", VERSION) != VERSION:
        return {}, f"this is a record of version {record['version']}, and this collection knows {VERSION}"
    odd = [path.lstrip(".") for path in _odd(record, RECORD, "")]
    if odd:
        return {}, f"{UNREADABLE} ({odd[0] or 'all of it'} is missing or not what a run writes)"
    return record, ""


def _odd(value: Any, shape: Any, path: str) -> Iterator[str]:
    """Give the paths of what is not of its shape: a dictionary or list of shapes, or a function that knows."""
    if isinstance(shape, list) and isinstance(value, list):
        for index, each in enumerate(value):
            yield from _odd(each, shape[0], f"{path}[{index}]")
    elif isinstance(shape, Mapping) and isinstance(value, Mapping):
        for key, of in shape.items():
            yield from _odd(value.get(key, ...), of, f"{path}.{key}")
    elif isinstance(shape, (list, Mapping)) or not shape(value):
        yield path


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _flag_or_none(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _scope(value: Any) -> bool:
    return value in SCOPES


def _time(value: Any) -> bool:
    # The last run is found by comparing these as text.
    try:
        return bool(strftime(TIME, strptime(value, TIME)) == value)
    except (TypeError, ValueError):
        return False


def _limits(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        direction in DIRECTIONS and isinstance(limit, Mapping) and all(map(_text, limit.values()))
        for direction, limit in value.items()
    )


def _class(value: Any) -> bool:
    """Whether it is a class. What was somebody else's is known by its number, and only a root class may have none."""
    return isinstance(value, Mapping) and _text(value.get("classid", ... if value.get("ignore") else ""))


TIME = "%Y-%m-%dT%H:%M:%SZ"
_TREE = {"handle": _text_or_none, "classes": [_class], "root": _text_or_none, "kept": _flag_or_none}
_OWN = dict.fromkeys(SIDES, _flag)
_LIMITED = {"scope": _scope, **dict.fromkeys(SIDES, _limits)}
RECORD = {
    "version": lambda value: value == VERSION,
    "run": _text,
    "time": _time,
    "undid": _text_or_none,
    "devices": [{"device": _text, **dict.fromkeys(SIDES, _TREE)}],
    "networks": [{"name": _text, "portgroup": _text_or_none, **_LIMITED}],
    "interfaces": [{"domain": _text, "mac": _text, "target": _text_or_none, "own": _OWN, **_LIMITED}],
}
