# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Sphinx renders the documentation site; build.py beside this file calls it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "virtnet.qos"
copyright = "The virtnet.qos authors"  # noqa: A001
title = html_title = html_short_title = "virtnet.qos"

extensions = ["sphinx_antsibull_ext", "myst_parser"]
myst_heading_anchors = 3  # links to headings, as GitHub has them
nitpicky = True
default_role = "any"
highlight_language = "none"
pygments_style = "ansible"

html_theme = "sphinx_ansible_theme"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_show_sphinx = False
html_use_index = False
html_copy_source = False
smartquotes_action = "D"  # dashes only: messages are shown word for word
exclude_patterns = ["collection/environment_variables.rst"]

ANSIBLE = "https://docs.ansible.com/ansible/latest/"
PLACES = {
    "action_plugins": "plugins/action.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}


def in_ansible(_app: Sphinx, _env: object, node: nodes.Element, shown: nodes.Element) -> nodes.Element | None:
    """Link to Ansible's own documentation, without looking into it: a site is built where no other can be reached."""
    label = node["reftarget"]
    plugin = re.fullmatch(r"ansible_collections\.(ansible\.builtin)\.(\w+)", label)
    place = f"collections/{plugin[1].replace('.', '/')}/{plugin[2]}.html" if plugin else PLACES.get(label)
    return nodes.reference("", "", shown, refuri=ANSIBLE + place) if place else None


def setup(app: Sphinx) -> None:
    """Have Sphinx ask the above."""
    app.connect("missing-reference", in_ansible)
