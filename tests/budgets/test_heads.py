"""Every reader of a request's head, and every reader of the check, has a budget: the table is PARSERS.

The unit is one ``bytes.translate`` of the same bytes. A reader is given the most bytes that it is given in
service, filled by :func:`hostile` with the words of its grammar; what turns out worst is measured well. A
module that begins to read bytes and is not in the table fails the last test.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import roadworthy
from roadworthy import APIError, RequestInfo, RouteRule, Settings
from roadworthy.checker.bench.json_example import example
from roadworthy.checker.http import codings, grammar, structured
from roadworthy.checker.http.response import ResponseParser
from roadworthy.checker.read import leaks, masking, openapi, records
from roadworthy.checker.read.exposition import read_exposition
from roadworthy.checker.service.process import Line
from roadworthy.checker.store.postgres import has_commit
from roadworthy.errors import ValidationError
from roadworthy.layer.client import Client
from roadworthy.layer.codings import choose
from roadworthy.layer.compression import Compression
from roadworthy.layer.cors import Cors
from roadworthy.layer.error_handling import ErrorHandling
from roadworthy.layer.exchange import Exchange
from roadworthy.layer.exposition import wants_openmetrics
from roadworthy.layer.frameworks._validation import field_errors
from roadworthy.layer.frameworks.generic import GenericFramework
from roadworthy.layer.logging import Logging
from roadworthy.layer.logs.redaction import Redactor
from roadworthy.layer.logs.text import console, json_line
from roadworthy.layer.request_fields import join_fields
from roadworthy.layer.request_id import RequestId
from roadworthy.layer.request_validation import RequestValidation
from roadworthy.layer.route_table import RouteTable
from roadworthy.layer.routes import ANY_METHOD
from roadworthy.layer.tracing import Tracing
from roadworthy.layer.trusted_host import TrustedHost
from roadworthy.patterns import idempotent
from roadworthy.patterns._principal import whose
from roadworthy.server.http import request_head as request_head
from roadworthy.server.http.replay import framing_of
from roadworthy.server.websocket.handshake import is_handshake, negotiate, subprotocols
from tests.layer.conftest import make_exchange

from .inputs import Make, hostile
from .measure import cost, growth, quick, translated, without_collections

pytestmark = pytest.mark.long

HEAD, TARGET, PAGE = 32 << 10, 8 << 10, 64 << 10
SETTINGS = Settings(_env_file=None, trusted_proxies=("10.0.0.0/8",), cors_origins=("https://app.example",))
STANDARD = Settings(_env_file=None, trusted_proxies=("10.0.0.0/8",), forwarded_header="forwarded")


@dataclass(frozen=True)
class Parser:
    """A reader of bytes that are not ours.

    Parameters:
        module: where it is.
        parse: what is measured.
        size: bytes, the most it is given.
        words: what its worst inputs are made of.
        head: how all of them begin.
        ratio: the most it may cost, in translations of the same bytes.
        why: the reason for more than 20.
    """

    name: str
    module: str
    parse: Callable[[bytes], object]
    size: int
    words: tuple[bytes, ...]
    head: bytes = b""
    tail: bytes = b""
    ratio: float = 20
    why: str = ""


def _field(step: Callable[[Exchange], object], name: bytes, **slots: Any) -> Callable[[bytes], object]:
    def parse(value: bytes) -> object:
        return step(make_exchange("GET", "/", [(name, value)], **slots))

    return parse


def _refusing(step: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def parse(value: bytes) -> object:
        with suppress(APIError):
            return step(value)
        return None

    return parse


async def _app(scope: Any, receive: Any, send: Any) -> None: ...


def _cookies(value: bytes) -> object:
    return whose({b"cookie": value})


def _key(value: bytes) -> object:
    serve: Any = idempotent(_app, answers=None)  # type: ignore[arg-type]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"idempotency-key", value)]}

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    with suppress(StopIteration, APIError):
        serve(scope, receive, None).send(None)
    return None


class _Sink:
    """A writer that writes nothing."""

    fd, shared, direct, note = -1, False, False, None

    def write(self, line: bytes) -> None: ...


def _record(log_format: str) -> Callable[[bytes], object]:
    settings = Settings(_env_file=None, log_format=log_format)
    item = Logging(settings, writer=_Sink())  # type: ignore[arg-type]

    def parse(path: bytes) -> object:
        item.finish(make_exchange("GET", path.decode("latin-1"), status=200))
        return None

    return parse


def _text(step: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: step(data.decode("latin-1"))


def _response(data: bytes) -> object:
    parser = ResponseParser("GET")
    for at in range(0, len(data), 65_536):
        parser.feed(data[at : at + 65_536])
    return parser.end()


def _nested(data: bytes) -> object:
    """Read a record with as many members as bytes, half of them the name of what is around them."""
    name, members = data[: len(data) // 2].decode(), ",".join(f'"{n}":1' for n in range(len(data) // 16))
    return records.parse_record(Line(0, "", f'{{"{name}":{{{members}}}}}'))


def _masker() -> masking.Masker:
    masker = masking.Masker()
    masker.add("the token", "rwc0123456789abcdef0123456789abcdef")
    return masker


def _decoded(data: bytes) -> object:
    with suppress(codings.Undecodable):
        return codings.decode(codings.codings_of(data.decode("latin-1")), b"")
    return None


async def _nothing(scope: object, receive: object, send: object) -> None:
    """Stand for an app whose routes cannot be known."""


REDACTOR, MASKER = Redactor(), _masker()
TABLE = RouteTable(
    [
        (ANY_METHOD, template, RouteRule())
        for template in ("/users/{id}", "/files/{path:path}", "/{a}/x/{b}", "/page/<int:n>/")
    ],
    (),
    GenericFramework(_nothing),
)
ERRORS = ErrorHandling(SETTINGS)
SCHEMA = openapi.OpenApi({"paths": {f"/a/{{b}}{'-{c}' * 20}": {}, "/{a}/{b}/{c}": {}}})
TREE: Any = {"type": "array", "minItems": 10**9}
TREE["items"] = {"type": "object", "required": ["a"], "properties": {"a": TREE}}

_FIELD = (b",", b" ", b"a", b'"', b";", b"=", b"\t")
_SECRETS = (b"token", b"a", b"=", b"://", b"@", b":", b"'", b'"', b" ", b"bearer ", b"eyJ", b"\\", b"\n",
            b"input_value=", b", input_type=", b"[parameters: ", b"]", b"/", b"\xe9", b"\x01")  # fmt: skip

# In Python a step for each of a few bytes costs 20 to 60 translations, and a pattern with 30 names tries some
# of them at many letters. What a client can put into a text of a record is bounded first: 2,000 bytes of a
# path, 8,192 of anything, so that this is 1 ms at most.
_NAMES = "names of secrets are looked for at each letter, in at most 8,192 of them"
_STEPS = "one step of Python for each word, and a word has one or two bytes"

PARSERS = (
    Parser("media type", "layer.request_validation", _field(RequestValidation(SETTINGS).wants_whole,
           b"content-type"), HEAD, (b"application/", b"json", b"+", b".", b" ", b";", b"\n"),
           b"application/"),
    Parser("sizes", "layer.request_validation", _field(RequestValidation(SETTINGS).admit, b"content-length"),
           HEAD, (b"1", b"0", b"-", b" ")),
    Parser("Accept-Encoding", "layer.codings", choose, HEAD, (*_FIELD, b"gzip", b"q=0.", b"*")),
    Parser("Accept-Encoding within 256 bytes", "layer.codings", choose, 256,
           (*_FIELD, b"gzip", b"q=0.", b"*", b"br,"), ratio=40, why=_STEPS),
    Parser("If-None-Match", "layer.compression", _field(Compression(SETTINGS).respond, b"if-none-match",
           status=304, response_headers=[(b"etag", b'"aaaaaaaaaaaaaaaab"')]), HEAD,
           (b'W/"a', b"a", b'"', b",")),
    Parser("X-Forwarded-For", "layer.client", _field(Client(SETTINGS).admit, b"x-forwarded-for",
           peer="10.0.0.1"), HEAD, (*_FIELD, b"10.0.0.2", b"[", b"::", b".", b"%")),
    Parser("X-Forwarded-Proto", "layer.client", _field(Client(SETTINGS).admit, b"x-forwarded-proto",
           peer="10.0.0.1"), HEAD, (*_FIELD, b"https")),
    Parser("Forwarded", "layer.client", _field(Client(STANDARD).admit, b"forwarded", peer="10.0.0.1"), HEAD,
           (*_FIELD, b"for=", b'"[::1]"', b"10.0.0.2", b"proto=http")),
    Parser("traceparent", "layer.tracing", _field(Tracing(SETTINGS).admit, b"traceparent"), HEAD,
           (b"0", b"-", b"a", b"01-", b"\n")),
    Parser("X-Request-Id", "layer.request_id", _field(RequestId(SETTINGS).admit, b"x-request-id"), HEAD,
           (b"a", b"-", b" ", b"\xff")),
    Parser("Host", "layer.trusted_host", _field(TrustedHost(SETTINGS).admit, b"host"), HEAD,
           (b"a", b".", b"-", b":", b"[", b"]", b"0")),
    Parser("Host within 255 bytes", "layer.trusted_host", _field(TrustedHost(SETTINGS).admit, b"host"), 255,
           (b"a", b".", b"-", b":", b"[", b"]", b"0"), ratio=80, why="a few calls, whatever the bytes"),
    Parser("Origin", "layer.cors", _field(Cors(SETTINGS).respond, b"origin"), HEAD,
           (b"https://", b"a", b".", b":")),
    Parser("Origin of a WebSocket", "layer.cors",
           lambda value: Cors(SETTINGS).websocket_allowed(value, b"app.example"), HEAD,
           (b"https://", b"a", b".", b":443"), ratio=40, why="a text of its own, in lower case, and a copy"),
    Parser("a preflight's fields", "layer.cors", lambda value: Cors(SETTINGS).admit(make_exchange(
           "OPTIONS", "/", [(b"origin", b"null"), (b"access-control-request-method", b"X"),
           (b"access-control-request-headers", value)])), HEAD, _FIELD),
    Parser("cookies for user_key", "layer.user_key", lambda value: RequestInfo(
           {b"cookie": value}, "GET", "/", b"", "").cookies, HEAD, (b"a=1;", b"=", b";", b"a", b'"'),
           ratio=300, why=_STEPS),
    Parser("cookies of a principal", "patterns._principal", _cookies, HEAD,
           (b"a", b"=", b";", b" ", b"sid", b"csrf"),
           ratio=80, why="a pattern of seven words is tried at each letter of a name"),
    Parser("Idempotency-Key", "patterns.idempotency", _key, HEAD, (b"a", b'"', b" ", b"\xff")),
    Parser("repeated fields", "layer.request_fields", lambda value: join_fields(
           [(b"a", one) for one in value.split(b"\n")]), HEAD, (b"\n", b"a"), ratio=800,
           why="a step for each field, of which our own server takes 100 at most, and the test's own"),
    Parser("route rules", "layer.route_table", _text(lambda path: TABLE.find(make_exchange("GET", path))),
           TARGET, (b"/", b"users/", b"x/", b"a", b"files/", b";a/", b"?", b"\\", b"../"), b"/", ratio=700,
           why="where routes cannot be known, steps for each segment of 8 KiB in each of its spellings"),
    Parser("Accept of a scrape", "layer.exposition", wants_openmetrics, HEAD,
           (*_FIELD, b"text/plain", b"q=0.")),
    Parser("redaction", "layer.logs.redaction", _text(REDACTOR.text), TARGET, _SECRETS, ratio=300,
           why=_NAMES),
    Parser("a record in JSON", "layer.logging", _record("json"), TARGET, _SECRETS, b"/", ratio=100,
           why=_NAMES),
    Parser("a record for a terminal", "layer.logging", _record("console"), TARGET, _SECRETS, b"/", ratio=150,
           why=_NAMES),
    Parser("a line of a record", "layer.logs.text", _text(lambda text: json_line({"a": text})), TARGET,
           _SECRETS, ratio=200, why="escaped once for each of the cuts that make it 4,000 bytes"),
    Parser("a line for a terminal", "layer.logs.text", _text(lambda text: console(False)(
           {"level": "info", "time": "", "message": text})), TARGET, _SECRETS, ratio=150, why=_STEPS),
    Parser("a problem's instance", "layer.error_handling", _text(lambda path: ERRORS.encode(
           make_exchange("GET", path), APIError())), TARGET, (b"/", b"a", b"\xe9", b'"', b"\x01"), b"/",
           ratio=250, why="urllib.parse.quote takes a step for each byte that is not safe"),
    Parser("a problem's errors", "layer.frameworks._validation", lambda body: ERRORS.encode(
           make_exchange("POST", "/"), ValidationError(errors=field_errors(
           {"type": "missing", "msg": "x", "loc": ("body", one.decode("latin-1"))}
           for one in body.split(b"\n")))), 1 << 20, (b"a\n", b"/", b"~", b"\xe9"), ratio=60,
           why="the test's own split"),
    Parser("Host of the server", "server.http.request_head", _refusing(request_head.check_host), HEAD,
           (b"a", b"%41", b"%", b":", b"[", b"]")),
    Parser("an absolute target", "server.http.request_head", _refusing(
           lambda target: request_head.other_target(
           "GET", target, [])), TARGET, (b"http://", b"a", b"/", b"?", b"#", b"@", b"%41"), b"http://"),
    Parser("Connection", "server.websocket.handshake", lambda value: is_handshake(
           "GET", "1.1", [(b"upgrade", b"websocket"), (b"connection", value)]), HEAD, (*_FIELD, b"upgrade")),
    Parser("WebSocket extensions", "server.websocket.handshake", _refusing(lambda value: negotiate(
           [(b"sec-websocket-extensions", value)], 1 << 20)), HEAD, (*_FIELD, b"permessage-deflate")),
    Parser("WebSocket subprotocols", "server.websocket.handshake", lambda value: subprotocols(
           [(b"sec-websocket-protocol", value)]), HEAD, (*_FIELD, b"chat")),
    Parser("Transfer-Encoding", "server.http.request_head", _refusing(lambda value: request_head.check_coding(
           value, "1.1")), HEAD, (*_FIELD, b"chunked"), tail=b"chunked"),
    Parser("framing behind an Upgrade", "server.http.replay", lambda value: framing_of(
           {b"content-length": value}), HEAD, (b"0", b"1")),
    Parser("a response's head", "checker.http.response", _response, PAGE,
           (b"a:b\r\n", b":", b"\r\n", b"a", b" "), b"HTTP/1.1 200 OK\r\n", ratio=300, why=_STEPS),
    Parser("interim responses", "checker.http.response", _response, PAGE,
           (b"HTTP/1.1 100 \r\n\r\n",), ratio=100, why="100 of them are read"),
    Parser("chunks", "checker.http.response", _response, PAGE,
           (b"1\r\na\r\n", b"1\r\na", b"\r\n", b";a", b"0"),
           b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ratio=3000, why=_STEPS),
    Parser("trailers", "checker.http.response", _response, PAGE, (b"a\r\n", b"a", b"\r\n"),
           b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", ratio=2400, why=_STEPS),
    Parser("a record as JSON", "checker.read.records", _text(lambda line: records.parse_record(
           Line(0, "", line))), PAGE, (b'"a":{', b'"a":1,', b'"', b"{", b"9"), b"{", b"}",
           ratio=300, why=_STEPS),
    Parser("names of a nested record", "checker.read.records", _nested, PAGE, (b"a",), ratio=500, why=_STEPS),
    Parser("a record as logfmt", "checker.read.records", _text(lambda line: records.parse_record(
           Line(0, "", line), "logfmt")), PAGE, (b"a=b ", b"a", b"=", b'"', b"\\", b" ", b"9"), b"a=",
           ratio=1500, why=_STEPS),
    Parser("labels of a sample", "checker.read.exposition", read_exposition, PAGE,
           (b'a="b",', b"a", b"=", b'""', b" "), b"a{", b"} 1", ratio=1500, why=_STEPS),
    Parser("samples", "checker.read.exposition", read_exposition, PAGE,
           (b'a="b",', b"a", b"=", b'"', b"\\\\", b" ", b"{", b"}", b"1", b"\n", b"# HELP a "), b"a{",
           ratio=3000, why=_STEPS),
    Parser("a number of a sample", "checker.read.exposition", read_exposition, PAGE,
           (b"1", b".", b"e", b"x"), b"a 1", b"\n", ratio=200, why=_STEPS),
    Parser("a path in a document", "checker.read.openapi", _text(SCHEMA.path_item), TARGET,
           (b"-", b"a", b"/", b"{"), b"/a/", ratio=100, why=_STEPS),
    Parser("a path template in a document", "checker.read.openapi", _text(lambda template: openapi.OpenApi(
           {"paths": {template: {"get": {}}}}).path_item("/" + "a-" * 500)), TARGET,
           (b"{a}", b"-", b"a", b"{", b"/"), b"/", ratio=300, why=_STEPS),
    Parser("an example of a schema", "checker.bench.json_example", lambda name: example(openapi.OpenApi(), {
           **TREE, "title": name.decode("latin-1")}), TARGET, (b"a",), ratio=100, why=_STEPS),
    Parser("Content-Encoding", "checker.http.codings", _decoded, HEAD, (*_FIELD, b"gzip"), ratio=300,
           why=_STEPS),
    Parser("a list field", "checker.http.grammar", _text(grammar.list_elements), HEAD, (*_FIELD, b"\\"),
           ratio=1500, why=_STEPS),
    Parser("parameters of a field", "checker.http.grammar", _text(grammar.parameters), HEAD,
           (*_FIELD, b"\\", b";a=b", b';a="'), b";a=b", ratio=1500, why=_STEPS),
    Parser("a date of a field", "checker.http.grammar", _text(grammar.http_date), HEAD,
           (b"Mon, ", b"Monday, ", b"01 ", b"Jan", b":", b" ", b"GMT")),
    Parser("a structured dictionary", "checker.http.structured", _text(structured.read_dictionary), HEAD,
           (*_FIELD, b"a=1", b"?1", b":", b"(", b")", b'%"', b"%2", b"@1", b"\\"), b"a=", ratio=4000,
           why=_STEPS),
    Parser("a structured list", "checker.http.structured", _text(structured.read_list), HEAD,
           (*_FIELD, b"1", b".", b"?1", b":", b"(", b")", b'%"', b"\\"), ratio=4000, why=_STEPS),
    Parser("masking", "checker.read.masking", _text(MASKER.text), PAGE,
           (b"rwc0123456789", b"rwc012", b"rwc", b"0", b"\xe9"), ratio=300,
           why="each secret is looked for in 15 forms"),
    Parser("leaks", "checker.read.leaks", _text(leaks.internals), PAGE,
           (b"\n at ", b"\\n at ", b":1", b"SELECT ", b"UPDATE ", b"a", b" ", b'File "', b"redis+",
           b"/home/"), ratio=1000, why="nine patterns of words that can stand anywhere"),
    Parser("a statement in front of a store", "checker.store.postgres", has_commit, PAGE,
           (b"/**/", b"/*", b"*/", b" ", b";", b"*", b"commit"), b"/*", ratio=250,
           why="a pattern without regard of case"),
)  # fmt: skip


# Modules that take texts apart which nobody outside can write, or whose readers stand in the table by the
# name of who calls them.
NOT_HOSTILE = {
    "checker.bench.__init__": "a path of the check's own request, and those of the manifest",
    "checker.bench.bodies": "a path of the manifest",
    "checker.custody": "the project's own manifest",
    "checker.declare": "keys of the manifest",
    "checker.http.fields": "see a list field, and a response's head",
    "checker.manifest.links": "paths of the developer's own service, each split once",
    "checker.manifest.port": "the developer's own command",
    "checker.report._causes": "titles, which the check itself has written",
    "checker.report._stack": "the command, and excerpts of 1,200 characters",
    "checker.service.folder": "the command, and names of the project's own files",
    "checker.store.logins": "a packet of the project's own database, whose size is bounded",
    "checker.store.own_mysql": "the project's own manifest",
    "checker.store.own_redis": "the project's own manifest",
    "layer.frameworks.django": "the prefix of static files, of the site's own settings",
    "server.process.own_code": "the name of the app, and those of its files",
    "checker.store.kinds": "the scheme of a URL of the manifest",
    "checker.store.proxy": "one search for two words in what the service says to its store",
    "checker.manifest.infer_routes": "a pattern with one parameter, made of a path of the service's document",
    "checker.http.show": "what the check itself has sent",
    "checker.service.linux": "files of the kernel",
    "checker.manifest.read": "the project's own manifest",
    "checker.bench.client": "a word of the manifest; see JSON of answers in checker.http.wire",
    "checker.bench.resources": "the project's own manifest",
    "checker.manifest.infer": "a line of output or the name of a file; no pattern reads a character twice",
    "checker.manifest.model": "the project's own manifest",
    "checker.manifest.variables": "the project's own manifest",
    "checker.manifest.target": "the project's own manifest",
    "checker.manifest.values": "the project's own manifest",
    "checker.manifest.write": "the project's own manifest",
    "checker.probe": "our own docstrings",
    "checker.service.process": "lines, of 1 MiB at most",
    "checker.registry": "the command line",
    "checker.report._html_evidence": "what the check itself has sent",
    "checker.report.junit": "one class of characters",
    "checker.report.terminal": "what the check itself has sent",
    "checker.waivers": "the project's own manifest",
    "checker.service.target": "the project's own manifest",
    "checker.verdict": "names of assertions",
    "checker.http.wire": "json.loads of an answer, whose size is bounded; see a response's head",
    "layer.local.cells": "files of our own workers",
    "layer.fields": "response fields, which the app writes",
    "layer.json_text": "see test_bodies",
    "layer.logs.routing": "messages of code, through redaction",
    "layer.asgi.response": "lines of response fields, which the layer itself has made",
    "layer.mistakes": "the settings",
    "layer.local.process": "files of the kernel",
    "layer.local.group": "the environment",
    "layer.frameworks._defaults": "bodies that the framework has made",
    "layer.frameworks._django_routes": "patterns of the app's own routes",
    "layer.frameworks._starlette_routes": "patterns of the app's own routes, as Starlette compiles them",
    "layer.frameworks.litestar": "bodies that the framework has made, of 64 KiB at most",
    "layer.spelling": "see route rules",
    "layer.kinds": "names of classes",
    "layer.operations": "who has reached the listener of the operators; one class of characters",
    "layer.routes": "templates of the app's own routes",
    "layer.security_headers": "the settings",
    "patterns.offload.dask_link": "the settings, and versions that the cluster reports",
    "patterns.offload.dask_worker": "messages of our own service",
    "patterns.offload.travel": "messages of our own workers",
    "patterns.offload.worker": "messages of our own parent",
    "patterns.stores.sqlite": "errors of a database's driver",
    "patterns.stores.answers": "rows of our own",
    "server.process.machine": "the settings",
    "server.workers.rehearsal": "messages of our own parent",
    "server.http.parser": "llhttp, and what stands in the table; see tests/server for floods of fields",
    "server.workers.channel": "messages of our own workers",
    "server.process.folder": "the environment",
    "server.process.operations": "what the operators send",
    "patterns.stores.driver.asyncpg": "the end of PostgreSQL's answer to a command",
    "patterns.stores.driver.compiler": "compiles a statement of the service's",
    "patterns.stores.driver.sqlite": "a query plan of a statement of the service's",
    "patterns.stores.opening": "the URL of the settings",
    "patterns.stores.postgres_errors": "errors of PostgreSQL: values have 64 characters, keys 2.7 KB",
    "patterns.stores.postgres_start": "our own words",
}
_TAKES_APART = frozenset({
    "compile", "findall", "finditer", "from_json", "fullmatch", "loads", "match", "partition", "rpartition",
    "rsplit", "search", "split", "splitlines", "sub", "unquote", "urlsplit",
})  # fmt: skip


def _readers() -> set[str]:
    """Return the modules that call anything which takes a text apart."""
    root = Path(roadworthy.__file__).parent
    found: set[str] = set()
    for path in (
        one for room in ("layer", "patterns", "server", "checker") for one in (root / room).rglob("*.py")
    ):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        if any(isinstance(call, ast.Attribute) and call.attr in _TAKES_APART for call in calls):
            found.add(".".join(path.relative_to(root).with_suffix("").parts))
    return found


def test_every_reader_is_in_the_table() -> None:
    """A module that takes a text apart has a budget, or a reason why nobody hostile writes that text.

    The probes of the check read with its readers, and look for words in answers whose size is bounded; the
    strict reader among them is in the table.
    """
    budgeted = {parser.module for parser in PARSERS}
    readers = {name for name in _readers() if not name.startswith("checker.probes.")}
    assert readers - budgeted == NOT_HOSTILE.keys()


def worst(parser: Parser) -> list[tuple[str, Make]]:
    """Return the three of the hostile inputs that cost most in one run."""
    seen: list[tuple[float, str, Make]] = []
    for name, make in hostile(parser.words, parser.head, parser.tail):
        seen.append((quick(partial(parser.parse, make(parser.size))), name, make))
    seen.sort(key=lambda one: -one[0])
    return [(name, make) for _, name, make in seen[:3]]


@pytest.mark.parametrize("parser", [pytest.param(one, id=one.name) for one in PARSERS])
def test_a_reader_stays_within_its_budget(parser: Parser) -> None:
    """At the most bytes it is given: so many translations of them; for twice as many, 3 times as much."""
    assert parser.ratio <= 20 or parser.why
    with without_collections():
        for name, make in worst(parser):
            data = make(parser.size)
            whole, half = partial(parser.parse, data), partial(parser.parse, make(parser.size // 2))
            found = float("inf")
            for _ in range(6):
                found = min(found, cost(whole) / translated(data))
                if found <= parser.ratio:
                    break
            assert found <= parser.ratio, f"{name}: {found:.1f} translations"
            # Below half a millisecond the part that does not grow is most of it.
            if cost(whole) >= 0.0005:
                # A square would be 4; 2.5 was missed by a hundredth while other processes had the caches.
                grown = growth(half, whole, 3)
                assert grown <= 3, f"{name}: {grown:.2f} times as much"
