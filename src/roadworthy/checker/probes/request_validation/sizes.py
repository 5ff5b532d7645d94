"""Probes of request validation that are about amounts: depth of nesting, and bytes of a body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...bench.ways import PLAIN
from ...http.request import build_request
from ...http.wire import Answer, Ending
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...read.shapes import members
from ...verdict import Verdict
from ..shared.kinds import judge_kinds
from .bodies import JSON, closing, refused, send, sinks, valid, with_raw

__all__ = ("bodies_are_limited", "deep_nesting_is_harmless")

_DEPTHS = (100, 1_000)
_DEEPEST = 100_000
# Nobody parses a few hundred kilobytes of brackets into more than this unless it goes wrong.
_GROWTH = 64 << 20
# Without a declared limit: what accepts this has none.
_TRIED = 32 << 20
_PIECE = 1 << 16


class _Kind(NamedTuple):
    """How one level of nesting is opened and closed, and what is in the innermost."""

    opened: bytes
    inside: bytes
    closed: bytes

    def nested(self, depth: int) -> bytes:
        """Return JSON of this depth."""
        return self.opened * depth + self.inside + self.closed * depth

    def deepest(self, bench: Bench) -> int:
        """Return the depth at which a body is as large as it may be, or 100,000."""
        limit = bench.manifest.limits.body
        room = (limit - _ROOM) // len(self.opened + self.closed) if limit else _DEEPEST
        return max(_DEPTHS[-1], min(_DEEPEST, room))


_KINDS = {"arrays": _Kind(b"[", b"", b"]"), "objects": _Kind(b'{"a":', b"1", b"}")}
_ROOM = 2_000
"""Bytes for the members of a valid body around a field."""


@probe(
    "VAL-7",
    phase=Phase.SERVE,
    needs=(Need.CREATE,),
    samples=12,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.SIZE),
)
async def deep_nesting_is_harmless(bench: Bench) -> Verdict:
    """Nests arrays and objects up to 100,000 deep, as the body and inside a field, and watches the memory.

    No deeper than ``limits.body`` has room for, else the size is what is refused.
    """
    known = await valid(bench)
    process = bench.target.service
    before = process.resident() if process is not None else 0
    answers: dict[str, tuple[int, Answer]] = {}
    for sink in await sinks(bench, known):
        name = next(iter(sink.fields.types))
        # In a change the deepest are enough: what reads the shallow ones is the same.
        for depth in (*(() if sink.identifier else _DEPTHS), 0):
            for what, one in _KINDS.items():
                levels = depth or one.deepest(bench)
                raw = one.nested(levels)
                for place, body in (
                    ("the body", raw),
                    (f"the field {name}", with_raw(bench, name, raw, sink)),
                ):
                    key = f"{levels:,} {what} as {place}{sink.behind}"
                    answers[key] = levels, await send(bench, body, to=sink)
    _judge_depths(bench, answers)
    live = await bench.get(bench.manifest.health.live or "/")
    good = await send(bench, bench.fresh(known.route.body))
    if live.status == 0 or not good.ok:
        bench.fail("the service does not recover from deep nesting", "2xx", str(good), good, live)
    grown = (process.resident() if process is not None else 0) - before
    if grown > _GROWTH:
        bench.fail("deep nesting fills the memory", f"at most {_GROWTH >> 20} MiB more", f"{grown >> 20} MiB")
    return await closing(bench)


def _judge_depths(bench: Bench, answers: Mapping[str, tuple[int, Answer]]) -> None:
    bench.sample(len(answers))
    limit = bench.patience(2)
    late: dict[str, tuple[str, Answer]] = {}
    accepted: dict[str, tuple[str, Answer]] = {}
    failing: dict[str, tuple[str, Answer]] = {}
    silent: dict[str, tuple[str, Answer]] = {}
    for what, (depth, answer) in answers.items():
        if refused(answer):
            if answer.seconds > limit:
                late[what] = (f"{answer} after {answer.seconds:.1f} s", answer)
        elif answer.ok:
            # A hundred levels are unusual, not dangerous.
            if depth > _DEPTHS[0]:
                accepted[what] = (str(answer), answer)
        elif answer.complete:
            failing[what] = (str(answer), answer)
        else:
            silent[what] = (str(answer), answer)
    judge_kinds(bench, "the refusal of deep nesting takes long", f"within {limit:g} s", late)
    judge_kinds(bench, "deep nesting is accepted", "4xx", accepted)
    judge_kinds(bench, "deep nesting gets no answer", "4xx", silent)
    # A 5xx is the wrong status; that the service goes on is looked at afterwards.
    judge_kinds(bench, "deep nesting makes the service fail", "4xx", failing, severity=Severity.LOW)


class _Place(NamedTuple):
    """A route that takes a body, the path that it is sent to, and how findings name it."""

    route: Route
    path: str
    behind: str

    def padded(self, bench: Bench, size: int) -> bytes:
        """Return a valid body of this size: blanks before a JSON text mean nothing (RFC 8259 §2)."""
        body = json.dumps(bench.fresh(self.route.body)).encode()
        return b" " * (size - len(body)) + body

    def fields(self, bench: Bench, *more: tuple[str, str]) -> list[tuple[str, str]]:
        """Return the fields of a request with a body of JSON."""
        names = {name.lower() for name in self.route.headers}
        given = () if "content-type" in names else (("Content-Type", JSON),)
        return bench.headers([*self.route.headers.items(), *given, *more])

    async def send(self, bench: Bench, body: bytes) -> Answer:
        """Send a body with its length."""
        return await bench.request(self.route.method, self.path, self.fields(bench), body, seconds=30)


@probe(
    "VAL-8",
    phase=Phase.SERVE,
    needs=(Need.CREATE,),
    samples=3,
    seconds=120,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.SIZE),
)
async def bodies_are_limited(bench: Bench) -> Verdict:
    """Sends a valid body that is too large: with its length, after asking whether to, and in chunks.

    To the route that creates, that changes and that signs in.
    """
    known = await valid(bench)
    limit = bench.manifest.limits.body
    size = _TRIED if limit is None else limit + 1
    create, *others = [_Place(sink.route, sink.path, sink.behind) for sink in await sinks(bench, known)]
    login = bench.manifest.routes.by_role.get("login")
    # Once is enough: after many wrong passwords a service may take none.
    if login is not None and members(login.body) and bench.way is PLAIN:
        others.append(_Place(login, login.path, " by the sign-in"))
    small = await create.send(bench, create.padded(bench, min(size // 2, 1 << 16)))
    bench.control(f"a padded body below the limit is accepted ({small})", small.ok)
    severity = Severity.MEDIUM if limit is None else None
    body = create.padded(bench, size)
    expected = f"413 for {size:,} bytes" + ("" if limit else " (limits.body is not declared)")
    cases = (
        ("with its length", await create.send(bench, body)),
        ("after asking with Expect", await _expecting(bench, create, body)),
        ("in chunks, without a length", await _chunked(bench, create, body)),
    )
    for how, answer in cases:
        _judge_size(bench, how, expected, answer, severity)
    for place in others:
        await _judge_place(bench, place, size, expected, severity)
    await _judge_promise(bench, create)
    after = await send(bench, bench.fresh(known.route.body))
    bench.expect(after.ok, "the next request fails", "2xx", str(after), after)
    return await closing(bench)


async def _judge_place(
    bench: Bench, place: _Place, size: int, expected: str, severity: Severity | None
) -> None:
    """Judge another route that takes a body by what it answers to a small one."""
    small = await place.send(bench, place.padded(bench, min(size // 2, 1 << 16)))
    # A sign-in that is refused for its password was read all the same.
    if not small.ok and small.status not in {401, 403}:
        bench.note(f"not tried{place.behind}: a small body was answered {small}")
        return
    body = place.padded(bench, size)
    answers = {
        "with its length": await place.send(bench, body),
        "in chunks, without a length": await _chunked(bench, place, body),
    }
    for how, answer in answers.items():
        bench.sample()
        # Whoever answers as to the small one has read all of it.
        if answer.complete and answer.status == small.status:
            title = f"a body above the limit is accepted{place.behind} ({how})"
            bench.fail(title, expected, str(answer), answer, severity=severity)
        elif answer.complete and answer.status >= 500:
            title = f"a body above the limit is not refused{place.behind} ({how})"
            bench.fail(title, expected, str(answer), answer, severity=severity)


def _judge_size(bench: Bench, how: str, expected: str, answer: Answer, severity: Severity | None) -> None:
    bench.sample()
    if answer.ok:
        bench.fail(
            f"a body above the limit is accepted ({how})", expected, str(answer), answer, severity=severity
        )
    elif refused(answer):
        if answer.status != 413:
            bench.note(f"{how}: {answer.status} instead of 413")
    elif answer.ending in {Ending.RESET, Ending.EOF, Ending.TRUNCATED}:
        # RFC 9112 §9.6: who closes before the whole request was read may destroy its own answer.
        bench.note(f"{how}: the connection was closed ({answer.ending}), so a 413 may not have arrived")
    else:
        title = f"a body above the limit is not refused ({how})"
        bench.fail(title, expected, str(answer), answer, severity=severity)


async def _expecting(bench: Bench, to: _Place, body: bytes) -> Answer:
    """Ask with ``Expect: 100-continue``; send the body when it is wanted, or when nothing comes."""
    asked = ("Content-Length", str(len(body))), ("Expect", "100-continue")
    connection = await bench.connect()
    async with connection:
        request, data = build_request(connection.address, to.route.method, to.path, to.fields(bench, *asked))
        await connection.send(data)
        # RFC 9110 §10.1.1: a client does not wait for ever for the 100.
        if (
            not await connection.wait_bytes(12, bench.patience(1))
            or bytes(connection.received[9:12]) == b"100"
        ):
            for at in range(0, len(body), _PIECE):
                if not await connection.send(body[at : at + _PIECE]):
                    break
        return await connection.answer(request, bench.patience(20))


async def _chunked(bench: Bench, to: _Place, body: bytes) -> Answer:
    """Send a body in chunks until it ends or an answer comes."""
    connection = await bench.connect()
    async with connection:
        asked = ("Transfer-Encoding", "chunked")
        request, data = build_request(connection.address, to.route.method, to.path, to.fields(bench, asked))
        await connection.send(data)
        for at in range(0, len(body), _PIECE):
            piece = body[at : at + _PIECE]
            sent = await connection.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            if not sent or connection.over or connection.received:
                break
        else:
            await connection.send(b"0\r\n\r\n")
        return await connection.answer(request, bench.patience(20))


async def _judge_promise(bench: Bench, to: _Place) -> None:
    """Promise 100 MB and send one byte: a service that knows its limit need not wait for the rest."""
    connection = await bench.connect()
    async with connection:
        asked = to.fields(bench, ("Content-Length", "100000000"))
        request, data = build_request(connection.address, to.route.method, to.path, asked)
        await connection.send(data + b" ")
        answer = await connection.answer(request, bench.patience(1))
    if answer.status >= 500 and answer.status not in {501, 503, 504}:
        bench.fail("a declared body of 100 MB makes the service fail", "413", str(answer), answer)
    elif answer.status == 0:
        bench.note("the service waits for a body of 100 MB, although its length is known")
