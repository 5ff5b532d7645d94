"""Idempotency-Key: a request repeated with the same key is carried out once.

The header is that of draft-ietf-httpapi-idempotency-key-header.

The answer is kept in the transaction of the write itself. So there is no lock to expire: a process that is
killed has neither written nor kept anything, and the repetition is carried out; one that has committed has
kept its answer, and the repetition gets that. A refusal (400 and above) is undone as a whole and not kept:
nothing has happened, so the repetition is a new attempt.

A key belongs to whoever sent it: the same key of another client is another key, or one client would read the
other's answer (section 5 of the draft, Security Considerations). Fields that are for one connection or one
client, as ``Set-Cookie``, are not kept.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from ..errors import ConflictError, FieldError, ValidationError
from ..layer.request_fields import join_fields
from ..layer.routes import path_below, template_pattern
from ..layer.user_key import RequestInfo, checked_function, checked_key
from ..types import ASGIApp, Headers, Message, Receive, Scope, Send
from ._principal import whose
from ._request import name_route
from .transactions import UnitOfWork, unit_of_work

__all__ = ("Answer", "AnswerStore", "KeyInUseError", "KeyReusedError", "Principal", "idempotent")

Principal: TypeAlias = Callable[[RequestInfo], str | None]
"""Gets the request and returns who it is for, or None. Only what is verified counts."""

_KEY = b"idempotency-key"
_LONGEST_KEY = 255
"""Characters: the limit of the drafts' best-known implementation (Stripe), and of an indexed text column
anywhere."""

_VISIBLE = re.compile(rb"[\x21-\x7e]+")
_REPLAYED = (b"idempotency-replayed", b"true")

_NOT_KEPT = frozenset(
    {
        # A session that began or was renewed with the first response may have ended since.
        b"set-cookie",
        b"clear-site-data",
        b"authentication-info",
        # They speak of the message they came with (RFC 9110 §5.6.7, §6.6.1 and §7.6.1).
        b"age",
        b"connection",
        b"date",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Response fields that a repetition does not get."""


class KeyInUseError(ConflictError):
    """Raised when the first request with this key is still being carried out (section 2.7 of the draft)."""

    code = "IDEMPOTENCY_KEY_IN_USE"
    default_message = "A request with this Idempotency-Key is still being carried out"


