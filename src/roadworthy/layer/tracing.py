"""Traces: takes the caller's W3C trace context, hands it on, makes spans where OpenTelemetry runs.

Without OpenTelemetry the exchange's record is its span: it names the trace and its own span id, and calls
that carry :func:`traceparent` point back to it.
"""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from contextvars import Token
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

from .exchange import current_exchange
from .spans import SpanNote, follow, server_span, take, use_api

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from ..settings import Settings
    from .exchange import Exchange

__all__ = ("Tracing", "trace_headers", "traceparent")

_SCHEMA = "https://opentelemetry.io/schemas/1.23.0"
_TRACEPARENT = re.compile(
    rb"([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)

# Span ids have to differ, not to be secret.
_generator = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_generator.seed)


def _never() -> bool:
    return False


def _nothing() -> object | None:
    return None


class Tracing:
    """Sets the trace and span ids of an exchange; with OpenTelemetry, makes one server span per exchange.

    Spans are made when a tracer provider is configured, by the service or by ``opentelemetry-instrument``, no
    later than the app's start. They follow the semantic conventions for HTTP server spans 1.23 and later; no
    query, header field or exception message goes into them.

    Parameters:
        settings: ``tracing`` decides whether spans are made.
        native: returns whether the framework makes the server spans (FastAPI 0.165 and later, the
            instrumentations of OpenTelemetry). This item then takes over their ids, and makes a span for what
            the layer refuses before the framework sees it.
        source: returns the tracer, or the provider of tracers, that the framework's spans come from; None for
            the provider of the process.
        probes: paths that machines ask every few seconds; they have no spans.
        off: make no spans at all.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        native: Callable[[], bool] = _never,
        source: Callable[[], object | None] = _nothing,
        probes: Collection[str] = (),
        off: bool = False,
    ) -> None:
        self._wanted = settings.tracing
        self._is_native = native
        self._source = source
        self._probes = frozenset(probes)
        self._tracer: Tracer | None = None
        self._trace: Any = None
        self._makes = False
        self.follows = False
        """Whether ``respond`` has anything to do: the spans are the framework's."""
        self._off = off
        self._find_provider()

    @property
    def enabled(self) -> bool:
        """Whether ``finish`` has anything to do; known for good after ``start``."""
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
        if self._makes and self._tracer is not None:
            self._begin(exchange, self._tracer)

    def refused(self, exchange: Exchange) -> None:
        """Begin the span of an exchange that the framework, which makes the others, will not see."""
        if self.follows and self._tracer is not None and exchange.span is None:
            self._begin(exchange, self._tracer)

    def respond(self, exchange: Exchange) -> None:
        """Take over the ids of the framework's span where its beginning could not be seen."""
        if self.follows and exchange.span is None:
            span = server_span()
            if span is not None:
                take(exchange, span)

    def finish(self, exchange: Exchange) -> None:
        """End the span."""
        note = exchange.span
        if isinstance(note, SpanNote) and note.token is not None:
            exchange.span = None
            self._end(exchange, note)

    def _find_provider(self) -> None:
        # Whoever configured a provider has imported this; importing it here would cost every other service.
        api = sys.modules.get("opentelemetry.trace")
        if api is None or self._off:
            return
        native = self._is_native()
        source: Any = (self._source() if native else None) or api.get_tracer_provider()
        if isinstance(source, (api.ProxyTracerProvider, api.NoOpTracerProvider)):
            return
        self._trace = api
        use_api(api)
        self._makes, self.follows = self._wanted and not native, native
        if native:
            follow(source)
        if not self._wanted:
            return
        of_provider = getattr(source, "get_tracer", None)
        self._tracer = of_provider("roadworthy", schema_url=_SCHEMA) if of_provider else source

    def _begin(self, exchange: Exchange, tracer: Tracer) -> None:
        if exchange.route_path in self._probes:
            return
        around = server_span()
        if around is not None:
            # A middleware around the layer traces the request already.
            take(exchange, around)
            return
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
        span = tracer.start_span(
            name,
            parent,
            kind=self._trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=time_ns() - int((perf_counter() - exchange.started) * 1e9),
        )
        take(exchange, span, context.attach(self._trace.set_span_in_context(span, parent)))

    def _end(self, exchange: Exchange, note: SpanNote) -> None:
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
    note = exchange.span
    if isinstance(note, SpanNote):
        flags = f"{note.span.get_span_context().trace_flags:02x}"
    else:
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
