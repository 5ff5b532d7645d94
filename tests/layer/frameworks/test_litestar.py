"""Litestar's adapter."""

import logging
from typing import Any

import pytest
from litestar import Litestar, Request, Response, asgi, get
from litestar.logging import LoggingConfig
from litestar.static_files import create_static_files_router

from roadworthy.errors import ConflictError, ValidationError
from roadworthy.layer.frameworks import detect
from roadworthy.types import Receive, Scope, Send
from tests.apps import litestar_app
from tests.apps.common import CANARY
from tests.layer.frameworks.driving import drive

pytestmark = pytest.mark.anyio


def _attached(app: Litestar) -> Any:
    framework = detect(app)  # type: ignore[arg-type]
    framework.attach()
    return framework


async def test_the_route_is_the_template_as_written() -> None:
    """A request's route is the template with its types; an unmatched one has none."""
    app = litestar_app.create()
    framework = _attached(app)
    assert (await drive(app, framework, path="/items/7")).route == "/items/{item_id:int}"  # type: ignore[arg-type]
    assert (await drive(app, framework, path="/ok")).route == "/ok"  # type: ignore[arg-type]
    assert (await drive(app, framework, path="/nowhere")).route is None  # type: ignore[arg-type]


async def test_a_mount_is_named_by_its_own_path(tmp_path: Any) -> None:
    """A mounted ASGI app and static files count as one route each."""
    (tmp_path / "a.txt").write_text("a")

    @asgi("/mounted", is_mount=True, copy_scope=True)
    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("ok").to_asgi_response(None, Request(scope))(scope, receive, send)  # type: ignore[arg-type]

    app = Litestar([mounted, create_static_files_router("/static", [tmp_path])])
    framework = _attached(app)
    assert (await drive(app, framework, path="/mounted/x")).route == "/mounted/{path:path}"  # type: ignore[arg-type]
    seen = await drive(app, framework, path="/static/a.txt")  # type: ignore[arg-type]
    assert seen.route == "/static/{file_path:path}"


def test_every_route_is_listed() -> None:
    """Handlers of controllers and WebSockets are listed with their methods."""
    found = {
        (route.template, method)
        for route in _attached(litestar_app.create()).routes()
        for method in route.methods
    }
    assert {
        ("/items", "GET"),
        ("/items", "POST"),
        ("/items/{item_id:int}", "GET"),
        ("/ws", "WEBSOCKET"),
    } <= found


async def test_a_hidden_exception_is_reported() -> None:
    """Litestar answers 500 and lets nothing out, so the hook puts the exception into the exchange."""
    app = litestar_app.create()
    framework = _attached(app)
    seen = await drive(app, framework, path="/fail")  # type: ignore[arg-type]
    assert seen.raised is None
    assert str(seen.exchange.exception) == CANARY
    assert seen.recognised(framework).code == "INTERNAL_ERROR"


async def test_an_error_of_the_service_is_the_verdict() -> None:
    """A raised APIError reaches the exchange although Litestar answers 500 for it."""
    app = litestar_app.create()
    seen = await drive(app, _attached(app), path="/conflict")  # type: ignore[arg-type]
    assert isinstance(seen.exchange.error, ConflictError)
    assert seen.exchange.exception is None


async def test_refused_fields_are_named_without_their_values() -> None:
    """A failed validation keeps its 400, names the field, and repeats neither the value nor the query."""
    app = litestar_app.create()
    framework = _attached(app)
    seen = await drive(app, framework, "POST", "/items?token=SECRET", b'{"name": 5}')  # type: ignore[arg-type]
    found = seen.recognised(framework)
    assert isinstance(found, ValidationError)
    assert (found.status, found.code, found.message) == (400, "VALIDATION_ERROR", "Validation failed")
    assert [(one.pointer, one.message) for one in found.errors] == [("/name", "Expected `str`, got `int`")]


def test_a_message_that_repeats_the_value_is_replaced() -> None:
    """msgspec repeats an unknown enum value, which must not leave."""
    body = (
        b'{"status_code":400,"detail":"x","extra":[{"message":"Invalid enum value \'SECRET\'","key":"a.b"}]}'
    )
    found = detect(litestar_app.create()).problem_of(400, "application/json", body, {})  # type: ignore[arg-type]
    assert isinstance(found, ValidationError)
    assert [(one.pointer, one.message) for one in found.errors] == [
        ("/a/b", "Input should be one of the values expected")
    ]


async def test_default_bodies_are_recognised_and_others_left() -> None:
    """Litestar's 404 and 405 are known as such; a body with further members is the app's own."""
    app = litestar_app.create()
    framework = _attached(app)
    assert (await drive(app, framework, path="/nowhere")).recognised(framework).code == "NOT_FOUND"  # type: ignore[arg-type]
    seen = await drive(app, framework, "DELETE", "/ok")  # type: ignore[arg-type]
    assert seen.recognised(framework).code == "METHOD_NOT_ALLOWED"
    own = b'{"status_code":404,"detail":"x","mine":1}'
    assert framework.problem_of(404, "application/json", own, {}) is None


@pytest.mark.parametrize(
    ("own", "left"), [(None, 0), (LoggingConfig(formatters={"own": {"format": "%(message)s"}}), 1)]
)
def test_litestars_unasked_log_handlers_give_way(own: LoggingConfig | None, left: int) -> None:
    """Handlers that Litestar puts on the root logger unasked are taken off; a service's own stay."""
    before = logging.root.handlers[:]
    logging.root.handlers.clear()
    try:
        _attached(Litestar([]) if own is None else Litestar([], logging_config=own))
        assert len(logging.root.handlers) == left
    finally:
        logging.root.handlers[:] = before


def test_docs_are_below_the_schema_path() -> None:
    """The pages are found below the default path and are none when switched off."""

    @get("/x")
    async def x() -> None: ...

    assert "/schema/*" in _attached(Litestar([x])).docs_paths()
    assert _attached(Litestar([x], openapi_config=None)).docs_paths() == frozenset()
