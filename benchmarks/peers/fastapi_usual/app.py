"""The same route, equipped for the checklist with the packages that are usually taken for it."""

import logging
import sys
import time
from collections.abc import Awaitable, Callable

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel
from secure import Secure
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIASGIMiddleware
from slowapi.util import get_remote_address

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
log = structlog.get_logger()
secure_headers = Secure.with_default_headers()
limiter = Limiter(key_func=get_remote_address, default_limits=["100000000/second"], headers_enabled=True)

app = FastAPI()
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)  # type: ignore[arg-type]


class User(BaseModel):
    """A user as the API shows it."""

    id: int
    name: str
    email: str
    created_at: str


USERS = {
    n: User(id=n, name="Ada Lovelace", email="ada@example.com", created_at="2026-01-01T00:00:00Z")
    for n in range(100)
}


@app.get("/api/users/{user_id}")
async def get_user(user_id: int) -> User:
    """Return one user from memory."""
    user = USERS.get(user_id)
    if user is None:
        raise HTTPException(404, "User not found")
    return user


@app.middleware("http")
async def headers_and_log(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Set security headers and write the access record, as the packages' own guides do."""
    begun = time.perf_counter()
    response = await call_next(request)
    await secure_headers.set_headers_async(response)
    log.info(
        "request",
        method=request.method,
        path=request.url.path,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - begun) * 1000, 2),
        client=request.client.host if request.client else None,
        request_id=correlation_id.get(),
    )
    return response


app.add_middleware(SlowAPIASGIMiddleware)
app.add_middleware(GZipMiddleware, minimum_size=1024)
app.add_middleware(
    CORSMiddleware, allow_origins=["https://app.example"], allow_methods=["*"], allow_headers=["*"]
)
app.add_middleware(CorrelationIdMiddleware)
Instrumentator().instrument(app).expose(app)
