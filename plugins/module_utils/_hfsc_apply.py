# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Carrying a plan out, and undoing what was done of it when the kernel refuses half-way."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import DRIFTED, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Action, Step, applied, plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import diff, step_text
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError

DRAIN_SECONDS = 1.0
# What a kernel without it says, by the part of the tree that wants it
MODULES = {"qdisc": "sch_hfsc", "leaves": "sch_fq_codel", "lifts": "cls_u32 or act_vlan", "filters": "cls_flower"}


class Door(Protocol):
    """What `_tc_netlink.Tc` is, and a test can be."""

    device: str
    major: int

    def read(self) -> Tree:
        """Return the tree that stands."""

    def send(self, steps: list[Step]) -> None:
        """Carry steps out."""

    def drain(self, minor: int, seconds: float) -> int:
        """Wait for a class to be empty; return the packets left."""


class NotApplied(Exception):
    """The plan could not be carried out. The text says why, and what stands now.

    ``changed``: something may stand that did not before.
    """

    def __init__(self, text: str, changed: bool) -> None:
        super().__init__(text)
        self.changed = changed


def carry_out(door: Door, now: Tree, actions: list[Action]) -> list[str]:
    """Carry the actions out, or undo what was done and raise `NotApplied`. Returns warnings."""
    done: list[Step] = []
    try:
        return _run(door, actions, done)
    except TcError as error:
        text, changed = _undo(door, now, done, error)
        raise NotApplied(f"{explain(error, door)} {text}".strip(), changed) from error


def explain(error: TcError, door: Door) -> str:
    """Return what the kernel refused, and why, as sentences."""
    what = step_text(error.step, door.major) if error.step else "read its qdiscs"
    return f"{door.device}: could not {what}: {error}.{_advice(error)}"


def _advice(error: TcError) -> str:
    step = error.step
    if error.number in (errno.EPERM, errno.EACCES):
        return " Changing qdiscs needs CAP_NET_ADMIN: run the task with become: true."
    if error.number == errno.ENODEV:
        return " The device is gone, and its tree with it."
    if step and step.before is None and error.number in (errno.ENOENT, errno.EOPNOTSUPP) and step.part in MODULES:
        return (
            f" The kernel has no {MODULES[step.part]}: load the module, or install the package that has it"
            " (such as linux-image-amd64 on Debian or kernel-modules-extra on Fedora and RHEL)."
        )
    return ""


def _run(door: Door, actions: Iterable[Action], done: list[Step]) -> list[str]:
    warnings = []
    for steps in _sends(actions):
        for step in steps:
            if step.part == "classes" and step.after is None:
                left = door.drain(step.key, DRAIN_SECONDS)
                if left:
                    warnings.append(
                        f"class {door.major:x}:{step.key:x} still had {left} packets after {DRAIN_SECONDS:g} s;"
                        " they were dropped with it"
                    )
        try:
            door.send(steps)
        except TcError as error:
            done += error.done
            raise
        done += steps
    return warnings


def _sends(actions: Iterable[Action]) -> Iterator[list[Step]]:
    """Give a new root qdisc, its default class and that class's leaf as one: until then the kernel drops everything.

    A root that goes first goes alone. The kernel carries out the rest of a send though a part of it failed, and what
    is meant for our new root would come to somebody's qdisc with the same handle. Meanwhile its own qdisc serves.
    """
    steps = [step for action in actions for step in action.steps]
    if steps and steps[0].part == "root":
        yield [steps.pop(0)]
    fresh = 0
    if steps and steps[0].part == "qdisc" and steps[0].before is None:
        fresh = next((n for n, step in enumerate(steps[2:], 2) if step.part != "leaves"), len(steps))
        yield steps[:fresh]
    for step in steps[fresh:]:
        yield [step]


def _undo(door: Door, now: Tree, done: list[Step], error: TcError) -> tuple[str, bool]:
    """Undo the steps; return what to say about it, and whether something else than before may stand."""
    if not done and not error.unclear:
        return "Nothing was changed.", False
    if error.number == errno.ENODEV:
        return "", bool(done)
    try:
        reached = door.read() if error.unclear else applied(now, done)
    except TcError as second:
        return f"What of it was done is unknown, and was not undone: its tree could not be read again: {second}.", True
    lost = now.foreign.root is not None and reached.foreign.root is None
    back = _restorable(now, reached)
    undone: list[Step] = []
    try:
        # Not simply the inverses in reverse order: a curve that was added cannot be taken away in one step.
        _run(door, plan(reached, back), undone)
    except TcError as second:
        try:
            stands = door.read() if second.unclear else applied(reached, undone + second.done)
        except TcError as third:
            return f"Undoing it failed too: {explain(second, door)} What stands now is unknown: {third}.", True
        sides = diff(now, stands, plan(now, stands), door.major)
        return (
            f"Undoing what was done failed too: {explain(second, door)}"
            f" Of the device's tree this stood before:\n{sides['before']}and this stands now:\n{sides['after']}"
        ), True
    root = f" The root qdisc {now.foreign.root} it replaced is gone; the kernel's default one stands." if lost else ""
    return f"What had been done was undone.{root}", lost or back != now


def _restorable(now: Tree, reached: Tree) -> Tree:
    """Return the tree to go back to: a filter of ours that somebody had changed is mended if it is no longer there."""
    return replace(
        now,
        filters={
            vlan: vlan if minor == DRIFTED != reached.filters.get(vlan) else minor
            for vlan, minor in now.filters.items()
        },
        lifts={key: ours or reached.lifts.get(key) is not False for key, ours in now.lifts.items()},
    )
