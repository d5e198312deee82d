# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What a run is followed by that waits to be confirmed: the controller comes back, and confirms or asks."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtnet.qos.plugins.module_utils._guard import guard_of
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_options import parse_handle
from ansible_collections.virtnet.qos.plugins.module_utils._hfsc_wish import Declaration, declare
from ansible_collections.virtnet.qos.plugins.module_utils._hold import NotConfirmed
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems
from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import devices
from ansible_collections.virtnet.qos.plugins.module_utils._tc_lock import only_run
from ansible_collections.virtnet.qos.plugins.module_utils._tc_netlink import Tc
from ansible_collections.virtnet.qos.plugins.module_utils._tc_script import script


def conclude(module: AnsibleModule) -> dict[str, Any]:
    """Confirm a change of an earlier run, or say what became of it."""
    device = module.params["device"]
    guard = guard_of(module, Problems())
    if module.params["_confirm"]["stage"] == "outcome":
        hold = guard.hold
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        if not hold:
            return {"changed": False, "outcome": "unknown", "uptime": uptime}
        told = {"outcome": hold.state, "log": hold.log(), "lost": hold.facts()["lost"]}
        return {"changed": False, **told, "uptime": uptime}
    index = devices().get(device)
    if index is None:
        raise NotConfirmed("the device is gone")
    tc = Tc(device, index, parse_handle(module.params["handle"], Problems()))
    with only_run(index):
        stands = declare(tc.read(), Declaration(tc.major), tc.link.packet, tc.link.queue)
        guard.confirm(index, script(stands, device))
    return {"changed": True, "confirmed": True, "device": device}


def pending(module: AnsibleModule) -> dict[str, Any]:
    """Return what the action plugin is told of a change that waits to be confirmed."""
    return guard_of(module, Problems()).pending
