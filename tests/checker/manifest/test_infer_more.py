"""``check init`` without an OpenAPI document, with a port in the command, and beside a store with data."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from roadworthy.checker.manifest.links import collection, like, own_link
from roadworthy.checker.manifest.port import assigned, with_port
from roadworthy.checker.read.openapi import OpenApi
from tests.checker.manifest.test_infer import check
from tests.free_port import free_port
from tests.postgres_server import PostgresServer

_SERVICE = """
import http.server, json, re, sys
style, port = sys.argv[1], int(sys.argv[-1].rpartition(":")[2])
kept = {"1": {"id": "1", "title": "first", "owner": "ada@example.org"}}
BOOKS = {"href": "/books{?page}"}
HAL = {"_links": {"self": {"href": "/"}, "books": BOOKS, "other": {"href": "http://a.example/"}}}
LINKS = {"links": [{"rel": "books", "href": "books"}]}
URLS = {"books_url": f"http://127.0.0.1:{port}/books"}
ROOTS = {"hal": HAL, "links": LINKS, "urls": URLS, "header": {}, "spec": {}, "swagger": {}}
schema = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
post = {"parameters": [{"in": "body", "name": "b", "schema": {"$ref": "#/definitions/Book"}}]}
definitions = {"Book": schema}
SWAGGER = {"swagger": "2.0", "basePath": "/books", "paths": {"": {"post": post}}, "definitions": definitions}
body = {"content": {"application/json": {"schema": schema}}}
SPEC = {"openapi": "3.0.3", "paths": {"/books": {"post": {"requestBody": body}}}}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, value, **fields):
        data = json.dumps(value).encode()
        self.send_response(status)
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        for name, text in fields.items(): self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        match = re.fullmatch("/book/(.+)", self.path)
        if self.path == "/":
            link = {"Link": '</books>; rel="books"'} if style == "header" else {}
            self.answer(200, ROOTS[style], **link)
        elif self.path == "/spec.json" and style == "spec": self.answer(200, SPEC)
        elif self.path == "/swagger.json" and style == "swagger": self.answer(200, SWAGGER)
        elif self.path == "/books":
            linked = [{**one, "_links": {"self": {"href": f"/book/{name}"}}} for name, one in kept.items()]
            self.answer(200, {"_embedded": {"books": linked}} if style == "hal" else linked)
        elif match and match[1] in kept: self.answer(200, kept[match[1]])
        else: self.answer(404, {})
    def do_POST(self):
        value = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/books" or not isinstance(value, dict) or "title" not in value:
            return self.answer(422, {})
        name = str(len(kept) + 1)
        kept[name] = {**value, "id": name}
        self.answer(201, kept[name] if style != "spec" else {}, Location=f"/book/{name}")
    def do_DELETE(self):
        kept.pop(self.path.rpartition("/")[2])
        self.answer(200, {})
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.mark.parametrize("style", ["hal", "links", "urls", "header", "spec", "swagger"])
def test_routes_are_found(tmp_path: Path, style: str) -> None:
    """Links of a root document and of the field Link lead to routes, and so does the Location of a create."""
    (tmp_path / "service.py").write_text(_SERVICE)
    done = check(
        tmp_path, "init", "--", sys.executable, "service.py", style, f"--bind=127.0.0.1:{free_port()}"
    )
    assert done.returncode == 0, done.stderr
    found = tomllib.loads((tmp_path / "roadworthy.toml").read_text())
    assert found["start"]["command"][-1] == "--bind=127.0.0.1:{port}"
    assert "listen" not in found
    assert found["routes"]["create"]["path"] == "/books"
    assert found["routes"]["create"]["body"]["title"] == "title {unique}"
    assert found["routes"]["read"]["path"] == "/book/{id}"
    assert found["routes"]["list"]["path"] == "/books"
    if style not in {"spec", "swagger"}:
        assert found["routes"]["delete"]["path"] == "/book/{id}"


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["a", "--port", "8000"], [["a", "--port", "{port}"]]),
        (["a", "--port=8000"], [["a", "--port={port}"]]),
        (["a", "-p", "8000"], [["a", "-p", "{port}"]]),
        (["a", "-p8000"], [["a", "-p{port}"]]),
        (
            ["java", "-Dserver.port=8000", "-jar", "a.jar"],
            [["java", "-Dserver.port={port}", "-jar", "a.jar"]],
        ),
        (["a", "--bind", "0.0.0.0:8000"], [["a", "--bind", "0.0.0.0:{port}"]]),
        (["a", "-b", ":8000"], [["a", "-b", ":{port}"]]),
        (["a", "--listen", "[::]:8000"], [["a", "--listen", "[::]:{port}"]]),
        (["a", ":8000"], [["a", ":{port}"]]),
        (["a", "addr", ":8000"], [["a", "addr", ":{port}"]]),
        (["a", "--urls", "http://127.0.0.1:8000/"], [["a", "--urls", "http://127.0.0.1:{port}/"]]),
        (["a", "-b", "x:8000", "-b", "y:8000"], [["a", "-b", "x:{port}", "-b", "y:{port}"]]),
        (["python", "-m", "http.server", "8000"], [["python", "-m", "http.server", "{port}"]]),
        (
            ["a", "--workers", "16", "--port", "8000"],
            [["a", "--workers", "16", "--port", "{port}"], ["a", "--workers", "{port}", "--port", "8000"]],
        ),
        (["a", "--db", "postgres://u@h:5432/n"], []),
        (["a", "{port}"], []),
        (["a"], []),
    ],
)
def test_the_port_of_a_command(command: Sequence[str], wanted: list[list[str]]) -> None:
    """Each port that a command names is a candidate, those behind a word that means a port first."""
    assert [list(found) for found in with_port(command)] == wanted


