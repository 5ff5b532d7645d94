"""Raw requests to the server itself: what is no HTTP is refused; what follows a request keeps its place."""

from __future__ import annotations

import random
import re
from functools import cache

from .bench import Bench, Service
from .case import Case, Seen, Setup, holds_if
from .payloads import AMBIGUOUS, REFUSED, TARGETS
from .wire import Exchange, exchange, side_by_side

__all__ = ("CASES",)

_REFUSALS = {501, 505}
"""Refusals among the 5xx: not implemented, version not supported (RFC 9110 section 15.6)."""


def _fault(name: str, got: Exchange) -> str | None:
    """Say what is wrong with the answers to a request that is to be refused."""
    if got.hung:
        return f"{name}: no answer in 2 s"
    if any(200 <= status < 300 or status == 101 for status in got.statuses):
        return f"{name}: {', '.join(map(str, got.statuses))}"
    if any(status >= 500 and status not in _REFUSALS for status in got.statuses):
        return f"{name}: {got.statuses[-1]}"
    if not got.statuses:
        return f"{name}: closed without an answer"
    return None


def _counted(faults: list[str], of: int, what: str) -> Seen:
    examples = "; ".join(faults[:3]) + ("; …" if len(faults) > 3 else "")
    return Seen(not faults, f"{of - len(faults)} of {of} {what}" + (f". {examples}" if faults else ""))


def _own_list(bench: Bench) -> Seen:
    service = bench.shared()
    found = side_by_side(lambda data: exchange(service.port, data), REFUSED.values())
    faults = [fault for name, got in zip(REFUSED, found, strict=True) if (fault := _fault(name, got))]
    return _counted(faults, len(REFUSED), "refused")


def _ambiguous_direct(bench: Bench) -> Seen:
    """Send what may be read in two ways without a proxy: each reading must be the one of the RFC."""
    service = bench.shared()
    before = len(service.journal())
    # A name with an underscore is another field: the length alone counts, and a second request may follow.
    names = [
        name
        for name in AMBIGUOUS
        if name.startswith(("CL.TE", "TE.CL")) and not name.endswith("an underscore")
    ]
    found = side_by_side(lambda name: exchange(service.port, AMBIGUOUS[name]), names)
    faults = [
        f"{name}: {', '.join(map(str, got.statuses))}"
        for name, got in zip(names, found, strict=True)
        if len([one for one in got.statuses if one < 300]) > 1
    ]
    reached = sum(line.startswith("MARKER") for line in service.journal()[before:])
    seen = _counted(faults, len(names), "read as one request at most")
    return Seen(seen.holds and not reached, f"{seen.text}; marker reached {reached} times")


# A registered name of RFC 3986 §3.2.2; the layer answers for DNS names and addresses alone.
_NO_DNS_NAME = b"Host: 0.0.0.0=5000"


@cache
def _corpus() -> list[tuple[str, bytes, bool]]:
    """Return gunicorn's raw requests: name, bytes, whether it is one to be refused."""
    import tempfile
    from pathlib import Path

    from ..proof.test_wire_corpus import DIFFERENT, OF_GUNICORN, download, with_hosts

    with tempfile.TemporaryDirectory() as folder:
        cases = download(Path(folder))
    return [
        (case.name, case.data if case.name.startswith("invalid/") else with_hosts(case.data),
         case.name.startswith("invalid/"))
        for case in cases
        if case.name not in OF_GUNICORN and case.name not in DIFFERENT and _NO_DNS_NAME not in case.data
    ]  # fmt: skip


def _gunicorns_invalid(bench: Bench) -> Seen:
    service = bench.shared()
    cases = [(name, data) for name, data, invalid in _corpus() if invalid]
    found = side_by_side(lambda case: exchange(service.port, case[1]), cases)
    faults = [fault for (name, _), got in zip(cases, found, strict=True) if (fault := _fault(name, got))]
    # Of a request that never becomes complete nothing has to be said: the end of the connection is enough.
    faults = [fault for fault in faults if not fault.endswith("without an answer")]
    return _counted(faults, len(cases), "refused")


