"""Thin adapters to the frameworks: what an ASGI wrapper cannot see from outside.

An adapter's module is imported only after its framework was found in the app, so that none needs to be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, cast

from ...types import ASGIApp
from ._protocol import EXCHANGE_KEY, Framework, UnknownRouteError

__all__ = ("EXCHANGE_KEY", "Framework", "UnknownRouteError", "detect")

# Where each framework's application class stands, and the adapter for it; the most special one first.
_ADAPTERS = (
    ("fastapi.applications", "FastAPI", "fastapi", "FastAPIFramework"),
    ("starlette.applications", "Starlette", "starlette", "StarletteFramework"),
    ("starlette.routing", "Router", "starlette", "StarletteFramework"),
    ("litestar.app", "Litestar", "litestar", "LitestarFramework"),
    ("django.core.handlers.asgi", "ASGIHandler", "django", "DjangoFramework"),
)
# The attributes under which ASGI middlewares keep the app that they wrap.
_INNER = ("app", "asgi_app", "application", "_app", "wrapped", "inner", "asgi", "__wrapped__")
_MAX_DEPTH = 16


def _layers(app: object) -> Iterator[object]:
    seen: set[int] = set()
    while app is not None and id(app) not in seen and len(seen) < _MAX_DEPTH:
        seen.add(id(app))
        yield app
        # django-channels' ProtocolTypeRouter keeps one app per protocol.
        mapping = getattr(app, "application_mapping", None)
        if isinstance(mapping, Mapping):
            app = cast("Mapping[str, object]", mapping).get("http")
            continue
        app = next((inner for name in _INNER if callable(inner := getattr(app, name, None))), None)


def detect(app: ASGIApp) -> Framework:
    """Return the adapter for the framework that ``app`` is made with, looking through ASGI middlewares.

    Classes are compared by module and name, so nothing is imported to ask. An app of no known framework gets
    the generic adapter, which knows no routes and hides nothing.
    """
    found: Any = None
    for layer in _layers(app):
        kinds = {(kind.__module__, kind.__name__) for kind in type(layer).__mro__}
        for module, name, adapter, class_name in _ADAPTERS:
            if (module, name) in kinds:
                found = getattr(import_module(f".{adapter}", __name__), class_name)
                return cast("Framework", found(layer))
    from .generic import GenericFramework

    return GenericFramework(app)
