"""The attacked service with the packages usually taken for the checklist, for plain uvicorn and granian.

slowapi, prometheus-fastapi-instrumentator, asgi-correlation-id, secure, structlog, Starlette's CORS, gzip and
trusted host: each as its own guide has it, with the option that makes slowapi survive a lost Redis.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from prometheus_fastapi_instrumentator import Instrumentator
from secure import Secure
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address

from .service import LIMIT, create, limited

__all__ = ("app",)

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
    cache_logger_on_first_use=True,
)
_log = structlog.get_logger()
_secure = Secure.with_default_headers()


async def _alive() -> dict[str, str]:
    return {"status": "ok"}


async def _headers_and_log(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Set security headers and write the access record, as the packages' own guides do."""
    begun = time.perf_counter()
    response = await call_next(request)
    await _secure.set_headers_async(response)
    _log.info(
        "request",
        method=request.method,
        path=request.url.path,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - begun) * 1000, 2),
        client=request.client.host if request.client else None,
        agent=request.headers.get("user-agent"),
        request_id=correlation_id.get(),
    )
    return response


def _limiter() -> Any:
    return Limiter(
        key_func=get_remote_address,
        headers_enabled=True,
        storage_uri=os.environ.get("REDIS_URL"),
        in_memory_fallback_enabled="REDIS_URL" in os.environ,
    )


def _create() -> FastAPI:
    made = create()
    limiter = _limiter()
    made.state.limiter = limiter
    made.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)

    async def within(request: Request, response: Response) -> dict[str, bool]:
        return await limited()

    made.router.routes[:] = [one for one in made.router.routes if getattr(one, "path", "") != "/limited"]
    made.add_api_route("/limited", limiter.limit(LIMIT)(within), methods=["GET"])
    made.add_api_route("/livez", _alive, methods=["GET"])
    made.add_api_route("/readyz", _alive, methods=["GET"])
    made.middleware("http")(_headers_and_log)
    made.add_middleware(GZipMiddleware, minimum_size=1024)
    if origins := os.environ.get("FAULTS_ORIGINS"):
        made.add_middleware(
            CORSMiddleware,
            allow_origins=origins.split(","),
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    if hosts := os.environ.get("FAULTS_HOSTS"):
        made.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts.split(","))
    made.add_middleware(CorrelationIdMiddleware)
    Instrumentator().instrument(made).expose(made)
    return made


app = _create()
