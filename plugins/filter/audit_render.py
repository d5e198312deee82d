# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: audit_render
short_description: Write the report of an audit for people
version_added: 0.1.0
description:
  - Takes what P(virtnet.qos.audit_report#filter) returns, also when it was read from the JSON that the playbook
    C(virtnet.qos.audit) wrote, and returns it as text, as JSON or as an HTML page.
  - The page needs nothing else, neither a network nor scripts.
positional: _input, form
options:
  _input:
    description: The report.
    type: dict
    required: true
  form:
    description: How to write it.
    type: str
    choices:
      - text
      - json
      - html
    required: true
author:
  - The virtnet.qos authors (@virtnet)
"""

EXAMPLES = r"""
---
- name: Make a page of an audit that was kept as JSON
  ansible.builtin.copy:
    content: "{{ kept | virtnet.qos.audit_render('html') }}"
    dest: audit.html
    mode: "0640"
  vars:
    kept: "{{ lookup('ansible.builtin.file', 'audit.json') | from_json }}"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The report in that form.
  type: str
"""

import json
from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_html import page
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_report import FORMAT
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_text import lines

FORMS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "text": lambda report: "\n".join(lines(report)) + "\n",
    "json": lambda report: json.dumps(report, indent=1) + "\n",
    "html": page,
}


def audit_render(report: Any, form: Any) -> str:
    """Return the report in a form."""
    if form not in FORMS:
        raise AnsibleFilterError(f"audit_render: form {form!r} is none of {', '.join(FORMS)}.")
    if not isinstance(report, Mapping) or report.get("format") != FORMAT:
        raise AnsibleFilterError(f"audit_render: it takes a report of audit_report with format {FORMAT}.")
    return FORMS[form](report)


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"audit_render": audit_render}
