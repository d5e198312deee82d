# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The option netns, as every module that has it understands it."""

from __future__ import annotations

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.virtnet.qos.plugins.module_utils._tc_device import enter


def enter_netns(module: AnsibleModule) -> None:
    """Go to the network namespace that the options name, if they do, for good. The module fails where that fails."""
    netns = module.params["netns"]
    try:
        if netns is not None:
            enter(netns)
    except ImportError:
        module.fail_json(msg=missing_required_lib("pyroute2 >= 0.7.2", "netns"), exception=traceback.format_exc())
    except OSError as error:
        module.fail_json(msg=f"netns {netns!r}: cannot be entered: {error.strerror}; ip netns names those there are.")