class KeyReusedError(ValidationError):
    """Raised when the key came with another method, path or body before (section 2.7 of the draft)."""

    default_message = "Validation failed"

    def __init__(self) -> None:
        message = "This Idempotency-Key belongs to another request; use a new key for a new request"
        super().__init__(errors=[FieldError("header/idempotency-key", message, "idempotency_key_reused")])


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that is kept for repetitions.

    Parameters:
        fingerprint: of the request: its method, target and body.
        status: of the response.
        headers: what the app itself set, without what is for one connection or one client.
        body: all of it.
        expires: seconds since the epoch, when it is forgotten.
    """

    fingerprint: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    expires: float


class AnswerStore(Protocol):
    """Where answers are kept: in the same store as the rows, or COMMIT could not span both."""

    async def find(self, principal: str, key: str, now: float) -> Answer | None:
        """Return the unexpired answer, or None."""
        ...

    async def add(self, principal: str, key: str, answer: Answer, now: float) -> None:
        """Keep an answer, inside the current unit of work, and forget what has expired."""
        ...


def idempotent(
    app: ASGIApp,
    *,
    answers: AnswerStore,
    paths: Iterable[str] | None = None,
    methods: Collection[str] = frozenset({"POST"}),
    principal: Principal | None = None,
    expires_after: float = 24 * 3600.0,
    longest_answer: int = 1 << 20,
) -> ASGIApp:
    """Honour ``Idempotency-Key`` on an ASGI app: a middleware, ``app.add_middleware(idempotent, answers=…)``.

    A request with a key is one unit of work, which the services' own join; its answer is kept in it and sent
    when it is committed. Requests without a key pass through. A repetition gets the first status, fields and
    body, and ``Idempotency-Replayed: true``.

    Parameters:
        app: the app; inside the layer, which encodes the errors.
        answers: where answers are kept; :class:`roadworthy.patterns.stores.answers.TableAnswers`.
        paths: templates of the paths that honour keys (``"/users/{id}/posts"``); all when left out.
        methods: that honour keys; the others are idempotent themselves (RFC 9110 §9.2.2), but for PATCH.
        principal: a plain function that gets the request and returns whose key it is. Give one where
            credentials change within ``expires_after``: tokens that are refreshed, session cookies that are
            renewed with each response. Without it, a key belongs to ``user_key`` of
            :func:`roadworthy.roadworthy` where a rule asked for it, else to the request's
            ``Authorization``, else to its session cookies, else to all its cookies; requests without any
            share one space of keys.
        expires_after: seconds that an answer is kept, at least 1. A day is longer than any client tries
            again.
        longest_answer: bytes of an answer that can be kept; above it the request fails and is undone.

    Raises:
        TypeError: ``principal`` is no plain function of a request.
        ValueError: a parameter is out of its range.
    """
    chosen_principal = None if principal is None else checked_function("principal", principal)
    if expires_after < 1:
        raise ValueError(f"expires_after is at least 1 second, not {expires_after}")
    chosen = None if paths is None else [(template_pattern(path), path) for path in paths]
    named = frozenset(methods)
    running: set[tuple[str, str]] = set()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        given = _given(scope) if scope["type"] == "http" and scope["method"] in named else None
        root = scope.get("root_path", "")
        route = _route(chosen, path_below(root, scope["path"])) if given else None
        if not given or route is None:
            await app(scope, receive, send)
            return
        if root == scope.get("app_root_path", root):
            # For repetitions, which come to no route: they are recorded and counted under it. In a mounted
            # app the template is only the end of the route's.
            name_route(route)
        key = _key(given)
        who = _short(_principal(scope, chosen_principal) or "")
        body = await _whole_body(receive)
        if body is None:
            return
        if (who, key) in running:
            raise KeyInUseError(headers={"Retry-After": "1"})
        running.add((who, key))
        # Before the app's background work: a repetition need not wait for that.
        release = partial(running.discard, (who, key))
        try:
            request = _Request(answers, who, key, _fingerprint(scope, body), expires_after)
            # Before a turn to write is waited for: most repetitions find their answer here.
            if await request.replay(send):
                return
            async with unit_of_work() as unit:
                # Again, in the transaction: another process may have committed in between.
                if await request.replay(send, unit):
                    return
                response = _Response(request, unit, send, longest_answer, release)
                try:
                    await app(scope, _Again(body, receive), response)
                except Exception:
                    if response.failure is not None:
                        raise response.failure from None
                    raise
                # Still open where the app left its response unfinished, as a stream whose client has gone:
                # committed without an answer to keep, a repetition would be carried out again.
                await unit.rollback()
        finally:
            release()

    return serve


class _Request:
    """A request with a key."""

    def __init__(
        self, answers: AnswerStore, principal: str, key: str, fingerprint: str, lifetime: float
    ) -> None:
        self._answers = answers
        self._principal = principal
        self._key = key
        self._fingerprint = fingerprint
        self._lifetime = lifetime

    async def replay(self, send: Send, unit: UnitOfWork | None = None) -> bool:
        """Send the answer of the first request with this key, if there is one; end ``unit`` before."""
        kept = await self._answers.find(self._principal, self._key, time.time())
        if kept is None:
            return False
        if unit is not None:
            await unit.rollback()
        if kept.fingerprint != self._fingerprint:
            raise KeyReusedError
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.headers]
        await send({"type": "http.response.start", "status": kept.status, "headers": [*headers, _REPLAYED]})
        await send({"type": "http.response.body", "body": kept.body})
        return True

    async def keep(self, status: int, headers: Headers, body: bytes) -> None:
        """Keep the answer, in the current unit of work."""
        now = time.time()
        text = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in headers
            if name.lower() not in _NOT_KEPT
        )
        answer = Answer(self._fingerprint, status, text, body, now + self._lifetime)
        await self._answers.add(self._principal, self._key, answer, now)


class _Response:
    """Takes the app's messages, and sends them when what they report has been committed."""

    def __init__(
        self, request: _Request, unit: UnitOfWork, send: Send, longest: int, release: Callable[[], None]
    ) -> None:
        self._request = request
        self._unit = unit
        self._send = send
        self._longest = longest
        self._release = release
        self._start: Message | None = None
        self._body = bytearray()
        self.failure: Exception | None = None
        """Why it was not committed."""

    async def __call__(self, message: Message) -> None:
        """Take one message (ASGI ``send``)."""
        kind = message["type"]
        if kind == "http.response.start":
            if message["status"] < 400:
                self._start = message
                return
            await self._unit.rollback()
            self._release()
        elif kind == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if len(self._body) > self._longest:
                raise RuntimeError(
                    f"an answer above {self._longest} bytes cannot be kept for its Idempotency-Key; "
                    "raise longest_answer of idempotent(), or take the path out of its paths"
                )
            if not message.get("more_body", False):
                await self._complete(self._start)
            return
        await self._send(message)

    async def _complete(self, start: Message) -> None:
        body, self._start = bytes(self._body), None
        try:
            self._unit.expect_whole()
            await self._request.keep(start["status"], list(start.get("headers", ())), body)
            await self._unit.settle(start["status"])
        except Exception as error:
            # Frameworks turn a known error that comes out of send into another; it is raised again outside.
            self.failure = self._unit.translate(error)
            raise _NotCommittedError from error
        self._release()
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


class _NotCommittedError(Exception):
    """Ends the app's work on a response that is not going to be sent."""


class _Again:
    """Gives the app the body that was read before it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        """Give one message (ASGI ``receive``)."""
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


def _route(chosen: list[tuple[re.Pattern[str], str]] | None, path: str) -> str | None:
    if chosen is None:
        return ""
    return next((template for pattern, template in chosen if pattern.fullmatch(path)), None)


def _given(scope: Scope) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == _KEY]


def _key(given: list[bytes]) -> str:
    key = given[0].strip()
    if len(key) > 1 and key[:1] == key[-1:] == b'"':
        key = key[1:-1]  # the draft's form: a string of RFC 9651
    if len(given) > 1 or not _VISIBLE.fullmatch(key) or len(key) > _LONGEST_KEY:
        message = f"Input should be one key of 1 to {_LONGEST_KEY} visible ASCII characters"
        raise ValidationError(errors=[FieldError("header/idempotency-key", message, "idempotency_key")])
    return key.decode("ascii")


def _principal(scope: Scope, principal: Principal | None) -> str | None:
    fields = join_fields(scope["headers"])[0]
    if principal is None:
        return whose(fields)
    client = scope.get("client")
    request = RequestInfo(
        fields, scope["method"], scope["path"], scope.get("query_string", b""), client[0] if client else ""
    )
    return checked_key("principal", principal(request))


def _short(principal: str) -> str:
    return principal if len(principal) <= 255 else hashlib.sha256(principal.encode()).hexdigest()


async def _whole_body(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _fingerprint(scope: Scope, body: bytes) -> str:
    target = scope.get("raw_path") or scope["path"].encode()
    parts = (scope["method"].encode(), target, scope.get("query_string", b""), body)
    # Each with its length: no two requests run together into one text.
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()
