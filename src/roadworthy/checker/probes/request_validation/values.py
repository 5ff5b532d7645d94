"""Probes of request validation that are about values: numbers and texts at their limits."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...verdict import Verdict
from .bodies import Sink, Valid, closing, found_in, read_back, refused, send, sinks, valid, with_raw

__all__ = ("numbers_are_exact", "texts_are_exact")

# Of each: what it is, and how it stands in the body.
_NUMBERS: tuple[tuple[str, str], ...] = (
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    ("-Infinity", "-Infinity"),
    ("-0", "-0"),
    ("1e400, beyond a double", "1e400"),
    ("1e-400, below a double", "1e-400"),
    ("2^53 + 1", str(2**53 + 1)),
    ("2^63", str(2**63)),
    ("10^30", str(10**30)),
    ("a number of 5,000 digits", "9" * 5_000),
)
_NUMERIC = frozenset({"integer", "number"})
_NOT_JSON = frozenset({"NaN", "Infinity", "-Infinity"})


def _exact(answer: Answer, name: str) -> tuple[bool, Any]:
    """Read a member with its number as it is written, which a double would round."""
    try:
        document = json.loads(answer.body, parse_float=Decimal, parse_int=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        return False, None
    return found_in(document, name)


def _equal(kept: Any, raw: str) -> bool:
    try:
        return Decimal(str(kept)) == Decimal(raw)
    except InvalidOperation:
        return False


async def _judge_number(bench: Bench, sink: Sink, name: str, what: str, raw: str, *, numeric: bool) -> None:
    answer = await send(bench, with_raw(bench, name, raw.encode(), sink), to=sink)
    bench.sample()
    expected = "4xx, or 2xx with the same value"
    if refused(answer):
        return
    if not answer.ok:
        bench.fail(f"{what} makes the service fail{sink.behind}", expected, str(answer), answer)
        return
    stored = await read_back(bench, answer, sink)
    there, kept = _exact(stored, name)
    if raw in _NOT_JSON and (there or numeric):
        title = f"{what} is accepted{sink.behind}, although it is no JSON (RFC 8259 §6)"
        bench.fail(title, "4xx", str(stored), answer, stored, severity=Severity.MEDIUM)
    elif there and not _equal(kept, raw):
        if raw == "1e-400" and _equal(kept, "0"):
            bench.note("1e-400 is kept as 0")
            return
        got = str(kept)[:60]
        title = f"{what} is changed silently{sink.behind}"
        bench.fail(title, expected, got, answer, stored, severity=Severity.MEDIUM)


_VARIED = (Dimension.METHOD, Dimension.ROUTE, Dimension.VALUE)


@probe("VAL-5", phase=Phase.SERVE, needs=(Need.CREATE,), samples=10, varies=_VARIED)
async def numbers_are_exact(bench: Bench) -> Verdict:
    """Sends NaN, infinities and numbers that a double or 64 bits cannot hold, and reads back what is kept."""
    known = await valid(bench)
    for sink in await sinks(bench, known):
        # One field more of the route that creates: the other has the same fields.
        most = 1 if sink.identifier else 2
        numeric = [name for name, kind in sink.fields.types.items() if kind in _NUMERIC][:most]
        if not numeric:
            bench.note(f"no field is a number{sink.behind}, so numbers were sent where others are expected")
        for name in numeric or [*list(sink.fields.types)[:1], *([] if sink.identifier else [bench.unique()])]:
            for what, raw in _NUMBERS:
                await _judge_number(bench, sink, name, what, raw, numeric=bool(numeric))
    return await closing(bench)


class _Text(NamedTuple):
    """A text: what it is, the bytes between the quotes, and what they stand for, None when for nothing.

    Behind a unique start, and before it a copy of what stands behind it where ``around`` is set.
    """

    what: str
    raw: bytes
    meant: str | None
    around: bool = False


_TEXTS = (
    _Text("a byte that is no UTF-8", b"\xff\xfe", None),
    _Text("overlong UTF-8", b"\xc0\xaf", None),
    _Text("a surrogate as UTF-8", b"\xed\xa0\x80", None),
    _Text("half of a surrogate pair", b"\\ud800", "\ud800"),
    _Text("NUL", b"\\u0000", "\0"),
    _Text("an emoji", "\U0001f600".encode(), "\U0001f600"),
    _Text("an emoji as a surrogate pair", b"\\ud83d\\ude00", "\U0001f600"),
    _Text("combining characters", "e\u0301o\u0308".encode(), "e\u0301o\u0308"),
    _Text("text from right to left", "\u05d0\u202e\u0639".encode(), "\u05d0\u202e\u0639"),
    _Text("the last character of a plane", b"\\uffff", "\uffff"),
    _Text("markup", b"<script>'\\\";--</script>", "<script>'\";--</script>"),
    _Text("text with blanks at both ends", b"  ", "  ", around=True),
    _Text("a text of 1 MB", b"a" * 1_000_000, "a" * 1_000_000),
)
_PADDING = 2_000


async def _judge_text(bench: Bench, known: Valid, sink: Sink, name: str, case: _Text, padding: int) -> bool:
    """Judge one text in one field; return whether it was kept."""
    start = bench.unique()
    text = (case.raw if case.around else b"") + start.encode() + case.raw
    answer = await send(bench, with_raw(bench, name, b'"' + text + b'"', sink, padding), to=sink)
    what = f"{case.what}{sink.behind}"
    bench.sample()
    if refused(answer):
        return False
    if not answer.ok:
        bench.fail(f"{what} makes the service fail", "4xx, or 2xx with the same text", str(answer), answer)
        return False
    stored = await read_back(bench, answer, sink)
    there, kept = found_in(stored.json(), name)
    if not there and name not in known.shown:
        return False
    wanted = None if case.meant is None else (case.meant if case.around else "") + start + case.meant
    if kept == wanted:
        return True
    if case.around and kept == start:
        # Many frameworks trim texts of forms; what was sent is not what is kept, all the same.
        bench.warn(f"{what} is trimmed", ascii(wanted), ascii(kept), answer, stored, severity=Severity.LOW)
        return False
    title = f"{what} is changed silently" if case.meant is not None else f"{what} is accepted"
    expected = "4xx" if case.meant is None else f"4xx, or {ascii(wanted)[:80]}"
    bench.fail(title, expected, ascii(kept)[:80], answer, stored)
    return False


@probe("VAL-6", phase=Phase.SERVE, needs=(Need.CREATE,), samples=12, varies=(*_VARIED, Dimension.SIZE))
async def texts_are_exact(bench: Bench) -> Verdict:
    """Sends invalid UTF-8, half a surrogate pair, NUL, emoji and a long text, and reads back what is kept."""
    known = await valid(bench)
    kept: set[str] = set()
    for sink in await sinks(bench, known):
        most = 1 if sink.identifier else 3
        names = [name for name, kind in sink.fields.types.items() if kind == "string"][:most]
        if not names and not sink.identifier:
            return bench.inconclusive("no field of the valid body is a text")
        for name in names:
            for case in _TEXTS:
                # Bytes that stand for nothing are sent in a body of one read, and in one of several.
                paddings = (0, _PADDING) if case.meant is None else (_PADDING if sink.identifier else 0,)
                for padding in paddings:
                    if await _judge_text(bench, known, sink, name, case, padding):
                        kept.add(case.what)
    bench.note(f"kept exactly: {', '.join(sorted(kept)) or 'none of them'}; the rest is refused")
    return await closing(bench)
