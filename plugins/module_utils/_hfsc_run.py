# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""One run on a device: parse, read, plan, apply, read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtnet.qos.plugins.module_utils._guard import Guard, guard_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc import Tree
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_apply import NotApplied, bring_about
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_info import classes
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import HANDLE, parse
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_plan import blocked, plan
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_rules import check
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_text import action_list, diff
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import Declaration, declare
from ansible_collections.virtnet.qos.plugins.module_utils._hold import Overtaken
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems, Refused
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import check_name, devices, may_change
from ansible_collections.virtnet.qos.plugins.module_utils._tc_lock import only_run
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Tc
from ansible_collections.virtnet.qos.plugins.module_utils._tc_script import script
from ansible_collections.virtnet.qos.plugins.module_utils._warning import warn


def converge(module: AnsibleModule, told: dict[str, Any]) -> dict[str, Any]:
    """Parse, read, plan, apply, read again; return what the module returns.

    ``told`` is given what it returns as well where the change fails half-way.
    """
    options = module.params
    problems = Problems()
    device = options["device"]
    declaration = parse(options, problems)
    guard = guard_of(module, problems)
    there = devices()
    if declaration and declaration.whole and guard.boot and device not in there:
        problems.refuse_if_any()
        return forget(module, guard)
    check_name(device, there, problems)
    if not may_change():
        problems.add("device", device, "changing its qdiscs needs CAP_NET_ADMIN", "run the task with become: true")
    if declaration is None or problems.found:
        raise Refused(problems.found)
    tc = Tc(device, there[device], declaration.major)
    kept = guard.boot.major() if guard.boot and declaration.whole and options["handle"] == HANDLE else None
    if kept and tc.read().foreign.root == f"hfsc {kept:x}:":
        # A device that an inventory does not name any more has no handle there, either.
        declaration = replace(declaration, major=kept)
        tc = Tc(device, there[device], kept)
    if module.check_mode:
        return run_on(module, tc, declaration, guard, None, told)
    with only_run(tc.index) as lock:
        warn(module, (f"{device}: {warning}" for warning in guard.settle()))
        return run_on(module, tc, declaration, guard, lock, told)


def run_on(  # noqa: PLR0913, PLR0917
    module: AnsibleModule, tc: Tc, declaration: Declaration, guard: Guard, lock: Path | None, told: dict[str, Any]
) -> dict[str, Any]:
    """Read, plan, apply, read again, with nobody else of us on the device meanwhile; without a lock, plan only."""
    device, major = tc.device, tc.major
    problems = Problems()
    now = tc.read()
    wanted = declare(now, declaration, tc.link.packet, tc.link.queue)
    check(now, wanted, declaration, tc.link, module.params, problems)
    problems.refuse_if_any()
    made = plan(now, wanted)
    for reason in blocked(now, made, {wish.minor for wish in declaration.wishes if wish.ignore}):
        problems.add("device", device, reason, "remove or declare that first")
    text = script(wanted, device)
    if lock:
        guard.check_writable(text, problems)
    problems.refuse_if_any()

    actions = action_list(made.actions, major) + guard.actions(text)
    result = {"changed": bool(actions), "device": device, "actions": actions, "script": text}
    if module._diff:
        shown, kept = diff(now, wanted, made.actions, major), guard.diff(text)
        result["diff"] = {"before": shown["before"] + kept[0], "after": shown["after"] + kept[1]}
    sides: dict[str, Any] = {}
    if actions:
        # As it would be with nothing declared: what vdsm or an interrupted run left can be made by no batch.
        before = declare(now, Declaration(major), tc.link.packet, tc.link.queue)
        sides = {
            "before": _side(tc, before, guard.keeps(script(before, device))),
            "after": _side(tc, wanted, True if guard.boot else None),
        }
        result.update(sides)
    if lock:
        told.update(device=device, **sides)
        if made.actions:
            if guard.hold:
                guard.arm(tc.index, lock, script(before, device), text, now.foreign.root or "")
            try:
                warnings = bring_about(tc, now, wanted, made, guard.check_time)
                guard.check_time()
            except (NotApplied, Overtaken) as error:
                if guard.overtaken:
                    guard.bring_back()
                    late = f"{device}: the change took longer than confirm_timeout."
                    raise NotApplied(late, changed=True) from error
                if isinstance(error, NotApplied) and not error.changed:
                    guard.give_up()
                raise
            warn(module, (f"{device}: {warning}" for warning in warnings))
        guard.keep(text, mended=bool(made.actions))
        result.update(guard.pending)
    return result


def _side(tc: Tc, tree: Tree, kept: bool | None) -> dict[str, Any]:
    """Return what a device had, or has, so that it can be given back to the module."""
    handle = f"{tc.major:x}:" if tree.classes else None
    return {
        "handle": handle,
        "classes": list(classes(tree, tc.major, tc.link)),
        "root": tree.foreign.root,
        "kept": kept,
    }


def forget(module: AnsibleModule, guard: Guard) -> dict[str, Any]:
    """Have the next boot bring nothing for a device that is not there."""
    actions, sides = guard.actions(""), guard.diff("")
    if not module.check_mode:
        guard.keep("", mended=False)
    result = {"changed": bool(actions), "device": guard.device, "actions": actions, "script": ""}
    if module._diff:
        result["diff"] = dict(zip(("before", "after"), sides))
    return result
