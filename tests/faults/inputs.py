"""Input of clients: nothing of it becomes a 500, a field of a response, a line of the log, an identity."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from urllib.parse import quote

from .bench import Bench, Service
from .case import Case, Seen, Setup, Subject, holds_if
from .service import CANARY
from .texts import DOUBTFUL_JSON, HOSTILE, INVALID_JSON, NAUGHTY, ORIGINS, PROXIED, TRAVERSALS
from .wire import Answer, exchange

__all__ = ("CASES",)

_JSON = b"Content-Type: application/json\r\n"


_NEXT = b"GET /echo/next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def _post(service: Service, path: str, body: bytes, seconds: float = 10.0) -> Answer:
    return service.ask(path, _JSON, method="POST", body=body, seconds=seconds)


def _json_corpus(bench: Bench) -> Seen:
    service, faults, tried = bench.shared(), list[str](), 0
    for body in (*INVALID_JSON, *DOUBTFUL_JSON):
        for path in ("/any", "/items"):
            tried += 1
            answer = _post(service, path, body)
            shown = f"{path} {body[:16]!r}"
            if answer.status >= 500 or answer.status == 0:
                faults.append(f"{shown}: {answer.status or 'no answer'}")
            elif body in INVALID_JSON and answer.status < 300 and body:
                faults.append(f"{shown}: {answer.status}")
            elif answer.status >= 400 and not _is_json(answer.body):
                faults.append(f"{shown}: the error is no JSON")
            raw = exchange(
                service.port,
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()
                + _JSON + b"\r\n" + body + _NEXT,
            )  # fmt: skip
            if b'"path":"/echo/next"' not in raw.raw and b"connection: close" not in raw.raw.lower()[:2000]:
                faults.append(f"{shown}: the next request is lost")
    return _share(faults, tried)


def _is_json(body: bytes) -> bool:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(body, parse_constant=refuse)
    except ValueError:
        return False
    return True


def _heavy_json() -> Iterator[tuple[str, bytes]]:
    yield "numbers of 308 digits", b"[" + b",".join([b"9" * 308] * 3300) + b"]"
    yield "e300 beside many elements", b'["e300"' + b",1" * 70_000 + b"]"
    yield "exponents of three digits", b"[" + b",".join([b"1e300"] * 160_000) + b"]"
    yield "nesting of 500,000", b"[" * 500_000
    yield "a number of a million digits", b"1" * 1_000_000
    yield "100,000 keys", b"{" + b",".join(b'"k%d":1' % n for n in range(90_000)) + b"}"
    yield "the same key 100,000 times", b"{" + b'"a":1,' * 150_000 + b'"a":1}'
    yield "escapes", b'["' + b"\\u0041" * 160_000 + b'"]'
    yield "lone surrogates", b'["' + b"\\ud800" * 160_000 + b'"]'
    yield "empty arrays", b"[" + b"[]," * 300_000 + b"[]]"
    yield "spaces", b"[" + b" " * 1_000_000 + b"]"


def _heavy(bench: Bench) -> Seen:
    service, faults, worst = bench.shared(), list[str](), ("", 0.0)
    for name, body in _heavy_json():
        plain = _plain_seconds(body)
        memory, began = service.memory_mb(), service.cpu_seconds()
        answer = _post(service, "/any", body, seconds=30)
        took, grown = service.cpu_seconds() - began, service.memory_mb() - memory
        if answer.status == 0 or answer.status >= 500:
            faults.append(f"{name}: {answer.status or 'no answer'}")
        elif answer.status >= 400 and not _is_json(answer.body):
            faults.append(f"{name}: the error is no JSON")
        if took > 0.25 + 4 * plain:
            faults.append(f"{name}: {took:.2f} s of CPU")
        if grown > 100:
            faults.append(f"{name}: {grown:.0f} MB")
        if took > worst[1]:
            worst = name, took
    return holds_if(faults, f"the worst, {worst[0]}: {1000 * worst[1]:.0f} ms of CPU")


def _plain_seconds(body: bytes) -> float:
    """Return how long the standard parser takes here: the scale for what a body may cost."""
    began = time.thread_time()
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(body)
    return time.thread_time() - began


def _naughty(bench: Bench) -> Seen:
    service, faults, tried = bench.shared(), list[str](), 0
    for text in NAUGHTY:
        quoted = quote(text, safe="")
        answers = {
            "body": _post(service, "/store", json.dumps({"value": text}).encode()),
            "raw body": _post(service, "/store", json.dumps({"value": text}, ensure_ascii=False).encode()),
            "query": service.ask(f"/echo?value={quoted}"),
            "path": service.ask(f"/echo/{quoted}"),
        }
        for place, answer in answers.items():
            tried += 1
            if answer.status == 0 or answer.status >= 500:
                faults.append(f"{place} {text[:12]!a}: {answer.status or 'no answer'}")
            elif answer.status == 200 and not _returned(place, text, answer):
                faults.append(f"{place} {text[:12]!a}: changed")
    return holds_if(faults, f"{tried} of {tried} came back as they were or were refused")


def _returned(place: str, text: str, answer: Answer) -> bool:
    document = json.loads(answer.body)
    if place == "query":
        return bool(document["query"].get("value", "") == text)
    if place == "path":
        return True  # the framework quotes it anew: that it is served is enough
    return bool(document["value"] == text)


def _log_lines(bench: Bench) -> Seen:
    """Write control characters wherever a log may take them from; every line of the log stays one record."""
    with bench.started() as service:
        begun, asked = len(service.server.stdout()), 0
        for text in HOSTILE.values():
            service.ask(f"/echo/{text}"), service.ask(f"/echo?{text}")
            asked += 2
        for fields in (
            b"User-Agent: a\x1b[31mFAKE\r\n", b"User-Agent: a\xc2\x9b\xe2\x80\xa8FAKE\r\n",
            b"Referer: a\tb\x85FAKE\r\n",
            b"User-Agent: " + b"a" * 20_000 + b"\r\n", b'User-Agent: "}{"level":"FAKE"}\r\n',
        ):  # fmt: skip
            service.ask("/echo", fields)
            asked += 1
        service.ask("/echo/last")
        service.until(lambda: any("/echo/last" in line for line in service.server.stdout()), 10, "the record")
        lines = service.server.stdout()[begun:]
    faults: list[str] = []
    for line in lines:
        if any((ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or char in "\u2028\u2029") for char in line):
            faults.append(f"a control character in {line[:30]!a}")
        try:
            json.loads(line)
        except ValueError:
            faults.append(f"no JSON: {line[:40]!a}")
        if len(line) > 18_000:
            faults.append(f"a line of {len(line)} characters")
    return holds_if(faults, f"{asked} requests, {len(lines)} records, each one line")


_SPLITTERS = (
    "a\r\nInjected: yes",
    "a\nInjected: yes",
    "a\rInjected: yes",
    "a\x00b",
    "a\x0bb",
    "é",
    "\u4e2d",
    "\udcff",
    " a ",
    "",
)


def _response_fields(bench: Bench) -> Seen:
    service, faults, tried = bench.shared(), list[str](), 0
    for name in ("Location", "Content-Disposition", "Set-Cookie"):
        for value in _SPLITTERS:
            tried += 1
            answer = service.ask(
                f"/headed?name={name}&value={quote(value, safe='', errors='surrogateescape')}"
            )
            if answer.field("injected") is not None:
                faults.append(f"{name} {value!a}: injected")
            elif answer.status == 0:
                faults.append(f"{name} {value!a}: no answer")
            elif answer.status >= 400 and not answer.body:
                faults.append(f"{name} {value!a}: {answer.status} without a body")
    return _share(faults, tried)


def _traversal(bench: Bench) -> Seen:
    with bench.folder() as folder:
        inside, beside = folder / "static", folder / "static-two"
        inside.mkdir()
        beside.mkdir()
        (inside / "inside.txt").write_text("inside")
        (beside / "secret.txt").write_text(CANARY)
        (folder / "service.py").write_text(CANARY)
        (inside / "link").symlink_to("/etc")
        with bench.started(Setup(env={"FAULTS_STATIC": str(inside)})) as service:
            faults: list[str] = []
            if service.ask("/static/inside.txt").body != b"inside":
                return Seen(False, "a file inside is not served")
            for path in TRAVERSALS:
                answer = service.ask(f"/static/{path}")
                if answer.status == 200 or CANARY.encode() in answer.body or b"root:" in answer.body:
                    faults.append(f"{path}: {answer.status}")
                elif answer.status >= 500 or answer.status == 0:
                    faults.append(f"{path}: {answer.status or 'no answer'}")
    return holds_if(faults, f"0 of {len(TRAVERSALS)} left the folder")


_GOOD = "https://app.example"
_CORS = Setup(
    env={"FAULTS_ORIGINS": _GOOD, "FAULTS_LIMIT": "1/hour"},
    ours={"cors_origins": _GOOD, "cors_credentials": "true"},
)


def _cors(bench: Bench) -> Seen:
    service, faults = bench.shared(_CORS), list[str]()
    service.ask("/limited")
    places = (
        ("GET", "/echo", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/limited", 429),
        ("GET", "/fail", 500),
    )
    preflight = b"Access-Control-Request-Method: GET\r\n"
    for origin in (_GOOD, *ORIGINS):
        field = f"Origin: {origin}\r\n".encode()
        for method, path, status in (*places, ("OPTIONS", "/echo", 0)):
            answer = service.ask(path, field + (preflight if method == "OPTIONS" else b""), method=method)
            allowed = answer.field("access-control-allow-origin")
            where = f"{origin}, {path} {answer.status}"
            if origin == _GOOD:
                if allowed != _GOOD:
                    faults.append(f"{where}: no CORS fields for the listed origin")
                if status and answer.status != status:
                    faults.append(f"{where} instead of {status}")
                if "origin" not in (answer.field("vary") or "").lower() and method == "GET":
                    faults.append(f"{where}: no `Vary: Origin`")
            elif allowed is not None and allowed != _GOOD:
                faults.append(f"{where}: allowed {allowed}")
    tried = 5 * (len(ORIGINS) + 1)
    return _share(faults, tried)


_TRUST: dict[Subject, tuple[str, ...]] = {"uvicorn": ("--forwarded-allow-ips", "127.0.0.0/8,10.0.0.0/8")}
_TRUSTING = Setup(ours={"trusted_proxies": "127.0.0.0/8,10.0.0.0/8"}, flags=_TRUST)


def _logged_clients(service: Service, name: str) -> list[str]:
    """Send each shape of forwarding fields; return the clients that the records name."""
    for number, (fields, _, _) in enumerate(PROXIED):
        service.ask(f"/echo/{name}-{number}-", fields)
    found: dict[int, str] = {}

    def complete() -> bool:
        for line in service.server.stdout():
            at = re.search(rf'"path": ?"/echo/{name}-(\d+)-"', line)
            if at is not None:
                found[int(at[1])] = str(json.loads(line)["client"])
        return len(found) == len(PROXIED)

    service.until(complete, 15, "a record of each request")
    return [found[number] for number in range(len(PROXIED))]


def _identity(bench: Bench) -> Seen:
    service, faults = bench.shared(_TRUSTING), list[str]()
    for (fields, client, _), seen in zip(PROXIED, _logged_clients(service, "trusted"), strict=True):
        if seen not in client.split("|"):
            faults.append(f"{_shown(fields)}: {seen[:30]}")
    service = bench.shared()
    for (fields, _, _), seen in zip(PROXIED, _logged_clients(service, "nobody"), strict=True):
        if seen != "127.0.0.1":
            faults.append(f"nobody named, {_shown(fields)}: {seen[:30]}")
    return _share(faults, 2 * len(PROXIED))


def _identity_in_the_app(bench: Bench) -> Seen:
    service, faults = bench.shared(_TRUSTING), list[str]()
    for fields, client, scheme in PROXIED:
        document = json.loads(service.ask("/echo", fields).body or b"{}")
        if document.get("client") not in client.split("|"):
            faults.append(f"{_shown(fields)}: client {str(document.get('client'))[:30]}")
        elif document.get("scheme") not in scheme.split("|"):
            faults.append(f"{_shown(fields)}: scheme {document.get('scheme')}")
    return _share(faults, len(PROXIED))


def _shown(fields: bytes) -> str:
    return fields.decode().strip().replace("\r\n", " and ") or "no field"


def _share(faults: list[str], of: int) -> Seen:
    examples = f". {'; '.join(faults[:3])}" if faults else ""
    return Seen(not faults, f"{of - len(faults)} of {of} right{examples}")


_SECRETS = (CANARY.encode(), b"Traceback", b"/srv/secret.py", b"SELECT", b'File "', b".venv", b"RuntimeError")


def _error_pages(bench: Bench) -> Seen:
    service, faults = bench.shared(), list[str]()
    pages: dict[str, Answer] = {
        "500": service.ask("/fail"),
        "404": service.ask("/nowhere"),
        "404 of the app": service.ask("/absent"),
        "405": service.ask("/fail", method="PUT"),
        "422": _post(service, "/items", json.dumps({"name": {"password": CANARY}}).encode()),
        "400": _post(service, "/items", b'{"name": "' + CANARY.encode()),
        "the query": service.ask(f"/slow?seconds={CANARY}"),
    }
    for name, answer in pages.items():
        if not answer.status:
            faults.append(f"{name}: no answer")
        if found := [secret.decode() for secret in _SECRETS if secret in answer.body]:
            faults.append(f"{name}: shows {found[0]}")
        if answer.field("x-request-id") is None:
            faults.append(f"{name}: no request id")
        if not _is_json(answer.body):
            faults.append(f"{name}: no JSON")
    return holds_if(faults, f"{len(pages)} of {len(pages)} pages")


_NO_FLAG: dict[Subject, str] = {"granian": "granian's own proxy wrapper is code of the app, not a flag"}
CASES: tuple[Case, ...] = (
    Case(
        "I1", "input",
        f"{len(INVALID_JSON)} bodies that are no JSON, {len(DOUBTFUL_JSON)} doubtful ones, to two routes",
        "no 5xx; what is no JSON is never taken; errors are JSON; the next request on the connection works",
        _json_corpus, seconds=180,
    ),
    Case(
        "I2", "input",
        "JSON of 1 MB that is costly: long numbers, exponents, nesting, keys, escapes",
        "no 5xx; at most 0.25 s of CPU beyond four times `json.loads`, and 100 MB",
        _heavy, seconds=240,
    ),
    Case(
        "I3", "input",
        f"{len(NAUGHTY)} naughty strings in body, query and path",
        "each comes back as it was, or 4xx",
        _naughty, smoke=True,
    ),
    Case(
        "I4", "input",
        "line ends, escapes, NUL, U+2028, 20 KB in path, query, User-Agent and Referer",
        "every line of standard output is one JSON record without a control character",
        _log_lines, smoke=True,
    ),
    Case(
        "I5", "input",
        "CR, LF, NUL, other alphabets in Location, Content-Disposition and Set-Cookie",
        "no field is injected; an answer always, and an error has a body",
        _response_fields, smoke=True,
    ),
    Case(
        "I6", "input",
        f"{len(TRAVERSALS)} paths out of a folder of static files",
        "nothing from outside, no 5xx",
        _traversal, smoke=True,
    ),
    Case(
        "I7", "input",
        f"{len(ORIGINS) + 1} origins, with credentials, on 200, 404, 429, 500 and the preflight",
        "the listed origin may read all five, no other any; `Vary: Origin`",
        _cors,
    ),
    Case(
        "I8", "input",
        f"{len(PROXIED)} shapes of forwarding fields, with two trusted networks and without any setting",
        "the record names the first from the right that is not trusted; what is malformed changes nothing",
        _identity, absent=_NO_FLAG,
    ),
    Case(
        "I8 app", "input",
        "the same fields, with two trusted networks",
        "the app sees that client and scheme (`request.client`, `request.url.scheme`)",
        _identity_in_the_app, absent=_NO_FLAG,
    ),
    Case(
        "I13", "input",
        "seven errors, with secrets in the input and in the exception",
        "no stack, path, SQL or input is shown; each has a request id and is JSON",
        _error_pages, smoke=True,
    ),
)  # fmt: skip
