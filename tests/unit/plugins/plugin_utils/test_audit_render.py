# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of an audit as text, as JSON and as a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.filter.audit_render import audit_render
from ansible_collections.virtnet.qos.plugins.filter.audit_report import audit_report
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_hosts import LISTED as ROWS
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_html import PLOTTED
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_markup import join, tag
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_style import STYLE
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_svg import (
    STATES,
    UNLIMITED,
    Share,
    buckets,
    shares,
    shortened,
)
from ansible_collections.virtnet.qos.plugins.plugin_utils._audit_text import LISTED, SHOWN

SEALED = {"meta"}  # elements without an end
NASTY = "</script><img src=x onerror=alert(1)>\"'&amp;"
LIMIT = {"inbound": {"average": "8mbit"}, "outbound": {"average": "unlimited"}}


class Page(HTMLParser):
    """Reads a page strictly: each element that begins ends, in the right order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in SEALED:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def fleet(hosts: int, undeclared: int = 20, name: str = "hv{}.example.net", domain: str = "guest-{}") -> dict[str, Any]:
    """Return the report on a fleet of which each third host has guests that nobody declared, and the first is lost."""
    hostvars: dict[str, Any] = {}
    classes = [
        {"name": f"VLAN {vlan}", "classid": f"1389:{vlan:x}", "children": [], "rt": "2gbit"} for vlan in range(9)
    ]
    device = {"device": "bond0", "managed": True, "speed": "25gbit", "tree": classes, "classes": classes}
    network = {
        "name": "prod",
        "bridge": "virbr1",
        "active": True,
        "live": LIMIT,
        "config": LIMIT,
        "drift": [],
        "enforced": None,
        "floors": {"used": "0bit", "left": "8mbit"},
        "portgroups": [],
    }
    for number in range(hosts):
        nics = [
            {
                "domain": domain.format(each),
                "mac": f"52:54:00:00:{each // 256:02x}:{each % 256:02x}",
                "network": "prod",
                "bridge": "virbr1",
                "running": True,
                "limited": False,
                "undeclared": ["live", "config"],
            }
            for each in range(undeclared if number % 3 == 0 else 0)
        ]
        hostvars[name.format(number)] = {
            "__qos_audit_kernel": {"devices": [device]} if number else {"unreachable": True, "msg": "gone"},
            "__qos_audit_libvirt": number
            and {
                "considered": 20,
                "interfaces": nics,
                "networks": [network],
                "summary": {
                    "running": 20,
                    "limited": 0,
                    "unknown": 0,
                    "promised": [],
                    "averages": {"inbound": {"8mbit": 20}, "outbound": {"unlimited": 20}},
                },
            },
            "host_qos_devices": [{"device": "bond0"}],
            "network_qos_networks": [{"name": "prod"}],
        }
    return audit_report(hostvars, list(hostvars), "2026-11-30 02:11 UTC")


def test_a_page_needs_nothing_else() -> None:
    text = audit_render(fleet(40), "html")
    page = Page(text)
    names = {name for name, _attributes in page.elements}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for _name, attributes in page.elements:
        assert attributes.get("href", "#").startswith("#")
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "action", "xlink:href")]
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text
    for wanted in ("prefers-color-scheme:dark", "@media print", '<html lang="en">', 'name="viewport"'):
        assert wanted in text
    # What links point at is there, and each table says what is in it.
    ids = {attributes["id"] for _name, attributes in page.elements if "id" in attributes}
    assert {attributes["href"][1:] for name, attributes in page.elements if name == "a"} == ids
    assert all("aria-label" in attributes for name, attributes in page.elements if name == "table")
    assert "svg" in names


def test_a_large_fleet_stays_readable() -> None:
    whole = fleet(200)
    page = audit_render(whole, "html")
    assert len(page) < 1_000_000
    assert page.count("<details") == 200
    assert f"{PLOTTED} of 200 hosts" in page
    text = audit_render(whole, "text").splitlines()
    # Those in order are not listed one by one, and of a kind of findings on a host only the first are.
    in_order = [row for row in whole["hosts"] if not row["errors"] + row["warnings"]]
    assert f"{len(in_order)} other hosts without errors and warnings" in text
    assert max(map(len, text)) < 250
    assert sum(line.startswith("  WARNING undeclared") for line in text) == SHOWN * 66
    assert text.count(f"  and {20 - SHOWN} more of undeclared") == 66
    small = audit_render(fleet(LISTED), "text")
    assert all(f"\nhv{number}.example.net " in small for number in range(LISTED))


@pytest.mark.parametrize("hosts", [200, 2000])
def test_a_fleet_of_which_all_is_wrong_fits_into_an_event(hosts: int) -> None:
    limit = {"inbound": {"average": "100mbit", "peak": "200mbit", "burst": "512KiB"}, "outbound": LIMIT["outbound"]}
    nics = [
        {"domain": f"customer-{each:04d}-web.example", "mac": f"52:54:00:00:00:{each:02x}", "bridge": "br-prod"}
        for each in range(SHOWN)
    ]
    promised = {"inbound": {"promised": "average 100mbit, peak 200mbit", "enforced": "average unlimited"}}
    wrong = {"running": True, "limited": False, "network": "", "undeclared": ["live"], "unenforced": promised}
    change = {"op": "change", "object": "class", "before": "rt 10mbit, ls 60mbit", "after": "rt 20mbit, ls 60mbit"}
    changes = [{**change, "id": f"1389:{vlan:x}"} for vlan in range(SHOWN)]
    same = {
        "__qos_audit_kernel": {"devices": []},
        "__qos_audit_libvirt": {
            "considered": 2 * SHOWN,
            "summary": {},
            "networks": [],
            "interfaces": [{**nic, **wrong} for nic in nics],
        },
        "host_qos_devices": [{"device": "bond0"}],
        "host_qos_result": {"results": [{"device": "bond0", "actions": changes}]},
        "vm_qos_policies": [],
        "vm_qos_result": {"interfaces": [{**nic, "scopes": ["live"], "before": LIMIT, "after": limit} for nic in nics]},
    }
    names = [f"hv{number:04d}.example.net" for number in range(hosts)]
    whole = audit_report(dict.fromkeys(names, same), names, "now")
    text = audit_render(whole, "text").splitlines()
    assert len(json.dumps({"msg": text, "changed": False})) < 300_000
    # All hosts are counted, the first ones have their findings, and the rest is a number.
    assert sum(line.startswith(tuple(names)) and not line.endswith(":") for line in text) == hosts
    shown = [line for line in text if line.removesuffix(":") in names]
    assert 0 < len(shown) < hosts
    left = hosts - len(shown)
    per_host = len(whole["findings"]) // hosts
    assert f"and {left * per_host} more findings on {left} hosts; the report as JSON has them all." in text


def test_a_host_of_a_thousand_nics_that_nobody_declared() -> None:
    page = audit_render(fleet(4, undeclared=1000), "html")
    assert len(page) < 50_000
    assert page.count("no policy fits it") == ROWS  # those of the host that was lost are not known
    assert page.count(f"And {1000 - ROWS} more; the report as JSON has them all.") == 1
    assert "; the report as JSON has them all." not in audit_render(fleet(4, undeclared=ROWS), "html")


@pytest.mark.parametrize("form", ["html", "text", "json"])
def test_no_hosts_at_all(form: str) -> None:
    empty = audit_report({}, [], "now")
    assert audit_render(empty, form)
    if form == "html":
        assert "There were no hosts to look at" in audit_render(empty, form)


def test_nics_that_were_not_compared_are_never_green() -> None:
    parts = {"__qos_audit_failed": {"vm_qos": "no such profile"}, "__qos_audit_kernel": {"devices": []}}
    read = {"considered": 20, "interfaces": [], "networks": [], "summary": {}}
    whole = audit_report({"one": {**parts, "__qos_audit_libvirt": read}}, ["one"], "now")
    text = audit_render(whole, "html")
    assert '<div class="tile "><b>0 %</b><span>of 20 NICs in order, 20 not compared</span></div>' in text
    assert "20 in order" not in text
    assert "one: 20 not compared" in text
    (columns, row) = audit_render(whole, "text").splitlines()[2:4]
    cell = dict(zip(re.split("  +", columns), re.split("  +", row)))
    assert (cell["in order"], cell["not compared"]) == ("0", "20")


def test_states_of_nics_are_told_without_colours() -> None:
    looks = set()
    for state in STATES:
        rules = re.findall(rf"^\.(?:over-)?s-{state}\b.*{{(.*)}}", STYLE, re.MULTILINE)
        said = [part for rule in rules for part in rule.split(";")]
        looks.add(tuple(part for part in said if part.startswith(("stroke-width:", "stroke-dasharray:"))))
    assert len(looks) == len(STATES)
    whole = fleet(4)
    text = audit_render(whole, "html")
    drawn = re.findall(r'<line [^>]*class="over-s-undeclared">', text.partition("Average rates")[0])
    assert len(drawn) == 1 + 2  # in the legend, and on both sides of the number
    # And in numbers, host by host.
    (row,) = (host for host in whole["hosts"] if host["nics"]["undeclared"])
    numbers = "".join(f'<td class="n">{row["nics"][key]}</td>' for key in ("total", "running", "limited", *STATES))
    assert numbers in text.partition("Host by host")[2]


def test_json_is_the_report() -> None:
    whole = fleet(3)
    assert json.loads(audit_render(whole, "json")) == whole
    # What was read back can be rendered again.
    assert audit_render(json.loads(json.dumps(whole)), "html") == audit_render(whole, "html")


def test_names_are_no_markup() -> None:
    page = Page(audit_render(fleet(4, name=NASTY + "{}", domain=NASTY), "html"))
    assert not {name for name, _attributes in page.elements} & {"script", "img"}
    assert any(NASTY in text for text in page.texts)


@given(st.text(), st.text())
def test_whatever_text_there_is(text: str, value: str) -> None:
    drawn = tag("p", text, tag("b", [value]), class_=value)
    page = Page(drawn)
    assert [name for name, _attributes in page.elements] == ["p", "b"]
    drawn.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", drawn)
    assert join(text).count("<") == 0


@given(
    st.lists(
        st.tuples(st.text(max_size=60), st.lists(st.integers(0, 2**40), max_size=4), st.none() | st.integers(0, 2**40)),
        max_size=6,
    )
)
@settings(max_examples=50)
def test_bars_stay_in_the_plot(rows: list[tuple[str, list[int], int | None]]) -> None:
    """Whatever is given of whatever there is, none of it or a thousand times too much."""
    given_ = [
        Share(name, [("x", f"{part}bit") for part in parts], f"{sum(parts)}bit", None if cap is None else f"{cap}bit")
        for name, parts, cap in rows
    ]
    for _name, attributes in Page(shares(given_, "title")).elements:
        if "width" in attributes and "x" in attributes:
            assert 0 <= float(attributes["x"] or 0) <= 540
            assert 0 <= float(attributes["width"] or 0) <= 540
            assert float(attributes["x"] or 0) + float(attributes["width"] or 0) <= 541


@given(st.dictionaries(st.integers(1, 2**45).map("{}bit".format) | st.just(UNLIMITED), st.integers(0, 99), max_size=9))
def test_every_average_has_its_size(averages: dict[str, int]) -> None:
    counted = buckets([averages])
    assert sum(counted.values()) == sum(averages.values())
    assert counted[UNLIMITED] == averages.get(UNLIMITED, 0)


@given(st.text(max_size=99), st.integers(3, 40))
def test_a_name_that_is_too_long_keeps_both_its_ends(name: str, length: int) -> None:
    short = shortened(name, length)
    assert len(short) <= length
    assert short == name or (short[0] == name[0] and short[-1] == name[-1])


def test_what_filters_do_not_take() -> None:
    for wrong in ({}, [], {"format": 0}, None):
        with pytest.raises(AnsibleFilterError, match="it takes a report of audit_report with format 1"):
            audit_render(wrong, "html")
    with pytest.raises(AnsibleFilterError, match="form 'pdf' is none of text, json, html"):
        audit_render(audit_report({}, [], ""), "pdf")
    for hosts in ("one", None):
        with pytest.raises(AnsibleFilterError, match="a list of names of hosts"):
            audit_report({}, hosts, "")
