# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Steps of a plan as tc messages for the kernel, and the kernel's messages as a tree. No socket here."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import (
    Curve,
    Foreign,
    ForeignQdisc,
    HfscClass,
    Leaf,
    Tree,
)
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Step
from ansible_collections.virtnet.qos.plugins.module_utils._tc_counters import Counters, counters_of
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import Link
from ansible_collections.virtnet.qos.plugins.module_utils._tc_filters import filters_of, info_of, lifter, rule
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    ACK,
    CREATE,
    DELQDISC,
    DELTCLASS,
    DELTFILTER,
    EXCLUSIVE,
    GETQDISC,
    GETTCLASS,
    GETTFILTER,
    INGRESS,
    KIND,
    NEWQDISC,
    NEWTCLASS,
    NEWTFILTER,
    OPTIONS,
    ROOT,
    Message,
    attributes,
    nested,
    request,
    tc_body,
    text,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_leaves import decode, encode

HFSC = b"hfsc\0"
CURVES = {"rt": 1, "ls": 2, "ul": 3}  # TCA_HFSC_RSC, _FSC, _USC
_CURVE = struct.Struct("=III")  # struct tc_service_curve


def request_of(step: Step, index: int, major: int, link: Link, sequence: int) -> bytes:
    """Return the message that carries a step out on the device with this index."""
    flags = ACK | CREATE | EXCLUSIVE if step.before is None else ACK
    number, body = _said(step, index, major << 16, link)
    return request(number, flags, sequence, body)


def _said(step: Step, index: int, root: int, link: Link) -> tuple[int, bytes]:
    if step.part == "root":
        # Not replaced in one message: the handle may be in use in the very tree that goes (tc_modify_qdisc(), EINVAL).
        return DELQDISC, tc_body(index, parent=ROOT, handle=step.key << 16, kind=step.before.split()[0])
    if step.part == "qdisc":
        return _qdisc(step, index, root)
    if step.part == "classes":
        return _class(step, index, root)
    if step.part == "leaves":
        return _leaf(step, index, root, link)
    return _filter(step, index, root)


def _qdisc(step: Step, index: int, root: int) -> tuple[int, bytes]:
    if step.after is None:
        return DELQDISC, tc_body(index, parent=ROOT, handle=root)
    options = struct.pack("=H", step.after)  # struct tc_hfsc_qopt
    return NEWQDISC, tc_body(index, parent=ROOT, handle=root, kind="hfsc", options=options)


def _class(step: Step, index: int, root: int) -> tuple[int, bytes]:
    handle = root | step.key
    if step.after is None:
        return DELTCLASS, tc_body(index, handle=handle)
    curves = step.after.curves().items()
    options = nested((CURVES[name], _CURVE.pack(each.m1, each.d, each.m2)) for name, each in curves)
    return NEWTCLASS, tc_body(index, parent=root | step.after.parent, handle=handle, kind="hfsc", options=options)


def _leaf(step: Step, index: int, root: int, link: Link) -> tuple[int, bytes]:
    leaf: Leaf = step.after or step.before
    parent, handle = root | step.key, leaf.handle << 16
    if step.after is None:
        return DELQDISC, tc_body(index, parent=parent, handle=handle, kind=leaf.kind)
    options = encode(step.before, leaf, link.packet, link.queue)
    return NEWQDISC, tc_body(index, parent=parent, handle=handle, kind=leaf.kind, options=options)


def _filter(step: Step, index: int, root: int) -> tuple[int, bytes]:
    number = DELTFILTER if step.after is None else NEWTFILTER
    if step.part == "strays":
        info = info_of(step.key.preference, step.key.protocol)
        return number, tc_body(index, parent=root, handle=step.key.handle, info=info, kind=step.key.kind)
    # No handle: of the lifters, the kernel makes one, and takes all away.
    lifts = step.part == "lifts"
    handle = 0 if lifts else (step.after or step.before).handle
    kind, info, options = lifter() if lifts else rule(step.key, root | (step.after or step.before).minor)
    told = None if step.after is None else options
    return number, tc_body(index, parent=root, handle=handle, info=info, kind=kind, options=told)


def questions_of(step: Step, index: int, major: int) -> Iterator[tuple[int, bytes]]:
    """Return what asks the kernel for that which a step touched: the numbers and bodies of messages.

    Lifters, whose handle the kernel chose, are not asked for but dumped.
    """
    root = major << 16
    if step.part in ("classes", "leaves"):
        yield GETTCLASS, tc_body(index, handle=root | step.key)
    if step.part == "leaves":
        yield GETQDISC, tc_body(index, parent=root | step.key)
    if step.part in ("filters", "strays"):
        _number, body = _filter(replace(step, before=step.after or step.before, after=None), index, root)
        yield GETTFILTER, body


