# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What keeps a change of a device's tree safe: a hold until it is confirmed, and the file for the next boot."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtnet.qos.plugins.module_utils import _hold
from ansible_collections.virtnet.qos.plugins.module_utils._boot import NOTHING, THIS, Boot, same
from ansible_collections.virtnet.qos.plugins.module_utils._hold import Hold, NotConfirmed, Overtaken, Rollback
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems, Refused
from ansible_collections.virtnet.qos.plugins.module_utils._restore import COMMANDS, PATH
from ansible_collections.virtnet.qos.plugins.module_utils._systemd import CommandFailed, Run, is_there
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import path_of
from ansible_collections.virtnet.qos.plugins.module_utils._tc_script import NOT_OURS

UDEV = Path("/run/udev/control")
# Less is not enough to log in; more is not what a person waits for.
SECONDS = range(5, 3601)
# From the action plugin: it changes with the first, and comes back with one of the others.
CONFIRM: dict[str, Any] = {
    "stage": {"type": "str", "choices": ["arm", "confirm", "outcome"], "required": True},
    "token": {"type": "str", "required": True, "no_log": False},
    "by": {"type": "str"},
}
# The options of all this, for a module's argument spec. The documentation fragment _safety says what they mean.
SAFETY: dict[str, Any] = {
    "confirm_timeout": {"type": "int"},
    "persistent": {"type": "bool", "default": False},
    "_confirm": {"type": "dict", "options": CONFIRM},
}


class NotKept(Exception):
    """The tree stands, but the next boot does not bring it. The text says why."""


@dataclass(frozen=True)
class Guard:
    """The safety of one run: ``hold`` is that of a change to be confirmed, ``boot`` what is kept of the device."""

    run: Run
    device: str
    netns: str | None = None
    seconds: int | None = None
    by: str = ""
    hold: Hold | None = None
    boot: Boot | None = None

    def actions(self, script: str) -> list[dict[str, str]]:
        """Return what a module returns of what happens to the file, beside a tree (its script, empty if none)."""
        if not self.boot or not self.boot.differs(script):
            return []
        before = self.boot.brings(script)
        op = "delete" if not script else "add" if before == NOTHING else "change"
        after = THIS if script else NOTHING
        return [{"op": op, "object": "file", "id": str(self.boot.batch), "before": before, "after": after}]

    def diff(self, script: str) -> tuple[str, str]:
        """Return both sides of the same."""
        sides = [(each["id"], each["before"], each["after"]) for each in self.actions(script)]
        before, after = (
            "".join(f"{side[0]}, at the next boot: {side[number]}\n" for side in sides) for number in (1, 2)
        )
        return before, after

    def keeps(self, script: str) -> bool | None:
        """Whether the next boot brings this tree, or nothing where that is none; None where nothing is kept."""
        return not self.boot.differs(script) if self.boot else None

    def check_writable(self, script: str, problems: Problems) -> None:
        """Refuse what could not be kept once it stands."""
        if not self.boot or not self.boot.differs(script):
            return
        if script and self.boot.is_masked:
            way = f"systemctl unmask '{self.boot.unit}', or leave persistent out"
            problems.add("persistent", True, f"the unit {self.boot.unit} is masked", way)
        try:
            self.boot.check_writable(script)
        except OSError as error:
            place = error.filename or self.boot.batch
            rule = f"what the next boot brings cannot be written to {place}: {error.strerror}"
            problems.add("persistent", True, rule, "mend that, or leave persistent out")

    def settle(self) -> list[str]:
        """Make way for a run, or raise `Held`; see there. Returns warnings."""
        return _hold.settle(_hold.place_of(self.device), self.device, self.run)

    def arm(self, index: int, lock: Path, before: str, after: str, root: str = "") -> None:
        """Have the change that comes undone unless it is confirmed. Raises `Refused`.

        ``root`` is somebody else's root qdisc that goes.
        """
        if not self.hold or not self.seconds:
            return
        netns = path_of(self.netns) if self.netns else None
        lost = [line[len(NOT_OURS) + 1 :] for line in before.splitlines() if line.startswith(NOT_OURS)]
        # What comes in has a qdisc beside the root.
        lost = [each for each in lost if not each.startswith(("qdisc ingress", "qdisc clsact"))]
        lost += [f"the root {root}"] if root else []
        try:
            rollback = Rollback(self.device, index, netns, lock, self.seconds, self.by, before, after, lost)
            _hold.arm(self.hold, rollback, self.run)
            self.hold.begin()
        except (OSError, CommandFailed) as error:
            self.give_up()
            problems = Problems()
            rule = f"the host could not be made to undo the change by itself: {error}"
            problems.add("confirm_timeout", self.seconds, rule, "mend that; nothing was changed")
            raise Refused(problems.found) from error

    @property
    def overtaken(self) -> bool:
        """Whether the host takes back what is still being changed."""
        return bool(self.hold and self.hold.state != "pending")

    def check_time(self) -> None:
        """Raise `Overtaken` if so."""
        if self.overtaken:
            raise Overtaken

    def bring_back(self) -> None:
        """Have the tree from before, whatever came after the host had brought it back."""
        if self.hold:
            _hold.bring_back(self.hold, self.device, self.run)

    def give_up(self) -> None:
        """Undo nothing, since nothing stands."""
        if self.hold:
            _hold.give_up(self.hold, self.run)

    def keep(self, script: str, mended: bool) -> None:
        """Have the next boot bring the tree, unless that is still to be confirmed. Raises `NotKept`.

        ``mended``: the device's own tree has changed, be its file the same.
        """
        if not self.boot or self.unsettled:
            return
        try:
            if mended or self.boot.differs(script):
                self.boot.reset_failed(self.run)
            self.boot.keep(script, self.run)
        except (OSError, CommandFailed) as error:
            text = f"{self.device}: the tree stands, but the next boot does not bring it: {error}."
            raise NotKept(f"{text} Mend that and run again.") from error

    def confirm(self, index: int, stands: str) -> None:
        """Let what waits stand, also after the next boot. Raises `NotConfirmed` and `NotKept`.

        ``stands`` is the device's tree as it is.
        """
        if not self.hold:
            raise NotConfirmed("nothing was to be confirmed")
        after = self.hold.after()  # before it is confirmed, since it goes when its time comes
        unchanged = same(stands, after)
        _hold.confirm(self.hold, index, unchanged)
        if unchanged:  # otherwise it is an answer that was lost, and another run came since, which keeps its own
            self.keep(after, mended=True)

    @property
    def unsettled(self) -> bool:
        """Whether a change of this run waits to be confirmed, or was taken back instead."""
        return bool(self.hold and self.hold.state not in ("confirmed", "unknown"))

    @property
    def pending(self) -> dict[str, Any]:
        """What the action plugin is told of such a change."""
        return {"_pending": {"seconds": max(self.hold.left(), 0.0)}} if self.hold and self.unsettled else {}


