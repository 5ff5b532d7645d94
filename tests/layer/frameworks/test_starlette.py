"""Starlette's adapter."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router

from roadworthy.errors import NotFoundError, ValidationError
from roadworthy.layer.frameworks import UnknownRouteError, detect
from tests.apps import starlette_app
from tests.apps.common import CANARY
from tests.layer.frameworks.driving import drive

pytestmark = pytest.mark.anyio


def _attached(app: Any) -> Any:
    framework = detect(app)
    framework.attach()
    return framework


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/items", "/items"),
        ("/items/7", "/items/{item_id:int}"),
        ("/tenants/acme/items/7", "/tenants/{tenant}/items/{item_id:int}"),
        ("/nowhere", None),
        ("/tenants/acme/nowhere", None),
    ],
)
async def test_the_route_is_the_whole_template(path: str, template: str | None) -> None:
    """A request's route is its template with the templates of its mounts."""
    app = starlette_app.create()
    assert (await drive(app, _attached(app), path=path)).route == template


async def test_a_bare_router_has_routes() -> None:
    """A router without an application is walked and named as well."""
    app = Router([Host("localhost", Router([Route("/x/{y}", starlette_app.ok)]))])
    framework = _attached(app)
    assert [route.template for route in framework.routes()] == ["/x/{y}"]
    assert (await drive(app, framework, path="/x/1")).route == "/x/{y}"


def test_every_route_is_listed() -> None:
    """Routes of mounted apps are listed with the mount's path."""
    found = {route.template for route in detect(starlette_app.create()).routes()}
    assert {"/items", "/ws", "/tenants/{tenant}/items/{item_id:int}", "/tenants/{tenant}/fail"} <= found


def test_a_class_is_listed_with_what_it_has() -> None:
    """A class-based endpoint is listed with the methods that it has, which a 405 then names."""
    routes = {route.template: route.methods for route in detect(starlette_app.create()).routes()}
    assert routes["/items"] == {"GET", "HEAD", "POST"}


def test_mounts_in_a_circle_are_refused() -> None:
    """An app mounted in itself has no end of routes, and is refused by name."""
    app = Starlette()
    app.routes.append(Mount("/again", app))
    with pytest.raises(UnknownRouteError, match="again"):
        detect(app).routes()


async def test_an_error_of_the_service_is_the_verdict() -> None:
    """A raised APIError reaches the exchange, also out of a mounted app."""
    app = starlette_app.create()
    framework = _attached(app)
    seen = await drive(app, framework, "POST", "/items", b"{}")
    assert isinstance(seen.exchange.error, ValidationError)
    seen = await drive(app, framework, path="/tenants/acme/items/1000")
    assert isinstance(seen.exchange.error, NotFoundError)


async def test_an_unhandled_exception_is_known() -> None:
    """The exception of a 500 is in the exchange, and its default body is recognised."""
    app = starlette_app.create()
    framework = _attached(app)
    seen = await drive(app, framework, path="/tenants/acme/fail")
    assert str(seen.exchange.exception) == CANARY
    assert seen.recognised(framework).code == "INTERNAL_ERROR"


async def test_default_bodies_are_recognised_and_others_left() -> None:
    """The bare reason phrase is Starlette's default; any other text is the app's."""

    async def own(request: Request) -> PlainTextResponse:
        raise HTTPException(404, "We looked everywhere")

    app = Starlette(routes=[Route("/own", own)])
    framework = _attached(app)
    assert (await drive(app, framework, path="/nowhere")).recognised(framework).code == "NOT_FOUND"
    assert (await drive(app, framework, "POST", "/own")).recognised(framework).code == "METHOD_NOT_ALLOWED"
    assert (await drive(app, framework, path="/own")).recognised(framework) is None


async def test_an_app_without_the_layer_answers_by_itself() -> None:
    """An app that was wrapped once and is called bare, as a test client may, still answers its errors."""
    from tests.asgi_driver import ask

    app = starlette_app.create()
    _attached(app)
    driven = await ask(app, path="/conflict")
    assert (driven.status, driven.json()) == (409, {"detail": "The name is taken"})