def tree_of(
    major: int, link: Link, qdiscs: Iterable[Message], classes: Iterable[Message], filters: Iterable[Message]
) -> Tree:
    """Return the tree of a device from the kernel's messages about that device. Never fails over what is not ours."""
    here = {each.parent: (each, attributes(each.data)) for each in qdiscs if each.parent == ROOT or each.handle}
    root, said = here.pop(ROOT, (None, {}))
    ours = root is not None and said.get(KIND) == HFSC and root.handle == major << 16
    if not ours:
        occupied = f"{text(said.get(KIND))} {root.handle >> 16:x}:" if root and root.handle else None
        # All but ingress and clsact goes with the root that is replaced.
        kept = tuple(_foreign_qdisc(*each) for parent, each in here.items() if parent == INGRESS)
        return Tree(foreign=Foreign(root=occupied, qdiscs=kept))
    default = struct.unpack("=H", said.get(OPTIONS, b"")[:2].ljust(2, b"\0"))[0]
    nodes = dict(_nodes(major, classes))
    inner = {node.parent for node in nodes.values()}
    leaves: dict[int, Leaf] = {}
    foreign: list[ForeignQdisc] = []
    for parent, (each, told) in here.items():
        minor = parent & 0xFFFF
        # What is in a class that got children is not used any more, and cannot be changed (hfsc_graft_class()).
        if parent >> 16 == major and minor in nodes and minor not in inner:
            kind = text(told.get(KIND))
            options = decode(kind, told.get(OPTIONS, b""), link.packet, link.queue)
            leaves[minor] = Leaf(kind, each.handle >> 16, options)
        else:
            foreign.append(_foreign_qdisc(each, told))
    found = filters_of(major, filters)
    return Tree(
        qdisc={major: default},
        classes=nodes,
        leaves=leaves,
        lifts=found.lifts,
        filters=found.rules,
        strays=found.strays,
        foreign=Foreign(filters=tuple(found.foreign), qdiscs=tuple(foreign)),
    )


def as_made(tree: Tree, steps: Iterable[Step]) -> Tree:
    """Return the tree that was read after the steps: a quantum that they gave no new leaf is the kernel's default."""
    leaves = dict(tree.leaves)
    for step in steps:
        there = leaves.get(step.key) if step.part == "leaves" and step.before is None else None
        if there and "quantum" not in dict(step.after.options):
            leaves[step.key] = replace(there, options=tuple(each for each in there.options if each[0] != "quantum"))
    return replace(tree, leaves=leaves)


def roots_of(qdiscs: Iterable[Message]) -> dict[int, tuple[str, int]]:
    """Return the kind and the major of each device's root qdisc, by the device's index; the kernel's own have none."""
    roots = (each for each in qdiscs if each.parent == ROOT and each.handle)
    return {each.device: (text(attributes(each.data).get(KIND)), each.handle >> 16) for each in roots}


def counters_by_class(major: int, classes: Iterable[Message], qdiscs: Iterable[Message]) -> dict[int, Counters]:
    """Return what was counted for each class; what its qdisc dropped, the class itself is not always told of."""
    found = {each.handle & 0xFFFF: counters_of(each) for each in classes if each.handle & 0xFFFF}
    for each in qdiscs:
        minor = each.parent & 0xFFFF
        if each.parent >> 16 == major and minor in found and not found[minor].level:
            found[minor] = replace(found[minor], drops=counters_of(each).drops)
    return found


def _foreign_qdisc(each: Message, told: Mapping[int, bytes]) -> ForeignQdisc:
    return ForeignQdisc(f"qdisc {text(told.get(KIND))} {each.handle >> 16:x}:", each.handle >> 16, each.parent >> 16)


def _nodes(major: int, classes: Iterable[Message]) -> Iterator[tuple[int, HfscClass]]:
    for each in classes:
        said = attributes(each.data)
        minor = each.handle & 0xFFFF
        if not minor or each.handle >> 16 != major or said.get(KIND) != HFSC:
            continue  # minor 0 is the root itself
        options = attributes(said.get(OPTIONS))
        curves = {}
        for name, number in CURVES.items():
            if len(options.get(number, b"")) >= _CURVE.size:
                m1, d, m2 = _CURVE.unpack_from(options[number])
                curves[name] = Curve(m2, m1, d)
        yield minor, HfscClass(**curves, parent=each.parent & 0xFFFF)
