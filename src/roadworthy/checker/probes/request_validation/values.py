"""Probes of request validation that are about values: numbers and texts at their limits."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from ....checklist import Severity
from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...verdict import Verdict
from .bodies import Valid, closing, found_in, read_back, refused, send, valid, with_raw

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


async def _judge_number(bench: Bench, name: str, what: str, raw: str, *, numeric: bool) -> None:
    answer = await send(bench, with_raw(bench, name, raw.encode()))
    bench.sample()
    expected = "4xx, or 2xx with the same value"
    if refused(answer):
        return
    if not answer.ok:
        bench.fail(f"{what} makes the service fail", expected, str(answer), answer)
        return
    stored = await read_back(bench, answer)
    there, kept = _exact(stored, name)
    if raw in _NOT_JSON and (there or numeric):
        title = f"{what} is accepted, although it is no JSON (RFC 8259 §6)"
        bench.fail(title, "4xx", str(stored), answer, stored, severity=Severity.MEDIUM)
    elif there and not _equal(kept, raw):
        if raw == "1e-400" and _equal(kept, "0"):
            bench.note("1e-400 is kept as 0")
            return
        got = str(kept)[:60]
        title = f"{what} is changed silently"
        bench.fail(title, expected, got, answer, stored, severity=Severity.MEDIUM)


@probe("VAL-5", phase=Phase.SERVE, needs=(Need.CREATE,), samples=10)
async def numbers_are_exact(bench: Bench) -> Verdict:
    """Sends NaN, infinities and numbers that a double or 64 bits cannot hold, and reads back what is kept."""
    known = await valid(bench)
    numeric = [name for name, kind in known.types.items() if kind in {"integer", "number"}][:2]
    if not numeric:
        bench.note("no field of the body is a number, so they were sent where a text or nothing is expected")
    for name in numeric or [*list(known.sent)[:1], bench.unique()]:
        for what, raw in _NUMBERS:
            await _judge_number(bench, name, what, raw, numeric=bool(numeric))
    return await closing(bench)


# Of each: what it is, the bytes between the quotes, and the text that they stand for, or None when they stand
# for none.
_TEXTS: tuple[tuple[str, bytes, str | None], ...] = (
    ("a byte that is no UTF-8", b"\xff\xfe", None),
    ("overlong UTF-8", b"\xc0\xaf", None),
    ("a surrogate as UTF-8", b"\xed\xa0\x80", None),
    ("half of a surrogate pair", b"\\ud800", "\ud800"),
    ("NUL", b"\\u0000", "\0"),
    ("an emoji", "\U0001f600".encode(), "\U0001f600"),
    ("an emoji as a surrogate pair", b"\\ud83d\\ude00", "\U0001f600"),
    ("combining characters", "e\u0301o\u0308".encode(), "e\u0301o\u0308"),
    ("text from right to left", "\u05d0\u202e\u0639".encode(), "\u05d0\u202e\u0639"),
    ("the last character of a plane", b"\\uffff", "\uffff"),
    ("markup", b"<script>'\\\";--</script>", "<script>'\";--</script>"),
    ("a text of 1 MB", b"a" * 1_000_000, "a" * 1_000_000),
)


async def _judge_text(bench: Bench, known: Valid, name: str, case: tuple[str, bytes, str | None]) -> bool:
    """Judge one text in one field; return whether it was kept."""
    what, raw, meant = case
    start = bench.unique()
    answer = await send(bench, with_raw(bench, name, b'"' + start.encode() + raw + b'"'))
    bench.sample()
    if refused(answer):
        return False
    if not answer.ok:
        bench.fail(f"{what} makes the service fail", "4xx, or 2xx with the same text", str(answer), answer)
        return False
    stored = await read_back(bench, answer)
    there, kept = found_in(stored.json(), name)
    if not there and name not in known.shown:
        return False
    wanted = None if meant is None else start + meant
    if kept != wanted:
        title = f"{what} is changed silently" if meant is not None else f"{what} is accepted"
        expected = "4xx" if meant is None else f"4xx, or {ascii(wanted)[:80]}"
        bench.fail(title, expected, ascii(kept)[:80], answer, stored)
        return False
    return True


@probe("VAL-6", phase=Phase.SERVE, needs=(Need.CREATE,), samples=12)
async def texts_are_exact(bench: Bench) -> Verdict:
    """Sends invalid UTF-8, half a surrogate pair, NUL, emoji and a long text, and reads back what is kept."""
    known = await valid(bench)
    names = [name for name, kind in known.types.items() if kind == "string"][:3]
    if not names:
        return bench.inconclusive("no field of the valid body is a text")
    kept: set[str] = set()
    for name in names:
        for case in _TEXTS:
            if await _judge_text(bench, known, name, case):
                kept.add(case[0])
    bench.note(f"kept exactly: {', '.join(sorted(kept)) or 'none of them'}; the rest is refused")
    return await closing(bench)
