"""FastAPI with each way to have its requests traced by OpenTelemetry; ``TESTS_TRACING`` chooses."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import fastapi
from fastapi import FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from roadworthy import RouteRule, roadworthy

from .spans import export_spans

__all__ = ("app",)

_log = logging.getLogger("shop")
_way = os.environ.get("TESTS_TRACING", "own")
_provider = export_spans(everywhere=_way != "own-provider")


def _telemetry() -> dict[str, Any]:
    if _way == "native":
        return {}
    # What is left of it then are the routes' names.
    return {"telemetry": {"tracing": False, "metrics": False, "logs": False}}


if _way == "everywhere":
    # As `opentelemetry-instrument` does, before the app is imported.
    FastAPIInstrumentor().instrument()
inner = fastapi.FastAPI(**_telemetry())
if _way == "instrumented":
    FastAPIInstrumentor.instrument_app(inner)
if _way == "own-provider":
    FastAPIInstrumentor.instrument_app(inner, tracer_provider=_provider)
if _way == "middleware":
    inner.add_middleware(OpenTelemetryMiddleware)


@inner.get("/ok")
async def ok() -> dict[str, bool]:
    """Answer, and leave a record."""
    _log.info("a record of the app's own")
    return {"ok": True}


@inner.get("/item/{number}")
async def item(number: int) -> None:
    """Refuse: what is not a number is 422, what is one is not there."""
    raise HTTPException(404)


@inner.get("/fails")
async def fails() -> None:
    """Fail."""
    _log.info("a record of the app's own")
    raise ValueError


@inner.get("/late")
async def late() -> None:
    """Never end."""
    await asyncio.Event().wait()


@inner.get("/stream")
async def stream() -> StreamingResponse:
    """Send two pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        _log.info("a record of the app's own")
        yield b"two"

    return StreamingResponse(pieces())


@inner.get("/limited")
async def limited() -> None:
    """Answer; a second request is one too many."""


@inner.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    """Accept, say one word, close."""
    await websocket.accept()
    _log.info("a record of the app's own")
    await websocket.send_text("hello")
    await websocket.close()


def _wrapped(inner: FastAPI) -> Any:
    rules = {"/limited": RouteRule(rate_limit="1/hour"), "/late": RouteRule(timeout="200ms")}
    if _way == "inside":
        return roadworthy(OpenTelemetryMiddleware(inner), routes=rules)
    outer = roadworthy(inner, routes=rules)
    return OpenTelemetryMiddleware(outer) if _way == "around" else outer


app = _wrapped(inner)
