# pyright: strict
# ruff: noqa: D103 (what each part shows stands above it)
"""The public interface as a service uses it. Never run: type checkers read it (tests/test_typing.py)."""

import json
from collections.abc import AsyncIterator, Mapping

from fastapi import FastAPI
from pydantic import SecretStr

from roadworthy import (
    APIError,
    ConflictError,
    FieldError,
    Layer,
    NotFoundError,
    RequestInfo,
    RouteRule,
    Settings,
    UnavailableError,
    ValidationError,
    current_request_id,
    roadworthy,
    route_rule,
    wait_for_drain,
)
from roadworthy.checklist import ASSERTIONS, ITEMS, Assertion, Item, Severity, assertion, assertions_of, item
from roadworthy.settings import Rate, SettingsError, parse_duration, parse_rate, parse_size
from roadworthy.types import ASGIApp, Receive, Scope, Send

# A FastAPI app, a plain ASGI app, one that is wrapped already: all of them can be wrapped.

api = FastAPI()


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


app: ASGIApp = roadworthy(api, rate_limit="10/minute", routes={"/upload": RouteRule(body_limit="10MiB")})
layer: Layer = roadworthy(plain)
again: Layer = roadworthy(layer)


# Settings of the service's own.


class ShopSettings(Settings):
    stripe_key: SecretStr
    page_size: int = 20


settings = ShopSettings(stripe_key=SecretStr("sk"))
configured: ASGIApp = roadworthy(api, settings=settings)
size: int = settings.page_size
limit: Rate | None = settings.rate_limit
origins: tuple[str, ...] = settings.cors_origins
grace: float = settings.grace
body_limit: int = settings.body_limit

rate: Rate | None = parse_rate("600/minute")
seconds: float = parse_duration("2m")
octets: int = parse_size("10MiB")

try:
    Settings()
except SettingsError as mistakes:
    print(mistakes)


# Rules of single routes.


@api.post("/login")
@route_rule(rate_limit="5/minute", timeout="2s")
async def login() -> dict[str, str]:
    return {"request_id": current_request_id()}


async def the_handler_keeps_its_type() -> dict[str, str]:
    return await login()


def tenant(request: RequestInfo) -> str | None:
    key: str | None = request.headers.get("x-tenant")
    return key or request.cookies.get("tenant")


per_user: ASGIApp = roadworthy(
    api, user_key=tenant, routes={"POST /orders": RouteRule(rate_limit="100/hour", rate_key="user")}
)


# Errors that a service raises.


def find(user_id: int) -> Mapping[str, str]:
    if user_id == 0:
        raise NotFoundError
    if user_id == 1:
        raise NotFoundError("There is no such user", headers={"Cache-Control": "no-store"})
    if user_id == 2:
        raise ConflictError("The address is taken", details={"field": "email"})
    if user_id == 3:
        raise ValidationError(errors=[FieldError("/email", "This is not an address", "email")])
    if user_id == 4:
        raise UnavailableError(retry_after=5)
    raise APIError("The printer is on fire", 500, "PRINTER_ON_FIRE", {"floor": 3})


class OutOfStockError(APIError):
    """An error of the service's own."""

    status = 409
    code = "OUT_OF_STOCK"
    default_message = "Sold out"


def describe(error: APIError) -> tuple[int, str, str, Mapping[str, object], Mapping[str, str]]:
    return error.status, error.code, error.message, error.details, error.headers


# A stream that ends when the process is told to stop.


async def ticks() -> AsyncIterator[str]:
    yield json.dumps({"tick": 1})
    await wait_for_drain()


# The checklist as data.

first: Item = ITEMS[0]
promise: Assertion = assertion("RTL-6")
worst: list[str] = [each.id for each in ASSERTIONS if each.severity is Severity.CRITICAL]
promises: tuple[Assertion, ...] = assertions_of(item("cors").id)
