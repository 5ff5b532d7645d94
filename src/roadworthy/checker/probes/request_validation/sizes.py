"""Probes of request validation that are about amounts: depth of nesting, and bytes of a body."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from ....checklist import Severity
from ...bench import Bench
from ...http.request import build_request
from ...http.wire import Answer, Ending
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...verdict import Verdict
from ..shared.kinds import judge_kinds
from .bodies import JSON, Valid, closing, refused, send, valid, with_raw

__all__ = ("bodies_are_limited", "deep_nesting_is_harmless")

_DEPTHS = (100, 1_000, 100_000)
# Nobody parses a few hundred kilobytes of brackets into more than this unless it goes wrong.
_GROWTH = 64 << 20
# Without a declared limit: what accepts this has none.
_TRIED = 32 << 20
_PIECE = 1 << 16


def _nested(depth: int) -> Iterator[tuple[str, bytes]]:
    yield "arrays", b"[" * depth + b"]" * depth
    yield "objects", b'{"a":' * depth + b"1" + b"}" * depth


@probe("VAL-7", phase=Phase.SERVE, needs=(Need.CREATE,), samples=12)
async def deep_nesting_is_harmless(bench: Bench) -> Verdict:
    """Nests arrays and objects up to 100,000 deep, as the body and inside a field, and watches the memory."""
    known = await valid(bench)
    name = next(iter(known.sent))
    process = bench.target.service
    before = process.resident() if process is not None else 0
    answers: dict[str, tuple[int, Answer]] = {}
    for depth in _DEPTHS:
        for what, raw in _nested(depth):
            for place, body in (("the body", raw), (f"the field {name}", with_raw(bench, name, raw))):
                answers[f"{depth:,} {what} as {place}"] = depth, await send(bench, body)
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


def _padded(known: Valid, bench: Bench, size: int) -> bytes:
    """Return a valid body of this size: blanks before a JSON text mean nothing (RFC 8259 §2)."""
    body = json.dumps(bench.fresh(known.route.body)).encode()
    return b" " * (size - len(body)) + body


@probe("VAL-8", phase=Phase.SERVE, needs=(Need.CREATE,), samples=3, seconds=120)
async def bodies_are_limited(bench: Bench) -> Verdict:
    """Sends a valid body that is too large: with its length, after asking whether to, and in chunks."""
    known = await valid(bench)
    limit = bench.manifest.limits.body
    size = _TRIED if limit is None else limit + 1
    small = await send(bench, _padded(known, bench, min(size // 2, 1 << 16)))
    bench.control(f"a padded body below the limit is accepted ({small})", small.ok)
    severity = Severity.MEDIUM if limit is None else None
    body = _padded(known, bench, size)
    expected = f"413 for {size:,} bytes" + ("" if limit else " (limits.body is not declared)")
    cases = (
        ("with its length", await send(bench, body, seconds=30)),
        ("after asking with Expect", await _expecting(bench, known, body)),
        ("in chunks, without a length", await _chunked(bench, known, body)),
    )
    for how, answer in cases:
        _judge_size(bench, how, expected, answer, severity)
    await _judge_promise(bench, known)
    after = await send(bench, bench.fresh(known.route.body))
    bench.expect(after.ok, "the next request fails", "2xx", str(after), after)
    return await closing(bench)


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


def _head(bench: Bench, known: Valid, *more: tuple[str, str]) -> list[tuple[str, str]]:
    fields = [pair for pair in known.route.headers.items() if pair[0].lower() != "content-type"]
    return bench.headers([*fields, ("Content-Type", JSON), *more])


async def _expecting(bench: Bench, known: Valid, body: bytes) -> Answer:
    """Ask with ``Expect: 100-continue``; send the body when it is wanted, or when nothing comes."""
    asked = ("Content-Length", str(len(body))), ("Expect", "100-continue")
    connection = await bench.connect()
    async with connection:
        request, data = build_request(
            connection.address, known.route.method, known.route.path, _head(bench, known, *asked)
        )
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


async def _chunked(bench: Bench, known: Valid, body: bytes) -> Answer:
    """Send a body in chunks until it ends or an answer comes."""
    connection = await bench.connect()
    async with connection:
        asked = ("Transfer-Encoding", "chunked")
        request, data = build_request(
            connection.address, known.route.method, known.route.path, _head(bench, known, asked)
        )
        await connection.send(data)
        for at in range(0, len(body), _PIECE):
            piece = body[at : at + _PIECE]
            sent = await connection.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            if not sent or connection.over or connection.received:
                break
        else:
            await connection.send(b"0\r\n\r\n")
        return await connection.answer(request, bench.patience(20))


async def _judge_promise(bench: Bench, known: Valid) -> None:
    """Promise 100 MB and send one byte: a service that knows its limit need not wait for the rest."""
    connection = await bench.connect()
    async with connection:
        asked = _head(bench, known, ("Content-Length", "100000000"))
        request, data = build_request(connection.address, known.route.method, known.route.path, asked)
        await connection.send(data + b" ")
        answer = await connection.answer(request, bench.patience(1))
    if answer.status >= 500 and answer.status not in {501, 503, 504}:
        bench.fail("a declared body of 100 MB makes the service fail", "413", str(answer), answer)
    elif answer.status == 0:
        bench.note("the service waits for a body of 100 MB, although its length is known")
