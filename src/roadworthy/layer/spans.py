"""Spans of OpenTelemetry that the layer did not make: whose they are, and which one is current.

OpenTelemetry is never imported here. Without a tracer provider there is nothing to ask.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .exchange import current_exchange

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from .exchange import Exchange

__all__ = ("SpanNote", "current_ids", "follow", "server_span", "take", "use_api")

_FOLLOWED = "_roadworthy_follows"

# `opentelemetry.trace`, once a provider of this process was found.
_api: Any = None


class SpanNote:
    """The server span of an exchange.

    Parameters:
        span: the span.
        token: what undoes making it current, None where somebody else made it and ends it.
    """

    __slots__ = ("span", "token")

    def __init__(self, span: Span, token: object | None = None) -> None:
        self.span = span
        self.token = token


def use_api(api: Any) -> None:
    """Have :func:`current_ids` answer: a provider is configured, and ``api`` is ``opentelemetry.trace``."""
    global _api
    _api = api


def _local_span() -> Span | None:
    """Return the current span of this process; None where there is none, or only a caller's."""
    if _api is None:
        return None
    span: Span = _api.get_current_span()
    ids = span.get_span_context()
    return span if ids.is_valid and not ids.is_remote else None


def server_span() -> Span | None:
    """Return the current span of this process if it is a server's."""
    span = _local_span()
    # Only what is recorded has a kind; what is not has no other spans beside it that are.
    kind = getattr(span, "kind", None)
    return span if kind is None or kind is _api.SpanKind.SERVER else None


def current_ids() -> tuple[str, str] | None:
    """Return trace id and span id of the current span, as records carry them."""
    span = _local_span()
    if span is None:
        return None
    ids = span.get_span_context()
    return f"{ids.trace_id:032x}", f"{ids.span_id:016x}"


def take(exchange: Exchange, span: Span, token: object | None = None) -> None:
    """Make ``span`` the server span of the exchange: its record carries these ids."""
    ids = span.get_span_context()
    if ids.is_valid:
        exchange.trace_id = f"{ids.trace_id:032x}"
        exchange.span_id = f"{ids.span_id:016x}"
    exchange.span = SpanNote(span, token)


def follow(source: Any) -> None:
    """Have the first server span that begins inside an exchange taken for its span, whoever makes it.

    The ids are known from then on, however the exchange ends: what the framework's middleware makes current
    is gone again when the layer answers for an app that failed or was cancelled.

    Parameters:
        source: a tracer or a provider of the SDK, which take processors; others are left as they are.
    """
    # A tracer and its provider share one processor, which has the others.
    shared = getattr(source, "span_processor", None) or getattr(source, "_active_span_processor", source)
    if getattr(shared, _FOLLOWED, False) or not hasattr(shared, "add_span_processor"):
        return
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import SpanKind

    class Follower(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            del parent_context
            if span.kind is SpanKind.SERVER:
                exchange = current_exchange.get()
                if exchange is not None and exchange.span is None:
                    take(exchange, span)

    with suppress(AttributeError):
        setattr(shared, _FOLLOWED, True)
        shared.add_span_processor(Follower())
