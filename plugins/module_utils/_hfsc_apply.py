# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Carrying a plan out, and undoing what was done of it when the kernel refuses half-way."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Protocol

from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import TAGGED, TEMPORARY, Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import Phase, Plan, Step, applied, plan, undone
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import diff, step_text
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import healed
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import TcError

GoOn = Callable[[], None]

DRAIN_SECONDS = 1.0
SHOWN = 5  # classes named in one warning


class Door(Protocol):
    """What `_tc_netlink.Tc` is, and a test can be."""

    device: str
    major: int

    def read(self) -> Tree:
        """Return the tree that stands."""

    def read_again(self, steps: Collection[Step]) -> Tree:
        """Return what the steps touched of it."""

    def send(self, steps: list[Step]) -> None:
        """Carry steps out."""

    def drain(self, minors: Iterable[int], seconds: float) -> dict[int, int]:
        """Wait for classes to be empty; return those that are not, and their packets."""


class NotApplied(Exception):
    """The plan could not be carried out. The text says why, and what stands now.

    ``changed``: something may stand that did not before.
    """

    def __init__(self, text: str, changed: bool) -> None:
        super().__init__(text)
        self.changed = changed


def bring_about(door: Door, now: Tree, wanted: Tree, made: Plan, go_on: GoOn = lambda: None) -> list[str]:
    """Carry the plan out and see whether that is what stands, or raise `NotApplied`. Returns warnings.

    ``go_on`` is called before each phase. What it raises ends the work where it is, with nothing undone.
    """
    warnings = carry_out(door, now, made, go_on)
    try:
        again = door.read_again(made.steps)
    except TcError as error:
        raise NotApplied(f"{door.device}: changed, but could not be read again: {error}.", changed=True) from error
    left = "; ".join(step_text(action, door.major) for action in undone(wanted, again, made))
    if left:
        text = f"{door.device}: something else changes it too. This would have to be done still: {left}."
        raise NotApplied(text, changed=True)
    return warnings


def carry_out(door: Door, now: Tree, made: Plan, go_on: GoOn = lambda: None) -> list[str]:
    """Carry the plan out, or undo what was done and raise `NotApplied`. Returns warnings."""
    done: list[Step] = []
    try:
        return _run(door, made.phases, done, go_on)
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
    if step and step.before is None and error.number in (errno.ENOENT, errno.EOPNOTSUPP) and step.part != "classes":
        return (
            f" The kernel has no {_kernel_module(step)}: load the module, or install the package that has it"
            " (such as linux-image-amd64 on Debian or kernel-modules-extra on Fedora and RHEL)."
        )
    return ""


def _kernel_module(step: Step) -> str:
    if step.part == "leaves":
        return f"sch_{step.after.kind}"
    if step.part == "filters":
        return "cls_fw" if step.key.match.fwmark else "cls_flower"
    return {"qdisc": "sch_hfsc", "lifts": "cls_u32 or act_vlan"}[step.part]


def _run(door: Door, phases: Iterable[Phase], done: list[Step], go_on: GoOn = lambda: None) -> list[str]:
    warnings = []
    for phase in phases:
        left = door.drain(phase.drain, DRAIN_SECONDS) if phase.drain else {}
        if left:
            some = [f"{door.major:x}:{minor & ~TEMPORARY:x} ({number})" for minor, number in sorted(left.items())]
            more = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
            warnings.append(
                f"after {DRAIN_SECONDS:g} s packets still waited in classes that go or are made anew, and were dropped"
                f" with them: {', '.join(some[:SHOWN])}{more}"
            )
        go_on()
        try:
            door.send(list(phase.steps))
        except TcError as error:
            done += error.done
            raise
        done += phase.steps
    return warnings


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
        _run(door, plan(reached, back).phases, undone)
    except TcError as second:
        try:
            stands = door.read() if second.unclear else applied(reached, undone + second.done)
        except TcError as third:
            return f"Undoing it failed too: {explain(second, door)} What stands now is unknown: {third}.", True
        sides = diff(now, stands, plan(now, stands).actions, door.major)
        return (
            f"Undoing what was done failed too: {explain(second, door)}"
            f" Of the device's tree this stood before:\n{sides['before']}and this stands now:\n{sides['after']}"
        ), True
    root = f" The root qdisc {now.foreign.root} it replaced is gone; the kernel's default one stands." if lost else ""
    return f"What had been done was undone.{root}", lost or back != now


def _restorable(now: Tree, reached: Tree) -> Tree:
    """Return the tree to go back to: what somebody had put in the place of our filters stays away once it is gone."""
    back = healed(now)
    strays = {stray: there for stray, there in now.strays.items() if stray in reached.strays}
    filters = dict(back.filters)
    if strays != now.strays:  # ours stand in for them, where their class is there again
        filters = {rule: each for rule, each in reached.filters.items() if each.minor in back.classes} | filters
    lifts = {TAGGED: True} if any(rule.tagged for rule in filters) else {}
    return replace(back, filters=filters, strays=strays, lifts=lifts)
