# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What a user writes about HFSC classes, turned into the model; everything that cannot be is refused."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    DEFAULT_MINOR,
    FIRST_RATES,
    MINORS,
    RATES,
    TIMES,
    Curve,
    HfscClass,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_leaf import parse_leaf
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match import Match, undecided
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_match_options import MATCH, parse_match, parse_vlan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import FQ_CODEL, SHARE, Declaration, Wish
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE, TIME

HANDLE = "1389:"  # of the root qdisc, as vdsm has it
SHARES = range(1, RATES.largest // SHARE + 1)
ANY_MINORS = range(1, 0x10000)  # of classes that somebody else made
CURVES = ("rt", "ls", "ul", "sc")
IDENTITY = ("vlan", "classid", "default")
# Argument specs: of what an element of the list and the module itself both take, and of what only an element does
CLASS: dict[str, Any] = {
    "vlan": {"type": "int"},
    "classid": {"type": "str"},
    "default": {"type": "bool", "default": False},
    "parent": {"type": "str"},
    **{name: {"type": "raw"} for name in CURVES},
    "share": {"type": "int"},
    "match": {"type": "list", "elements": "dict", "options": MATCH},
    "leaf": {"type": "raw"},
}
ELEMENT: dict[str, Any] = {
    "ignore": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"]},
}
CLASHES_SHOWN = 10  # of matches that overlap; one wide match can do so with thousands


def parse(options: dict[str, Any], problems: Problems) -> Declaration | None:
    """Return what a module's options declare of a device; None where anything of it was refused."""
    before = len(problems.found)
    major = parse_handle(options["handle"], problems)
    absent = options.get("state") == "absent"
    elements = options.get("classes")
    named = [name for name in CLASS if options.get(name) is not None and (name != "default" or options[name])]
    whole = absent and elements is None and not named
    wishes: tuple[Wish, ...] = ()
    if elements is not None:
        for name in named:
            rule = "with classes, what is declared of a class is written in its element"
            problems.add(name, _shown(options[name]), rule, "move it into the list")
        wishes = _parse_list(elements, major, absent, problems)
    elif not whole:
        wishes = (parse_class(options, major, absent, problems),)
    prune = bool(options.get("prune"))
    if prune and elements is None:
        problems.add("prune", True, "without classes, nothing says what is to be left", "give classes")
    return Declaration(major, wishes, prune, whole) if len(problems.found) == before else None


def parse_handle(text: str, problems: Problems) -> int:
    """Return the major number of a qdisc's handle, ``1389:`` (hexadecimal, 1: to fffe:); 0 where it was refused."""
    found = re.fullmatch(r"([0-9a-fA-F]{1,4}):?", text.strip())
    major = int(found.group(1), 16) if found else 0
    if not 0 < major < 0xFFFF:
        problems.add("handle", text, "not the handle of a root qdisc", "write a hexadecimal number from 1: to fffe:")
        return 0
    return major


def parse_class(options: dict[str, Any], major: int, absent: bool, problems: Problems, path: str = "") -> Wish:
    """Return the class that a module's options, or an element of its list (``path`` is ``classes[3].``), describe.

    ``absent`` is the state of an element that has none. What is refused is not in the class that is returned.
    """
    absent = (options.get("state") == "absent") if options.get("state") else absent
    if options.get("ignore"):
        return _parse_ignored(options, major, problems, path)
    vlan, minor = _identity(options, major, problems, path, ANY_MINORS if absent else MINORS)
    default = bool(options.get("default"))
    if options.get("classid") is not None and minor == DEFAULT_MINOR and not default and not absent:
        rule = f"{minor:x} is the minor number of the default class"
        problems.add(f"{path}classid", options["classid"], rule, f"write another one, or {path}default: true")
    parent = options.get("parent")
    above = 0 if parent is None else _classid(f"{path}parent", parent, major, problems, range(0x10000))
    before = len(problems.found)
    curves = {name: _curve(f"{path}{name}", options.get(name), problems) for name in CURVES}
    _check_exclusive(options, problems, path)
    share = options.get("share")
    if share is not None:
        curves["ls"] = _share(f"{path}share", share, problems)
    rt, ls = (curves["sc"] or curves[name] for name in ("rt", "ls"))
    node = HfscClass(rt, ls, curves["ul"], above)
    if len(problems.found) == before and not absent:
        _check_together(node, problems, path)
    matches = {} if vlan is None else {Match(vlan=vlan): f"{path}vlan"}
    for index, element in enumerate(options.get("match") or ()):
        match = parse_match(element, f"{path}match[{index}].", problems)
        if match:
            matches.setdefault(match, f"{path}match[{index}]")
    leaf = options.get("leaf")
    inside = FQ_CODEL if leaf is None else parse_leaf(leaf, f"{path}leaf", problems)
    named, paths = tuple(matches), tuple(matches.values())
    return Wish(path, minor, node, inside, leaf is not None, named, default, absent, match_paths=paths)


def classid(major: int, minor: int) -> str:
    """Return a class's id as tc(8) writes it."""
    return f"{major:x}:{minor:x}"


def _parse_list(elements: list[dict[str, Any]], major: int, absent: bool, problems: Problems) -> tuple[Wish, ...]:
    if len(elements) > len(MINORS):
        rule = f"{len(elements)} classes, and there are ids for {len(MINORS)}"
        problems.add("classes", None, rule, "declare fewer")
        return ()
    wishes = [
        parse_class(element, major, absent, problems, f"classes[{index}].") for index, element in enumerate(elements)
    ]
    _check_list(wishes, major, problems)
    return tuple(wishes)


def _parse_ignored(options: dict[str, Any], major: int, problems: Problems, path: str) -> Wish:
    for name in CLASS:
        if name not in IDENTITY and options.get(name) is not None:
            rule = "a class that is ignored stays as it is"
            problems.add(f"{path}{name}", _shown(options[name]), rule, f"leave out {path}{name} or {path}ignore")
    if options.get("state") == "absent":
        problems.add(f"{path}state", "absent", "a class that is ignored stays as it is", f"leave out {path}ignore")
    _vlan, minor = _identity(options, major, problems, path, ANY_MINORS)
    return Wish(path, minor, default=bool(options.get("default")), ignore=True)


def _identity(
    options: dict[str, Any], major: int, problems: Problems, path: str, allowed: range
) -> tuple[int | None, int]:
    """Return the VLAN and the minor number of a class; None and 0 for what is omitted or was refused."""
    vlan = parse_vlan(f"{path}vlan", options.get("vlan"), problems)
    if options.get("classid") is not None:
        return vlan, _classid(f"{path}classid", options["classid"], major, problems, allowed)
    if options.get("vlan") is None:
        if options.get("default"):
            return None, DEFAULT_MINOR
        remedy = f"give {path}vlan, {path}classid or {path}default: true"
        problems.add(f"{path}vlan", None, "nothing says which class this is", remedy)
    elif vlan == 0:
        rule = "a VLAN's id is its class's minor number, and 0 is the root's"
        problems.add(f"{path}vlan", vlan, rule, f"give {path}classid too")
    return vlan, vlan or 0


def _classid(path: str, text: str, major: int, problems: Problems, allowed: range) -> int:
    """Return the minor number in ``1389:10`` or ``:10`` (hexadecimal); 0 for the root, or where it was refused."""
    found = re.fullmatch(r"([0-9a-fA-F]{1,4})?:([0-9a-fA-F]{0,4})", text.strip())
    example = f"write one such as '{major or 0x1389:x}:10' or ':10', in hexadecimal"
    if not found:
        rule = "not the id of a class"
        if ":" not in text:
            rule += ", which has a colon (YAML reads 1:10 without quotes as the number 70)"
        problems.add(path, text, rule, f"{example} and in quotes")
        return 0
    if major and found.group(1) and int(found.group(1), 16) != major:
        rule = f"the class is below the root qdisc {major:x}:"
        problems.add(path, text, rule, f"write ':{found.group(2)}', or set handle: '{found.group(1)}:'")
        return 0
    minor = int(found.group(2) or "0", 16)
    if minor not in allowed:
        rule = "0 is the root's" if not minor else f"those above {MINORS[-1]:x} are for temporary classes"
        rule = f"the minor number of a class is from {MINORS[0]:x} to {MINORS[-1]:x}; {rule}"
        problems.add(path, text, rule, example)
        return 0
    return minor


def _check_exclusive(options: dict[str, Any], problems: Problems, path: str) -> None:
    for name, others in (("sc", ("rt", "ls", "share")), ("share", ("ls",))):
        for other in others:
            if options.get(name) is not None and options.get(other) is not None:
                same = "share and ls are two ways to say the same"
                rule = f"sc is rt and ls in one, and there is {other} too" if name == "sc" else same
                problems.add(f"{path}{name}", _shown(options[name]), rule, "leave one of them out")


def _share(path: str, share: Any, problems: Problems) -> Curve | None:
    if share in SHARES and not isinstance(share, bool):
        return Curve(share * SHARE)
    rule = f"a share is a whole number from {SHARES[0]} to {SHARES[-1]} (1 share is {RATE.format(SHARE, RATES)})"
    remedy = "scale all shares down, and ls rates beside them, as only their proportions matter"
    if share < SHARES[0]:
        remedy = f"the smallest is {SHARES[0]}; to have no class, state: absent"
    problems.add(path, share, rule, "write a number" if isinstance(share, bool) else remedy)
    return None


def _curve(path: str, value: Any, problems: Problems) -> Curve | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        rate = problems.quantity(path, _text(value), RATE, RATES)
        return None if rate is None else Curve(rate)
    before = len(problems.found)
    unknown = [str(key) for key in value if key not in ("m1", "d", "m2")]
    for key in unknown:
        problems.add(f"{path}.{key}", None, "a curve has no such part", "write m2, or m1, d and m2")
    m1, d, m2 = (_text(value.get(key)) for key in ("m1", "d", "m2"))
    if m2 is None:
        problems.add(f"{path}.m2", None, "missing", "write the rate that holds in the long run")
    if m1 is not None and d is None:
        problems.add(f"{path}.d", None, "missing", f"write how long {path}.m1 holds, such as 10ms, or leave m1 out")
    if d is not None and m1 is None:
        problems.add(f"{path}.m1", None, "missing", f"write the rate that holds for {path}.d, or leave d out")
    first = problems.quantity(f"{path}.m1", m1, RATE, FIRST_RATES)
    time = problems.quantity(f"{path}.d", d, TIME, TIMES)
    last = problems.quantity(f"{path}.m2", m2, RATE, RATES)
    return None if last is None or len(problems.found) > before else Curve(last, first or 0, time or 0)


def _text(value: Any) -> str | None:
    """Return what the user wrote, as text; a bare number or a list is then refused as such."""
    return None if value is None else str(value)


def _shown(value: Any) -> Any:
    return value if isinstance(value, (str, int)) else None


def _check_together(node: HfscClass, problems: Problems, path: str) -> None:
    if not node.ls and not node.rt:
        rule = "a class needs a part of the link"
        problems.add(f"{path}ls", None, rule, f"give {path}ls or {path}share, or {path}rt for a guarantee")
    if node.ul and not node.ls:
        rule = "an upper limit limits what ls gives, and there is no ls"
        problems.add(f"{path}ul", str(node.ul), rule, f"give {path}ls or {path}share too")
    if node.ul and node.rt and not node.ul.reaches(node.rt):
        rule = f"the limit is below the guarantee (rt {node.rt})"
        if node.ul.m2 >= node.rt.m2:
            rule += " at the start of a backlog"
        problems.add(f"{path}ul", str(node.ul), rule, f"raise {path}ul or lower {path}rt")


def _check_list(wishes: list[Wish], major: int, problems: Problems) -> None:
    """Refuse what elements of a list say against each other."""
    first: dict[int, Wish] = {}
    for wish in wishes:
        if wish.minor and first.setdefault(wish.minor, wish) is not wish:
            rule = f"class {classid(major, wish.minor)} is that of {first[wish.minor].path[:-1]} too"
            problems.add(wish.path[:-1], None, rule, "declare a class once; a VLAN's minor number is its id")
    present = [wish for wish in wishes if not wish.absent]
    defaults = [wish for wish in present if wish.default]
    for wish in defaults[1:]:
        rule = f"{defaults[0].path[:-1]} is the default class already"
        problems.add(f"{wish.path}default", True, rule, "leave one of them out")
    owners: dict[Match, int] = {}
    for index, wish in enumerate(present):
        for match in wish.matches:
            owner = owners.setdefault(match, index)
            if owner != index:
                rule = f"what matches {match} is {present[owner].path[:-1]}'s already"
                problems.add(match_option(wish, match), None, rule, "leave it out of one of them")
    for pair in islice(undecided(owners), CLASHES_SHOWN):
        one, two = sorted(pair, key=lambda match: owners[match])
        add_undecided(present[owners[two]], two, one, present[owners[one]].path[:-1], problems)


def match_option(wish: Wish, match: Match) -> str:
    """Return the name of the option in which a class was given a match."""
    return wish.match_paths[wish.matches.index(match)]


def add_undecided(wish: Wish, match: Match, other: Match, owner: str, problems: Problems) -> None:
    """Refuse a match of which no rule says whether it or the other one wins where both fit."""
    how_many = "both are marks of as many bits" if match.fwmark else f"both fix {match.bits} bits"
    rule = f"a packet can fit {match} and, as {owner} has it, {other}, and {how_many}"
    problems.add(match_option(wish, match), None, rule, "make one of them narrower, so that it wins")