def test_variables_before_a_command(tmp_path: Path) -> None:
    """They are set as by a shell; that of the port is named, and a secret one is left to the environment."""
    assert assigned(["PORT=8000", "A=b=c", "x", "D=e"]) == ({"PORT": "8000", "A": "b=c"}, ("x", "D=e"))
    assert assigned(["A=b"]) == ({}, ("A=b",))
    (tmp_path / "service.py").write_text(
        _SERVICE.replace('int(sys.argv[-1].rpartition(":")[2])', "int(__import__('os').environ['MY_PORT'])")
    )
    words = [f"MY_PORT={free_port()}", "MODE=test", "API_KEY=hidden", sys.executable, "service.py", "hal"]
    done = check(tmp_path, "init", "--", *words)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "roadworthy.toml").read_text()
    assert "hidden" not in text
    found = tomllib.loads(text)
    assert found["listen"] == {"port_env": "MY_PORT"}
    assert found["env"]["set"] == {"MODE": "test", "API_KEY": "${API_KEY}"}
    assert found["start"]["command"] == [sys.executable, "service.py", "hal"]


def test_nothing_is_written_into_a_store(tmp_path: Path, postgres: PostgresServer) -> None:
    """What is tried is tried on copies: a database and a file hold what they held."""
    notes = Path(__file__).parents[1] / "notes.py"
    (tmp_path / "notes.py").write_text(notes.read_text())
    (tmp_path / "db.json").write_text('{"1": {"text": "mine"}}')
    url = postgres.fresh_url()
    name = url.rpartition("/")[2]
    for place in ("json:db.json", url):
        variables = {"NOTES": place} if place != url else {"NOTES": url, "DATABASE_URL": url}
        done = check(tmp_path, "init", "--force", "--", sys.executable, "notes.py", **variables)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "db.json").read_text() == '{"1": {"text": "mine"}}'
    assert postgres.psql("SELECT count(*) FROM pg_stat_user_tables", database=name).stdout.strip() == b"0"
    assert b"roadworthy" not in postgres.psql("SELECT datname FROM pg_database").stdout


def test_swagger_2() -> None:
    """Paths stand below the base path, and a body is a parameter, by reference too."""
    operation = {"parameters": [{"$ref": "#/parameters/B"}]}
    document: dict[str, Any] = {
        "swagger": "2.0",
        "basePath": "/v2/",
        "paths": {"/books": {"post": operation}},
        "parameters": {"B": {"in": "body", "schema": {"$ref": "#/definitions/Book"}}},
        "definitions": {"Book": {"type": "object"}},
    }
    assert list(OpenApi(document).paths) == ["/v2/books"]
    assert OpenApi(document).body_schema("POST", "/v2/books") == {"type": "object"}
    assert list(OpenApi({**document, "basePath": "/"}).paths) == ["/books"]


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"a": [1]}, {"_links": 5}, {"_embedded": [1]}])
def test_odd_values_are_no_links(value: Any) -> None:
    """What a service sends in place of links and collections is none, and no error."""
    assert collection(value) in (None, [])
    element: dict[str, Any] = (
        value if isinstance(value, dict) else {"_links": value, "href": value, "url": value}
    )
    assert own_link(element) in (("", ""), ("x", ""))
    assert isinstance(like(element), dict)
