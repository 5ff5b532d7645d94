"""Traces: takes the caller's W3C trace context, hands it on, makes spans where OpenTelemetry runs.

Without OpenTelemetry the exchange's record is its span: it names the trace and its own span id, and calls
that carry :func:`traceparent` point back to it.
"""

from __future__ import annotations

import os
import random
import re
import sys
from contextlib import suppress
from contextvars import Token
from typing import TYPE_CHECKING, Any

from .exchange import current_exchange

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from ..settings import Settings
    from .exchange import Exchange

__all__ = ("Tracing", "trace_headers", "traceparent")

_TRACEPARENT = re.compile(
    rb"([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)

# Span ids have to differ, not to be secret.
_generator = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_generator.seed)


class _SpanNote:
    """A span that was begun, and what ends it."""

    __slots__ = ("span", "token")

    def __init__(self, span: Span, token: object) -> None:
        self.span = span
        self.token = token


class Tracing:
    """Sets the trace and span ids of an exchange; with OpenTelemetry, makes one server span per exchange.

    Spans are made when a tracer provider is configured, by the service or by ``opentelemetry-instrument``, no
    later than the app's start. They follow the semantic conventions for HTTP server spans 1.23 and later; no
    query, header field or exception message goes into them.

    Parameters:
        settings: the settings.
        native: the framework makes the server span itself (FastAPI 0.165 and later); this item then only
            takes over its ids.
    """

    def __init__(self, settings: Settings, *, native: bool = False) -> None:
        del settings
        self._native = native
        self._tracer: Tracer | None = None
        self._trace: Any = None
        self._find_provider()

    @property
    def enabled(self) -> bool:
        """Whether ``respond`` and ``finish`` have anything to do; known for good after ``start``."""
        return self._trace is not None

    async def start(self) -> None:
        """Look for a tracer provider again, for the app's own start may have configured it."""
        self._find_provider()

    def admit(self, exchange: Exchange) -> None:
        """Read the caller's trace context and begin a span."""
        given = exchange.headers.get(b"traceparent")
        if given is not None and (found := _parse(given)) is not None:
            exchange.trace_id = found[2].decode("ascii")
            exchange.span_id = f"{_generator.getrandbits(64) or 1:016x}"
        if self._tracer is not None:
            self._begin(exchange, self._tracer)

    def respond(self, exchange: Exchange) -> None:
        """Take over the ids of the span that the framework made."""
        if self._native and self._trace is not None and not exchange.trace_id:
            self._take_ids(exchange, self._trace.get_current_span())

    def finish(self, exchange: Exchange) -> None:
        """End the span."""
        if self._tracer is not None:
            note = getattr(exchange, "span", None)
            if isinstance(note, _SpanNote):
                exchange.span = None
                self._end(exchange, note)

    def _find_provider(self) -> None:
        # Whoever configured a provider has imported this; importing it here would cost every other service.
        api = sys.modules.get("opentelemetry.trace")
        if api is None:
            return
        provider = api.get_tracer_provider()
        if isinstance(provider, (api.ProxyTracerProvider, api.NoOpTracerProvider)):
            return
        self._trace = api
        if not self._native:
            self._tracer = provider.get_tracer(
                "roadworthy", schema_url="https://opentelemetry.io/schemas/1.23.0"
            )

    def _begin(self, exchange: Exchange, tracer: Tracer) -> None:
        from opentelemetry import context, propagate

        parent = propagate.extract(
            {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers.items()}
        )
        method = exchange.method if exchange.method in _METHODS else "_OTHER"
        attributes = {
            "http.request.method": method,
            "url.path": exchange.path,
            "url.scheme": exchange.scheme,
            "network.protocol.version": exchange.http_version,
            "client.address": exchange.client,
        }
        if method == "_OTHER":
            attributes["http.request.method_original"] = exchange.method
        name = "HTTP" if method == "_OTHER" else method
        span = tracer.start_span(name, parent, kind=self._trace.SpanKind.SERVER, attributes=attributes)
        self._take_ids(exchange, span)
        exchange.span = _SpanNote(span, context.attach(self._trace.set_span_in_context(span, parent)))

    def _take_ids(self, exchange: Exchange, span: Span) -> None:
        ids = span.get_span_context()
        if ids.is_valid:
            exchange.trace_id = f"{ids.trace_id:032x}"
            exchange.span_id = f"{ids.span_id:016x}"

    def _end(self, exchange: Exchange, note: _SpanNote) -> None:
        span = note.span
        if span.is_recording():
            if exchange.route is not None:
                span.set_attribute("http.route", exchange.route)
                method = exchange.method if exchange.method in _METHODS else "HTTP"
                span.update_name(f"{method} {exchange.route}")
            if exchange.status:
                span.set_attribute("http.response.status_code", exchange.status)
            if exchange.status >= 500 or (exchange.exception is not None and not exchange.ended):
                span.set_attribute("error.type", _error_type(exchange))
                span.set_status(self._trace.StatusCode.ERROR)
        span.end()
        if isinstance(note.token, Token):
            # An exchange may end in another context than it began in; that one is gone with its task.
            with suppress(ValueError):
                note.token.var.reset(note.token)  # pyright: ignore[reportUnknownMemberType]


def _error_type(exchange: Exchange) -> str:
    if exchange.exception is None:
        return str(exchange.status)
    kind = type(exchange.exception)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _parse(field: bytes) -> re.Match[bytes] | None:
    """Match a ``traceparent`` field (W3C Trace Context §3.2.2): lower-case hexadecimal, ids not all zero."""
    found = _TRACEPARENT.fullmatch(field)
    # Version ff is no version, and only versions after 00 may append to it.
    if found is None or found[1] == b"ff" or (found[5] is not None and found[1] == b"00"):
        return None
    return found


def traceparent() -> str | None:
    """Return the ``traceparent`` field for a call made on behalf of the current exchange.

    None outside an exchange, and where the caller sent no trace and OpenTelemetry does not run: a trace that
    nobody records would keep the next service from recording its own. Source: W3C Trace Context §3.2, §3.4.
    """
    exchange = current_exchange.get()
    if exchange is None or not exchange.trace_id:
        return None
    note = getattr(exchange, "span", None)
    if isinstance(note, _SpanNote):
        flags = f"{note.span.get_span_context().trace_flags:02x}"
    else:
        # Without a field from the caller the ids are those of the framework's own span.
        given = _parse(exchange.headers.get(b"traceparent", b""))
        # Sampled (1) and random id (2) are the flags there are; others are not handed on (§3.2.2.5).
        flags = "01" if given is None else f"{int(given[4], 16) & 3:02x}"
    return f"00-{exchange.trace_id}-{exchange.span_id}-{flags}"


def trace_headers() -> dict[str, str]:
    """Return traceparent and tracestate for a call made on behalf of the current exchange, if it has them."""
    parent = traceparent()
    if parent is None:
        return {}
    exchange = current_exchange.get()
    state = exchange.headers.get(b"tracestate") if exchange is not None else None
    # §3.3.1.1: more than 512 bytes need not be passed on.
    if state and len(state) <= 512 and state.isascii():
        return {"traceparent": parent, "tracestate": state.decode("ascii")}
    return {"traceparent": parent}
