"""A refusal names its route in record and metrics, though the app never saw the request."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from roadworthy.types import Headers, Message
from tests.asgi_driver import Call, http_scope, websocket_scope
from tests.layer.route_apps import BODY_LIMIT, Built, build, urls_of
from tests.patience import DEADLINE

pytestmark = [
    pytest.mark.anyio,
    # Django leaves the file of a body that was refused while it was read to the collector.
    pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"),
]

FRAMEWORKS = ("starlette", "fastapi", "litestar", "django", "plain")
ROUTES = {
    "starlette": ("/login", "/files/{path:path}"),
    "fastapi": ("/login", "/files/{path:path}"),
    "litestar": ("/login", "/files/{path:path}"),
    "django": ("/login", "/files/<path>"),
    "plain": ("/login", "/files/{path:path}"),
}
PATHS = ("/login", "/files/x")
_JSON = (b"content-type", b"application/json")


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each framework."""
    with urls_of(request.param):
        yield request.param


def _records(capfd: pytest.CaptureFixture[str], built: Built) -> list[dict[str, Any]]:
    built.layer.pass_.logging.writer.flush()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    return [one for one in lines if one["logger"] in ("roadworthy.access", "roadworthy.unhandled")]


def _labelled(built: Built, method: str, route: str, status: int) -> bool:
    page = built.layer.pass_.metrics.exposition().body.decode()
    wanted = f'http_requests_total{{method="{method}",route="{re.escape(route)}",status="{status}"}}'
    return wanted.replace("\\", "") in page


def _call(built: Built, path: str, method: str = "POST", headers: Headers | None = None) -> Call:
    return Call(built.layer, {**http_scope(method, path, headers), "client": ("198.51.100.9", 1)})


def _told(*headers: tuple[bytes, bytes]) -> Headers:
    return list(headers)


# What is refused: settings, method, fields, the body's parts (None: it never comes), status.
REFUSALS: dict[str, tuple[dict[str, Any], str, Headers, list[bytes] | None, int]] = {
    "limit of the route": ({}, "POST", _told(), [], 429),
    "declared length": ({}, "POST", _told((b"content-length", b"999")), [], 413),
    "counted length": ({}, "POST", _told((b"transfer-encoding", b"chunked")), [b"x" * BODY_LIMIT, b"x"], 413),
    "length that is no number": ({}, "POST", _told((b"content-length", b"x")), [], 400),
    "body that is no JSON": ({}, "POST", _told(_JSON, (b"content-length", b"1")), [b"{"], 400),
    "JSON that none can keep": ({}, "POST", _told(_JSON, (b"content-length", b"8")), [b'"\\u0000"'], 422),
    "compressed JSON": (
        {},
        "POST",
        _told(_JSON, (b"content-encoding", b"gzip"), (b"content-length", b"1")),
        [b"x"],
        415,
    ),
    "long target": ({"url_limit": 256}, "POST", _told(), [], 414),
    "many fields": ({"header_count": 10}, "POST", [(b"x-%d" % n, b"1") for n in range(20)], [], 431),
    "another host": (
        {"allowed_hosts": ("shop.example",)},
        "POST",
        _told((b"host", b"evil.example")),
        [],
        421,
    ),
    "body that never comes": ({"body_timeout": 0.05}, "POST", _told((b"content-length", b"5")), None, 408),
    "preflight": (
        {"cors_origins": ("https://shop.example",)},
        "OPTIONS",
        _told((b"origin", b"https://shop.example"), (b"access-control-request-method", b"POST")),
        [],
        204,
    ),
}