def _gunicorns_valid(bench: Bench) -> Seen:
    service = bench.shared()
    cases = [(name, data) for name, data, invalid in _corpus() if not invalid]
    found = side_by_side(lambda case: exchange(service.port, case[1]), cases)
    # Paths of the corpus are not ours, so 404 and 405 are acceptance, too.
    faults = [
        f"{name}: {', '.join(map(str, got.statuses)) or 'nothing'}"
        for (name, _), got in zip(cases, found, strict=True)
        if not got.statuses or any(one not in (200, 404, 405) for one in got.statuses)
    ]
    return _counted(faults, len(cases), "accepted")


_HOSTS: dict[str, bytes] = {
    "none": b"",
    "empty": b"Host: \r\n",
    "two": b"Host: localhost\r\nHost: evil.example\r\n",
    "another": b"Host: evil.example\r\n",
    "with a path": b"Host: localhost/admin?\r\n",
    "with a fragment": b"Host: localhost#.evil.example\r\n",
    "with userinfo": b"Host: localhost@evil.example\r\n",
    "with a suffix": b"Host: localhost.evil.example\r\n",
    "with a prefix": b"Host: evil-localhost\r\n",
    "with a space": b"Host: localhost evil.example\r\n",
    "with a comma": b"Host: localhost, evil.example\r\n",
    "with a control byte": b"Host: local\x01host\r\n",
    "with a tab": b"Host: localhost\tevil.example\r\n",
    "with a bad port": b"Host: localhost:80evil.example\r\n",
    "with a backslash": b"Host: localhost\\evil.example\r\n",
    "percent-encoded": b"Host: evil%2eexample\r\n",
    "8 KiB": b"Host: " + b"a" * 8192 + b"\r\n",
    "as X-Forwarded-Host": b"Host: evil.example\r\nX-Forwarded-Host: localhost\r\n",
}
_ALLOWED = Setup(env={"FAULTS_HOSTS": "localhost"}, ours={"allowed_hosts": "localhost"})


def _hosts(bench: Bench) -> Seen:
    service = bench.shared(_ALLOWED)
    faults: list[str] = []
    heads = [b"GET /echo HTTP/1.1\r\n" + field + b"\r\n" for field in _HOSTS.values()]
    for name, got in zip(_HOSTS, side_by_side(lambda head: exchange(service.port, head), heads), strict=True):
        if got.statuses[:1] not in {(400,), (421,), (431,)}:
            faults.append(f"{name}: {got.statuses[0] if got.statuses else 'nothing'}")
    if exchange(service.port, b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n").statuses != (200,):
        faults.append("the allowed one is refused")
    return _counted(faults, len(_HOSTS), "refused")


_NEXT = b"GET /echo/next HTTP/1.1\r\nHost: localhost\r\n\r\n"
_BEFORE: dict[str, bytes] = {
    "HEAD": b"HEAD /echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HEAD of ten megabytes": b"HEAD /big HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a body that nobody reads": b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 5\r\n\r\nabcde",
    "chunks with a trailer": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nabcde\r\n0\r\nX-Trailer: a\r\n\r\n",
    "chunks with extensions": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;a=b;c="d"\r\nabcde\r\n0\r\n\r\n',
    "Expect: 100-continue": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    b"Expect: 100-continue\r\n\r\nabcde",
    "Expect: 100-continue, the body unread": b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
    "TE: trailers": b"GET /echo HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    "an unknown upgrade": b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    b"Upgrade: foo/2\r\n\r\n",
    "h2c": b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    "an error of the app": b"GET /fail HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a refused body": b"POST /items HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 4\r\n\r\n{]{]",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an empty line before": b"\r\nGET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
}  # fmt: skip


def _next_keeps_its_place(bench: Bench) -> Seen:
    service = bench.shared()
    faults: list[str] = []
    tried = [
        (name, how, pieces)
        for name, first in _BEFORE.items()
        for how, pieces in (("together", (first + _NEXT,)), ("apart", (first, _NEXT)))
    ]
    found = side_by_side(lambda one: exchange(service.port, *one[2]), tried)
    for (name, how, _), got in zip(tried, found, strict=True):
        said_close = re.search(rb"(?i)\r\nconnection: close\r\n", got.raw) is not None
        answered = b'"path":"/echo/next"' in got.raw
        if not answered and not said_close:
            faults.append(f"{name}, {how}: the next is not answered, and no `Connection: close`")
        elif len(got.statuses) > 2 or (name.startswith("HEAD") and b'"path":"/echo"' in got.raw):
            faults.append(f"{name}, {how}: {len(got.statuses)} answers")
    return _counted(faults, 2 * len(_BEFORE), "in place")


_PARTS = (
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b";", b",", b"0", b"-1", b"%00", b"%0a", b"\xff",
    b"chunked", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Host: a\r\n", b"0\r\n\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"HTTP/1.1", b"GET /echo ",
    b"A" * 300, b"Content-Encoding: gzip\r\n", b"Sec-WebSocket-Key: x\r\n", b"Cookie: a=b; c\r\n", b"{",
)  # fmt: skip


def _mutated(number: int) -> bytes:
    chance = random.Random(f"faults-{number}")
    data = bytearray(chance.choice([*AMBIGUOUS.values(), *TARGETS.values(), *_BEFORE.values()]))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at:at] = chance.choice(_PARTS)
        elif kind == 1:
            del data[at : at + chance.randint(1, 20)]
        elif kind == 2 and data:
            data[at % len(data)] = chance.randrange(256)
        else:
            data[at:at] = data[at : at + chance.randint(1, 40)]
    return bytes(data)


