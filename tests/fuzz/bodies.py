"""Targets for bodies and keys: JSON as the layer judges it, and idempotency keys."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable
from typing import Any

from roadworthy.errors import ValidationError
from roadworthy.layer.request_validation import RequestValidation
from roadworthy.patterns.idempotency import Answer, idempotent
from roadworthy.settings import Settings
from roadworthy.types import Receive, Scope, Send
from tests.asgi_driver import ask
from tests.layer.conftest import make_exchange

from .target import Pieces, Target

__all__ = ("TARGETS",)

_validation = RequestValidation(Settings(_env_file=None))
_NESTING = 200


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _strict(body: bytes, of_object: Callable[[list[tuple[str, Any]]], Any]) -> None:
    """Read JSON as RFC 8259 has it, with Python's own reader.

    Parameters:
        of_object: what is looked at of an object's members, given as pairs: a name may stand there twice.

    Raises:
        ValueError: it is none, or nothing that every handler and database can carry.
        RecursionError: it is nested more deeply than the layer allows.
    """
    value = json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=of_object)
    pending, depth = [(value, 0)], 0
    while pending:
        one, level = pending.pop()
        depth = max(depth, level)
        if isinstance(one, dict):
            pending += [(inner, level + 1) for pair in one.items() for inner in pair]
        elif isinstance(one, (list, tuple)):
            pending += [(inner, level + 1) for inner in one]
        elif isinstance(one, str):
            one.encode()
            if "\0" in one:
                raise ValueError("NUL")
        elif isinstance(one, float) and math.isinf(one):
            raise ValueError("beyond a double")
    if depth >= _NESTING:
        raise RecursionError


def _is_json(body: bytes, of_object: Callable[[list[tuple[str, Any]]], Any]) -> bool:
    try:
        _strict(body, of_object)
    except ValueError:
        return False
    return True


def json_body(data: bytes) -> None:
    """A body is accepted where it is JSON that everything can carry, and only where a handler reads that."""
    verdict = _validation.judge(make_exchange("POST"), data)
    assert verdict is None or verdict.status in (400, 422)
    try:
        if verdict is None:
            # A handler sees the last of several members of one name; an empty body is its own affair.
            assert not data or _is_json(data, dict), "accepted, though not everything can carry it"
        else:
            assert not _is_json(data, list), "refused, though everything can carry it"
    except RecursionError:
        return


class _Answers:
    """Keeps answers in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Answer] = {}

    async def find(self, principal: str, key: str, now: float) -> Answer | None:
        return self.kept.get((principal, key))

    async def add(self, principal: str, key: str, answer: Answer, now: float) -> None:
        self.kept[principal, key] = answer


_loop = asyncio.new_event_loop()


def idempotency_key(data: bytes) -> None:
    """A key of the form of the draft counts a request once; any other is refused before the app sees it."""
    calls: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        calls.append(message["body"])
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(calls)})

    pieces = Pieces(data)
    repeated = pieces.number(4) == 3
    key = pieces.rest()
    guarded = idempotent(app, answers=_Answers())
    headers = [(b"idempotency-key", key)] * (2 if repeated else 1)
    plain = key.strip()
    plain = plain[1:-1] if len(plain) > 1 and plain[:1] == plain[-1:] == b'"' else plain
    valid = re.fullmatch(rb"[\x21-\x7e]{1,255}", plain) is not None and not repeated

    async def twice() -> list[bytes]:
        return [(await ask(guarded, "POST", "/x", headers, b"body")).body for _ in range(2)]

    try:
        bodies = _loop.run_until_complete(twice())
    except ValidationError:
        assert not valid
        assert calls == []
    else:
        assert valid
        assert (bodies, calls) == ([b"1", b"1"], [b"body"])


TARGETS = (
    Target(
        "json-body",
        json_body,
        (
            b'{"a": [1, -0.5e+10, true, null, "\\ud83d\\ude00 \xc3\xa9"]}',
            b'"\\ud800"',
            b'["\\u0000"]',
            b"1e999",
            b"-" + b"9" * 309,
            b"[" * 150 + b"]" * 150,
            b'{"hash": "1e300", "n": 1e300}',
            b"\xef\xbb\xbf{}",
            b"\xff",
        ),
        (
            *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"true", b"NaN", b"-Infinity", b"1e30"),
            *(b"1E+999", b"-", b"0", b".", b"e", b"9" * 40, b"0" * 40, b"\\u", b"d800", b"dc00", b"0000"),
            *(b"\\\\", b"\\/", b"\xc3\xa9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x7f", b"\0", b"\t"),
            *(b"\n ", b'"a":', b"[" * 50),
            b"]" * 50,
        ),
    ),
    Target(
        "idempotency-key",
        idempotency_key,
        (b'\0"8e03978e-40d5-43dd-bc93-6894a57f9324"', b"\0a", b'\0"', b'\0""', b"\3a", b"\0" + b"k" * 256),
        (b'"', b" ", b"\t", b"\\", b"k" * 127, b"\x7f", b"\xff", b"\n", b"\0"),
    ),
)  # fmt: skip
