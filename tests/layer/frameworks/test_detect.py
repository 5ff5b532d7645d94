"""Which adapter an app gets."""

import subprocess
import sys
from typing import Any

from fastapi import FastAPI
from litestar import Litestar
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router

from roadworthy.layer.frameworks import detect
from roadworthy.types import Receive, Scope, Send
from tests.patience import DEADLINE


async def _plain(scope: Scope, receive: Receive, send: Send) -> None: ...


class _Wrapper:
    def __init__(self, asgi_app: Any) -> None:
        self.asgi_app = asgi_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def test_each_framework_is_known_by_its_class() -> None:
    """An app gets the adapter of its framework: FastAPI not Starlette's, a subclass its parent's."""

    class Service(FastAPI): ...

    assert detect(Service()).name == "fastapi"
    assert detect(Starlette()).name == "starlette"
    assert detect(Router()).name == "starlette"
    assert detect(Litestar([])).name == "litestar"  # type: ignore[arg-type]
    assert detect(_plain).name == "asgi"


def test_it_looks_through_middlewares() -> None:
    """An app inside two ASGI middlewares is found, whatever attribute they keep it in."""
    wrapped: Any = CORSMiddleware(_Wrapper(FastAPI()), allow_origins=["*"])
    assert detect(wrapped).name == "fastapi"


def test_it_looks_through_a_protocol_router() -> None:
    """The app for ``http`` is found in a router that keeps one app per protocol, as django-channels does."""

    router: Any = _Wrapper(None)
    router.application_mapping = {"websocket": _plain, "http": FastAPI()}
    assert detect(router).name == "fastapi"


def test_wrappers_that_hold_each_other_end_the_search() -> None:
    """A circle of wrappers gives the generic adapter, not an endless search."""
    one, two = _Wrapper(None), _Wrapper(None)
    one.asgi_app, two.asgi_app = two, one
    assert detect(one).name == "asgi"


def test_no_framework_is_imported_for_an_app_without_one() -> None:
    """Wrapping a plain ASGI app imports none of the frameworks."""
    code = (
        "import sys\nfrom roadworthy.layer.frameworks import detect\n"
        "async def app(scope, receive, send): ...\n"
        "detect(app)\n"
        "print(sorted({'fastapi', 'starlette', 'litestar', 'django'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=DEADLINE
    )
    assert done.stdout.strip() == "[]"