@pytest.mark.parametrize("which", [0, 1], ids=["plain path", "path with a parameter"])
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_names_its_route(
    framework: str, refusal: str, which: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads records or metrics sees which route was refused, and for what."""
    settings, method, headers, body, status = REFUSALS[refusal]
    built = build(framework, log_level="info", log_format="json", **settings)
    path, route = PATHS[which], ROUTES[framework][which]
    if status == 414:
        path += "?" + "x" * 300
    for _ in range(6):
        call = _call(built, path, method, headers)
        for part in body or ():
            call.feed(part, more=True)
        if body is not None:
            call.feed()
        driven = await call.done(30)
        (record,) = _records(capfd, built)
        if driven.status == status:
            break
    assert (record["status"], record["route"]) == (status, route)
    assert _labelled(built, method, route, status)


async def test_a_refusal_by_the_service_wide_limit_names_its_route(
    framework: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The limit of the service refuses for routes without a rule as well."""
    if framework == "plain":
        pytest.skip("a route without a rule is not known of an app of no framework")
    built = build(framework, log_level="info", log_format="json", rate_limit="1/hour")
    for _ in range(2):
        call = _call(built, "/users/me")
        call.feed()
        await call.done(30)
    assert [one["route"] for one in _records(capfd, built)] == ["/users/me"] * 2
    assert _labelled(built, "POST", "/users/me", 429)


async def test_what_has_no_route_stays_unmatched(capfd: pytest.CaptureFixture[str]) -> None:
    """A refused request for a path that no route has is not counted under one."""
    built = build("litestar", log_level="info", log_format="json", rate_limit="1/hour")
    for _ in range(2):
        call = _call(built, "/no/such/path")
        call.feed()
        await call.done(30)
    assert [one["route"] for one in _records(capfd, built)] == [None, None]
    assert _labelled(built, "POST", "unmatched", 429)


async def test_what_waits_too_long_or_finds_no_place_names_its_route(
    framework: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """503 at the ceiling and 504 at the deadline are under their routes."""
    changes: dict[str, Any] = {"max_in_flight": 1, "queue_size": 0, "request_timeout": 1}
    built = build(framework, log_level="info", log_format="json", **changes)
    built.gate = asyncio.Event()
    path, route = ("/login", "/login") if framework == "plain" else ("/users/me", "/users/me")
    first = _call(built, path)
    first.feed()
    async with asyncio.timeout(DEADLINE):
        while not built.ran:
            await asyncio.sleep(0)
    second = _call(built, path)
    second.feed()
    assert (await second.done(30)).status == 503
    if framework == "plain":
        # Its rule gives it more time than this test has.
        built.gate.set()
    late = (await first.done(30)).status
    assert late == (200 if framework == "plain" else 504)
    records = _records(capfd, built)
    assert records[0]["route"] == route
    assert _labelled(built, "POST", route, 503)
    if late == 504:
        assert records[1]["route"] == route
        assert _labelled(built, "POST", route, 504)


@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar"])
async def test_a_refused_websocket_names_its_route(framework: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A handshake from another origin is refused under the route of the WebSocket."""
    built = build(framework, log_level="info", log_format="json")
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = websocket_scope(headers=[(b"origin", b"https://evil.example")])
    await built.layer(scope, receive, send)
    assert sent[0]["status"] == 403
    (record,) = _records(capfd, built)
    assert (record["status"], record["route"]) == (403, "/ws")
    assert _labelled(built, "GET", "/ws", 403)


def test_a_task_that_fails_beside_a_request_is_recorded_under_its_route(
    framework: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The record of a task that nobody waits for has the route and the id of its request."""
    built = build(framework, log_level="info", log_format="json")
    path, route = ("/login", "/login") if framework == "plain" else ("/users/me", "/users/me")
    built.fails = True

    async def serve() -> list[dict[str, Any]]:
        call = _call(built, path)
        call.feed()
        await call.done(30)
        records: list[dict[str, Any]] = []
        async with asyncio.timeout(DEADLINE):
            while len(records) < 2:
                await asyncio.sleep(0)
                gc.collect()
                records += _records(capfd, built)
        return records

    try:
        # In a loop of its own: the one of the other tests has a handler for what fails already.
        records = asyncio.run(serve())
    finally:
        built.layer.pass_.logging.restore()
    failed, access = sorted(records, key=lambda one: one["logger"] == "roadworthy.access")
    assert (failed["route"], failed["request_id"]) == (route, access["request_id"])


async def test_work_after_the_response_that_fails_is_recorded_under_its_route(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A background task's failure has a record of its own, with route and id of the request it belongs to."""
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Mount, Route

    def fail() -> None:
        raise LookupError("after the response")

    async def handler(_: Any) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(fail))

    built = Built(
        lambda _: Starlette(routes=[Mount("/v1", routes=[Route("/jobs/{id}", handler)])]),
        {"log_level": "info", "log_format": "json"},
    )
    call = _call(built, "/v1/jobs/7", "GET")
    call.feed()
    await call.done(30)
    failed, access = _records(capfd, built)
    assert failed["message"] == "failed after the response"
    assert (failed["route"], failed["request_id"]) == ("/v1/jobs/{id}", access["request_id"])
