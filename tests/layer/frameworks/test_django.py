"""Django's adapter."""

import logging
from typing import Any

import pytest

from roadworthy.errors import ConflictError, NotFoundError
from roadworthy.layer.frameworks import detect
from tests.apps.common import CANARY
from tests.apps.django_site import asgi as site
from tests.layer.frameworks.driving import drive

pytestmark = pytest.mark.anyio


def _attached() -> tuple[Any, Any]:
    app = site.create()
    framework = detect(app)
    assert framework.name == "django"
    framework.attach()
    return app, framework


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/ok", "/ok"),
        ("/items/7", "/items/<int:item_id>"),
        ("/nested/7/", "/nested/<int:item_id>/"),
        ("/nested/year/2026/", "/nested/year/<year>/"),
        ("/admin/login/", "/admin/login/"),
        ("/static/admin/css/base.css", "/static/<path:path>"),
        ("/nowhere", None),
    ],
)
async def test_the_route_is_the_pattern(path: str, template: str | None) -> None:
    """A request's route is its pattern, a regular expression simplified, one for all static files."""
    app, framework = _attached()
    assert (await drive(app, framework, path=path)).route == template


def test_every_pattern_is_listed() -> None:
    """Patterns of includes are listed with their prefix, class-based views with their methods."""
    routes = {route.template: route for route in _attached()[1].routes()}
    assert {"/nested/<int:item_id>/", "/nested/year/<year>/", "/admin/login/"} <= set(routes)
    assert routes["/items"].methods == {"GET", "HEAD", "POST", "OPTIONS"}


@pytest.mark.parametrize("path", ["/fail", "/fail-sync"])
async def test_a_hidden_exception_is_reported(path: str) -> None:
    """Django answers 500 and lets nothing out, so its signal puts the exception into the exchange."""
    app, framework = _attached()
    seen = await drive(app, framework, path=path)
    assert seen.raised is None
    assert str(seen.exchange.exception) == CANARY
    assert seen.recognised(framework).code == "INTERNAL_ERROR"


async def test_an_error_of_the_service_is_the_verdict(caplog: pytest.LogCaptureFixture) -> None:
    """A raised APIError reaches the exchange, and Django records no failure for it."""
    app, framework = _attached()
    seen = await drive(app, framework, path="/conflict")
    assert isinstance(seen.exchange.error, ConflictError)
    assert (seen.driven.status, seen.exchange.exception) == (409, None)
    assert [record.levelno for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_djangos_own_record_of_a_failure_is_marked(caplog: pytest.LogCaptureFixture) -> None:
    """The record that Django writes of a 500 is marked, so that the layer's handler can leave it out."""
    app, framework = _attached()
    await drive(app, framework, path="/fail")
    marks = [getattr(record, "roadworthy_recorded", False) for record in caplog.records if record.exc_info]
    assert marks == [True]


@pytest.mark.parametrize(
    ("accept", "left"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html;q=0.5, application/json", False),
    ],
)
async def test_a_browser_keeps_djangos_page(accept: str | None, left: bool) -> None:
    """The default 404 page stays for whoever prefers HTML and is a problem for everybody else."""
    app, framework = _attached()
    found = (await drive(app, framework, path="/nowhere", accept=accept)).recognised(framework)
    assert (found is None) is left
    assert found is None or found.code == "NOT_FOUND"


async def test_an_empty_405_is_recognised() -> None:
    """Django's 405 has no body; a page with one is the app's own."""
    app, framework = _attached()
    seen = await drive(app, framework, "DELETE", "/items")
    assert seen.recognised(framework).code == "METHOD_NOT_ALLOWED"
    assert framework.problem_of(405, "text/html", b"<h1>own</h1>", seen.scope) is None


async def test_an_error_of_a_sync_part_is_the_verdict() -> None:
    """An APIError raised in middleware, outside any view, reaches the exchange by the signal."""
    app, framework = _attached()

    def refuse(request: Any) -> Any:
        raise NotFoundError

    from django.core.handlers.exception import convert_exception_to_response  # type: ignore[import-untyped]

    app.application._middleware_chain = convert_exception_to_response(_in_async(refuse))
    seen = await drive(app, framework, path="/ok")
    assert isinstance(seen.exchange.error, NotFoundError)


def _in_async(refuse: Any) -> Any:
    async def chain(request: Any) -> Any:
        return refuse(request)

    return chain
