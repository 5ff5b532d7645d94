"""The self-test at start: a broken promise stops the service before it serves, and is named.

The layer is driven around a small built-in app; of the user's app only the route table and the list of
middleware are read. No request is sent into the user's app.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from ..settings import Rate
from ..types import Headers, Message, Receive, Scope, Send
from .exchange import Exchange, current_exchange
from .frameworks.generic import GenericFramework

if TYPE_CHECKING:
    from .pipeline import Pass

__all__ = ("BrokenPromiseError", "self_test")

# Bound once: a test of the service may put something in the place of `json.loads`.
_decode = json.JSONDecoder().decode
_log = logging.getLogger("roadworthy.selftest")
_CANARY = "self-test canary"
_ORIGIN = b"https://self-test.example"


class BrokenPromiseError(Exception):
    """Raised at start when the layer would not do what it promises; the message says what and why."""


async def _small_app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/fail":
        raise RuntimeError(_CANARY)
    if current_exchange.get() is None:
        raise RuntimeError("no exchange")
    body = b'{"ok":true}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def self_test(tested: Pass) -> None:
    """Prove the layer's promises on a small app, and that its rules cover the routes of the real one.

    Raises:
        BrokenPromiseError: one does not hold.
    """
    _no_debug_in_production(tested)
    _rules_cover_their_routes(tested)
    _name_middleware(tested)

    from .asgi.http import Conversation  # the adapter knows the pass, which knows this module's neighbours

    changes = {
        "rate_limit": Rate((2, 3600)),
        "redis_url": None,
        "allowed_hosts": (),
        "cors_origins": (_ORIGIN.decode(),),
        "env": "production",
        "security_headers": True,
        "request_id_header": True,
    }
    probe = type(tested)(
        _small_app, GenericFramework(_small_app), tested.settings.model_copy(update=changes), (), alone=True
    )
    probe.shutdown.serving_quietly()

    async def ask(path: str) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = _scope(path)
        await Conversation().run(probe, Exchange.of_http(scope), scope, receive, send)
        head: Headers = sent[0]["headers"]
        return sent[0]["status"], dict(head), b"".join(one.get("body", b"") for one in sent[1:])

    status, headers, _ = await ask("/ok")
    _promise(status == 200, "a request passes through the layer", f"it was answered {status}")
    for name in (b"x-request-id", b"x-content-type-options", b"access-control-allow-origin"):
        _promise(name in headers, f"every response carries {name.decode()}", "a 200 came without it")
    status, headers, body = await ask("/fail")
    _promise(status == 500, "an unhandled exception becomes a 500", f"it was answered {status}")
    _promise(_CANARY.encode() not in body, "no exception text leaves", "a 500 carried it")
    _promise(isinstance(_decode(body.decode()), dict), "errors have one JSON shape", "a 500 had none")
    for name in (b"x-request-id", b"access-control-allow-origin"):
        _promise(name in headers, f"errors carry {name.decode()}", "a 500 came without it")
    status, headers, _ = await ask("/ok")
    _promise(status == 429, "the limit holds", f"the request beyond it was answered {status}")
    _promise(b"retry-after" in headers, "a 429 says when to come back", "it came without Retry-After")
    probe.deadlines.stop()


def _scope(path: str) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"origin", _ORIGIN)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
    }


def _promise(holds: bool, promise: str, seen: str) -> None:
    if not holds:
        raise BrokenPromiseError(f"roadworthy's self-test failed: {promise}, but {seen}")


def _no_debug_in_production(tested: Pass) -> None:
    if tested.settings.env == "production" and tested.framework.debug:
        raise BrokenPromiseError(
            f"roadworthy's self-test failed: no stack leaves in production, but the {tested.framework.name} "
            "app has debug on and shows its own; turn it off, or set ROADWORTHY_ENV=development"
        )


def _rules_cover_their_routes(tested: Pass) -> None:
    for methods, template, rule in tested.rules:
        _promise(
            tested.table.covers(methods, template, rule),
            f"the rule of {','.join(sorted(methods))} {template} covers it",
            "another rule covers the same; keep one of them",
        )


def _name_middleware(tested: Pass) -> None:
    for one in getattr(tested.app, "user_middleware", ()):
        kind = getattr(one, "cls", None)
        if any(base.__name__ == "BaseHTTPMiddleware" for base in getattr(kind, "__mro__", ())):
            _log.warning(
                "middleware %s is a BaseHTTPMiddleware: context variables set in handlers do not reach it, "
                "and work goes on unseen after a disconnect; a pure ASGI middleware has neither fault",
                getattr(kind, "__name__", "?"),
            )
