# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Refusing what cannot be done, all of it at once, before anything is changed."""

from __future__ import annotations

from typing import Any

from ansible_collections.virtnet.qos.plugins.module_utils._units import Quantity, Scale, Unfit

PROBLEMS_SHOWN = 50  # in one message; whoever wrote more has them from one cause
VALUE_SHOWN = 80  # characters; a whole file in place of a rate is not worth printing


class Refused(Exception):
    """What was asked cannot be done as asked; nothing was changed. ``problems`` holds one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        more = [f"And {len(problems) - PROBLEMS_SHOWN} more."] if len(problems) > PROBLEMS_SHOWN else []
        super().__init__(" ".join([*problems[:PROBLEMS_SHOWN], *more]))
        self.problems = problems


class Problems:
    """Collects everything that is wrong, so that a user mends it in one go."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, option: str, value: Any, rule: str, remedy: str) -> None:
        """Note one problem: the option (``classes[3].ul.m2``), its value, the rule it breaks and the way out."""
        shown = "" if value is None else f" {value!r}"
        if len(shown) > VALUE_SHOWN:
            shown = f"{shown[: VALUE_SHOWN - 3]}..."
        self.found.append(f"{option}{shown}: {rule}; {remedy}.")

    def quantity(self, option: str, text: str | None, quantity: Quantity, scale: Scale) -> int | None:
        """Return the steps of ``scale`` that ``text`` stands for; None where it is omitted or was refused."""
        if text is None:
            return None
        try:
            return quantity.parse(text, scale)
        except Unfit as unfit:
            self.add(option, text, unfit.rule, unfit.remedy)
            return None

    def refuse_if_any(self) -> None:
        """Raise `Refused` with everything found so far."""
        if self.found:
            raise Refused(self.found)
