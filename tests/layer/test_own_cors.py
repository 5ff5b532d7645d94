"""An app that has CORS middleware of its own: it keeps it, and one warning names which to take away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from litestar import Litestar
from litestar.config.cors import CORSConfig
from starlette.applications import Starlette

from roadworthy import Layer, roadworthy

from ..asgi_driver import ask
from ..served import served
from ..warnings_of import warnings_of

pytestmark = pytest.mark.anyio

ORIGIN = "https://good.example"
PREFLIGHT = [(b"origin", ORIGIN.encode()), (b"access-control-request-method", b"PUT")]


def _with_middleware(app: Any) -> Any:
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN], allow_methods=["PUT"])
    return app


APPS: dict[str, Callable[[], Any]] = {
    "fastapi": lambda: _with_middleware(FastAPI()),
    "starlette": lambda: _with_middleware(Starlette()),
    "litestar": lambda: Litestar(cors_config=CORSConfig(allow_origins=[ORIGIN], allow_methods=["PUT"])),
}


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """Collect what the lifespan warns of."""
    with warnings_of("roadworthy.lifespan") as found:
        yield found


@pytest.mark.parametrize("kind", APPS)
@pytest.mark.parametrize("ours", ["", ORIGIN])
async def test_one_warning_says_which_to_take_away(kind: str, ours: str, warned: list[str]) -> None:
    """Where both are on, and where only the app's is, of which errors before the app have nothing."""
    async with served(roadworthy(APPS[kind](), cors_origins=ours)):
        pass
    assert len(warned) == 1
    assert ("take the middleware out" if ours else "set ROADWORTHY_CORS_ORIGINS") in warned[0]


async def test_without_one_there_is_no_warning(warned: list[str]) -> None:
    """An app that has none is left in peace."""
    async with served(roadworthy(FastAPI(), cors_origins=ORIGIN)):
        pass
    assert warned == []


@pytest.mark.parametrize("kind", APPS)
async def test_preflights_that_the_app_answers_are_not_counted(kind: str) -> None:
    """A page may ask as often as its browser likes, and has its whole quota for the requests themselves."""
    layer: Layer = roadworthy(APPS[kind](), rate_limit="2/hour")
    answers = [await ask(layer, "OPTIONS", "/x", PREFLIGHT) for _ in range(5)]
    assert {one.status for one in answers} <= {200, 204}
    assert {one.headers["access-control-allow-origin"] for one in answers} == {ORIGIN}
    assert [(await ask(layer, path="/x")).status for _ in range(3)] == [404, 404, 429]
    # What only looks like one is counted.
    assert (await ask(layer, "OPTIONS", "/x")).status == 429


def test_a_wrapped_app_is_an_instance_of_its_class() -> None:
    """`fastapi run` looks for a FastAPI in a module; the layer's own class stays known as well."""
    app: Any = roadworthy(FastAPI())
    assert isinstance(app, FastAPI)
    assert isinstance(app, Layer)
    assert roadworthy(app) is app
