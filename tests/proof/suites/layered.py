"""Every app that a suite gives to a client of tests has the layer around it, as its user would put it there.

A plugin of pytest (``-p layered``), and a program for suites that have a runner of their own: ``layered.py
runtests.py asgi``. The settings come from the environment.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import runpy
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import httpx2
from asgiref.testing import ApplicationCommunicator
from starlette.testclient import TestClient

from roadworthy import roadworthy
from roadworthy.settings import load_settings

# Read once: some suites watch for files that are read where requests are answered.
_SETTINGS = load_settings(_env_file=None)
_LONGEST = 20
"""Seconds a test of Django's may take; as FastAPI's has it for its own."""
_layers: dict[int, Any] = {}


def _is_asgi3(app: Any) -> bool:
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.isfunction(app) or inspect.ismethod(app):
        return inspect.iscoroutinefunction(app)
    return inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004 # the method itself


def layered(app: Any) -> Any:
    """Return the layer around ``app``, the same one every time; what is of ASGI 2 stays as it is."""
    if not _is_asgi3(app):
        return app
    if id(app) not in _layers:
        # It keeps the app, so that no other one gets its id.
        _layers[id(app)] = roadworthy(app, settings=_SETTINGS)
    return _layers[id(app)]


def _wrap(client: Any, parameter: str) -> None:
    plain = client.__init__
    signature = inspect.signature(plain)

    @functools.wraps(plain)
    def with_layer(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.arguments[parameter] = layered(bound.arguments[parameter])
        plain(*bound.args, **bound.kwargs)

    client.__init__ = with_layer


def pytest_configure() -> None:
    """Change the clients before a test makes one."""
    for client, parameter in (
        (TestClient, "app"),
        (httpx.ASGITransport, "app"),
        (httpx2.ASGITransport, "app"),
        (ApplicationCommunicator, "application"),
    ):
        _wrap(client, parameter)


def _bound_waiting() -> None:
    """Have each test of Django's end: one whose view was never called waits for it without end."""
    testcases: Any = import_module("django.test.testcases")
    plain = testcases.async_to_sync

    def limited(test: Any) -> Any:
        @functools.wraps(test)
        async def run(*args: Any) -> None:
            async with asyncio.timeout(_LONGEST):
                await test(*args)

        return plain(run)

    testcases.async_to_sync = limited


if __name__ == "__main__":
    pytest_configure()
    _bound_waiting()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