def _errors_of_the_app(data: bytes) -> bool:
    """Whether a payload may well reach the route that fails on purpose."""
    return b"/fail" in data


def _mutator(bench: Bench) -> Seen:
    count = bench.many(3000, 150)
    service = bench.shared(Setup(ours={"header_timeout": "1s", "body_timeout": "1s"}))
    payloads = [data for data in map(_mutated, range(count)) if not _errors_of_the_app(data)]
    for data in payloads[:50]:
        exchange(service.port, data, patience=0.2)
    before, pids = service.memory_mb(), service.pids()
    got = side_by_side(lambda data: _try(service, data), payloads)
    failed = sum(500 in one.statuses for one in got)
    faults: list[str] = []
    if failed:
        faults.append(f"{failed} times 500 of {len(payloads)}")
    if not service.works() or service.pids() != pids:
        faults.append("the process did not survive")
    grown = service.memory_mb() - before
    if grown > 50:
        faults.append(f"{grown:.0f} MB more")
    return holds_if(faults, f"{len(payloads)} requests, {failed} times 500, {grown:.0f} MB more")


def _try(service: Service, data: bytes) -> Exchange:
    try:
        return exchange(service.port, data, patience=0.2)
    except OSError:
        return Exchange((), b"", closed=True, hung=False)


CASES: tuple[Case, ...] = (
    Case(
        "H1 invalid", "parsing",
        "the requests that gunicorn's corpus calls invalid (without its own limits and flags)",
        "each is refused: 4xx, 501, 505, or the end of the connection; no other 5xx, none hangs for 2 s",
        _gunicorns_invalid, seconds=300,
    ),
    Case(
        "H1 valid", "parsing",
        "the requests that gunicorn's corpus calls valid, with a Host where RFC 9112 wants one (without the "
        "differences that `tests/proof/test_wire_corpus.py` lists, and a Host that no DNS name can be)",
        "each is accepted",
        _gunicorns_valid, seconds=300,
    ),
    Case(
        "H1 own", "parsing",
        f"{len(REFUSED)} malformed or ambiguous requests of our own list, straight to the server",
        "each is refused with 4xx, 501 or 505; none hangs for 2 s",
        _own_list,
    ),
    Case(
        "H4", "parsing",
        "CL.TE and TE.CL in 25 spellings of the coding, straight to the server",
        "none is read as two requests; the marker route is reached 0 times",
        _ambiguous_direct, smoke=True,
    ),
    Case(
        "H5", "parsing",
        f"{len(_HOSTS)} Host fields: none, two, with path, userinfo, control bytes, 8 KiB; allow-list on",
        "400, 421 or 431 for each; the allowed one is served",
        _hosts, smoke=True,
    ),
    Case(
        "H6", "parsing",
        f"{len(_BEFORE)} requests: HEAD, unread bodies, trailers, Expect, upgrades, errors; another behind",
        "the next request is answered in its place, or `Connection: close` was said",
        _next_keeps_its_place, smoke=True,
    ),
    Case(
        "H7", "parsing",
        "3,000 random mutations of all payloads (fixed seed)",
        "0 times 500, the process survives, memory grows by less than 50 MB",
        _mutator, smoke=True, seconds=300,
    ),
)  # fmt: skip
