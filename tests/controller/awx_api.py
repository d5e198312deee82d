# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As much of AWX's API as the modules of awx.awx need to make objects: what they send is kept, and given back.

It refuses nothing. It is there for those modules, which refuse what they do not know, and to see what they made of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Item = dict[str, Any]
TEMPLATES = {"projects": "project", "inventory_sources": "inventory_source", "job_templates": "job_template"}


class Store:
    """What was made, by kind, and which are associated with which: ("job_templates", 1, "credentials") -> ids."""

    def __init__(self, **there: list[str]) -> None:
        """Begin with these, by kind and name."""
        self.items: dict[str, list[Item]] = defaultdict(list)
        self.associated: dict[tuple[str, int, str], list[int]] = defaultdict(list)
        self.surveys: dict[int, Item] = {}
        for kind, names in there.items():
            for name in names:
                self.add(kind, {"name": name})

    def add(self, kind: str, fields: Item) -> Item:
        """Make one, as the API shows it."""
        number = 1 + sum(map(len, self.items.values()))
        url = f"/api/v2/{kind}/{number}/"
        related = {"survey_spec": f"{url}survey_spec/", "update": f"{url}update/"}
        # What only some kinds have, such as a revision, is in all of them.
        item = {**fields, "id": number, "url": url, "related": related, "summary_fields": {}, "scm_revision": "1"}
        self.items[kind].append(item)
        return item

    def find(self, kind: str, number: int) -> Item:
        """Return one that is there."""
        return next(item for item in self.items[kind] if item["id"] == number)

    def matching(self, kind: str, wanted: Item) -> list[Item]:
        """Return those with these values; the type tells the kinds of templates apart."""
        if kind == "unified_job_templates":
            kinds = [each for each in TEMPLATES if wanted.get("type") in (None, TEMPLATES[each])]
            found = [item for each in kinds for item in self.items[each]]
        else:
            found = self.items[kind]
        # The organization of an inventory source is that of its inventory.
        keys = [key for key in wanted if key not in ("type", "organization")]
        return [item for item in found if all(str(item.get(key)) == wanted[key] for key in keys)]


class Api(BaseHTTPRequestHandler):
    """Answers for a store."""

    store: Store
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        """Print nothing."""

    def answer(self, status: int, body: Any = None) -> None:
        """Send this."""
        sent = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def body(self) -> Item:
        """Return what was sent."""
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return json.loads(text) if text else {}

    def do_GET(self) -> None:
        """List, or show one, or what is associated with it."""
        split = urlsplit(self.path)
        kind, *rest = split.path.removeprefix("/api/v2/").strip("/").split("/")
        if not rest:
            found = self.store.matching(kind, dict(parse_qsl(split.query)))
        elif kind == "project_updates":
            return self.answer(200, {"finished": "now", "failed": False, "status": "successful", "scm_revision": "1"})
        elif rest[1:] == ["survey_spec"]:
            return self.answer(200, self.store.surveys.get(int(rest[0]), {}))
        elif rest[1:]:
            found = [{"id": number} for number in self.store.associated[kind, int(rest[0]), rest[1]]]
        else:
            return self.answer(200, self.store.find(kind, int(rest[0])))
        return self.answer(200, {"count": len(found), "next": None, "results": found})

    def do_POST(self) -> None:
        """Make one, or something of it."""
        kind, *rest = self.path.removeprefix("/api/v2/").strip("/").split("/")
        sent = self.body()
        if not rest:
            return self.answer(201, self.store.add(kind, sent))
        number, what = int(rest[0]), rest[1]
        if what == "survey_spec":
            self.store.surveys[number] = sent
            return self.answer(200, {})
        if what == "update":
            return self.answer(202, {"url": "/api/v2/project_updates/1/"})
        if what == "create_approval_template":
            made = self.store.add("workflow_approval_templates", sent)
            node = self.store.find(kind, number)
            node["unified_job_template"] = made["id"]
            node["related"]["unified_job_template"] = made["url"]
            return self.answer(201, made)
        self.store.associated[kind, number, what].append(sent["id"])
        return self.answer(204)

    def do_PATCH(self) -> None:
        """Change one."""
        kind, number = self.path.removeprefix("/api/v2/").strip("/").split("/")
        item = self.store.find(kind, int(number))
        item.update(self.body())
        return self.answer(200, item)


@contextmanager
def serving(store: Store) -> Iterator[str]:
    """Give the address of such an API."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Api,), {"store": store}))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
