# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Warnings that say of which host they are."""

from __future__ import annotations

from collections.abc import Iterable
from platform import node

from ansible.module_utils.basic import AnsibleModule


def warn(module: AnsibleModule, warnings: Iterable[str]) -> None:
    """Warn, with the name of the host: Ansible prints equal warnings of several hosts once."""
    for warning in warnings:
        module.warn(f"{node()}: {warning}")
