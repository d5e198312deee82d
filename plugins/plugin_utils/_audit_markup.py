# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""Markup in which every text is escaped, since only what was made here is taken for markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Union

# What no HTML page may hold, and halves of characters that no file can.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = {"meta", "br", "col"}


class Markup(str):
    """Text that is markup."""


Child = Union[str, int, None, Iterable["Child"]]


def tag(element: str, /, *children: Child, **attributes: str | int | float | None) -> Markup:
    """Return an element; ``class_`` is class, ``stroke_width`` is stroke-width, and None is left out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in _VOID:
        return Markup(f"<{element}{said}>")
    return Markup(f"<{element}{said}>{join(children)}</{element}>")


def join(child: Child) -> Markup:
    """Return a text or markup, or all of them, as markup."""
    if child is None:
        return Markup("")
    if isinstance(child, Markup):
        return child
    if isinstance(child, (str, int)):
        return Markup(_text(child))
    return Markup("".join(map(join, child)))


def _text(value: str | float) -> str:
    if isinstance(value, float):
        value = f"{value:.1f}".rstrip("0").rstrip(".")
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(value)))