def guard_of(module: AnsibleModule, problems: Problems) -> Guard:
    """Return what the options of a module say of safety."""
    options = module.params
    run = partial(module.run_command, handle_exceptions=False)  # which raises OSError for one that is not there
    device, netns, seconds = options["device"], options.get("netns"), options.get("confirm_timeout")
    said = options.get("_confirm") or {}
    boot = None
    if options.get("persistent"):
        boot = Boot(device)
        if netns:
            problems.add("persistent", True, f"no boot brings the network namespace {netns}", "leave out persistent")
        absent = options.get("state") == "absent"
        if not is_there():
            boot = None  # there can be nothing
            if not absent:
                problems.add("persistent", True, "this host has no systemd to bring it back", "leave out persistent")
        elif not UDEV.exists() and not absent:
            problems.add("persistent", True, "this host has no udev to tell of its devices", "leave out persistent")
    missing = [each for each in COMMANDS if not shutil.which(each, path=PATH)]
    if missing and (boot or seconds):
        option = "confirm_timeout" if seconds else "persistent"
        rule = f"this host has no {' and no '.join(missing)} to bring a tree back with"
        problems.add(option, seconds or True, rule, "install iproute2 and util-linux")
    if seconds is not None and seconds not in SECONDS:
        rule = f"not from {SECONDS[0]} to {SECONDS[-1]} seconds"
        problems.add("confirm_timeout", seconds, rule, f"write a number from {SECONDS[0]} to {SECONDS[-1]}")
    elif seconds and not said and not module.check_mode:
        rule = "nobody would confirm it: the action plugin of this name, which does, was not used"
        problems.add("confirm_timeout", seconds, rule, "run the module as virtnet.qos.tc_hfsc_class")
    hold = _hold.hold_of(_hold.place_of(device), said["token"]) if said else None
    return Guard(run, device, netns, seconds, said.get("by") or "", hold, boot)
