"""When a fault of a mutant shows: only on a method, only on a kept connection, only during a drain.

``ZOO_FIRED`` names a file that is made when a fault has shown. To the file that ``ZOO_TRACE`` names a service
without faults writes which could show, and under which conditions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roadworthy.checklist import Dimension

if TYPE_CHECKING:
    from .http import Request, Response
    from .service import Zoo

__all__ = ("CONDITIONS", "Exchange", "current", "holds", "traced")

_LARGE = 16_384
_LONG = 1024


@dataclass(slots=True)
class Exchange:
    """One request, and its response once there is one.

    Parameters:
        time: how often this process has got a request of the method for the path, this one counted.
    """

    zoo: Zoo
    request: Request
    time: int
    response: Response | None = None

    def field(self, name: str) -> str:
        """Return a field of the request, empty when it has none."""
        return self.request.fields.get(name, "")


current: ContextVar[Exchange] = ContextVar("current")
"""The exchange that the running code is about."""

_Holds = Callable[[Exchange], bool]


def _method(name: str) -> _Holds:
    return lambda one: one.request.method == name


def _route(template: str) -> _Holds:
    return lambda one: one.request.facts.get("route") == template or one.request.path == template


def _status(first: int, last: int) -> _Holds:
    return lambda one: one.response is not None and first <= one.response.status <= last


def _has(name: str, text: str) -> _Holds:
    return lambda one: text in one.field(name).lower()


def _body(one: Exchange) -> int:
    return 0 if one.response is None else len(one.response.body)


CONDITIONS: Mapping[Dimension, Mapping[str, _Holds]] = {
    Dimension.METHOD: {
        f"method={name}": _method(name) for name in ("POST", "GET", "DELETE", "PUT", "HEAD", "OPTIONS")
    },
    Dimension.ROUTE: {
        f"route={path}": _route(path)
        for path in (
            *("/api/items", "/api/items/{id}", "/api/users", "/api/users/{id}", "/livez", "/readyz"),
            *("/api/large", "/api/page", "/api/users/{id}/posts", "/api/users/{id}/overview", "/api/fails"),
            *("/api/users/batch", "/api/transfers", "/api/login", "/metrics"),
        )
    },
    Dimension.STATUS: {
        "status=2xx": _status(200, 299),
        "status=4xx": _status(400, 499),
        "status=404": _status(404, 404),
        "status=405": _status(405, 405),
        "status=422": _status(422, 422),
        "status=5xx": _status(500, 599),
        "status=201": _status(201, 201),
        "status=204": _status(204, 204),
    },
    Dimension.MEDIA_TYPE: {
        "accept=html": _has("accept", "text/html"),
        "accept=json": _has("accept", "json"),
        "sent=charset": _has("content-type", "charset"),
    },
    Dimension.ORIGIN: {
        "origin=second": _has("origin", "//admin.example"),
        "origin=some": _has("origin", "/"),
        "origin=null": _has("origin", "null"),
        "origin=none": lambda one: not one.field("origin"),
    },
    Dimension.CONNECTION: {
        "connection=kept": lambda one: one.request.facts.get("number", 1) > 1,
        "connection=new": lambda one: one.request.facts.get("number", 1) == 1,
    },
    Dimension.HTTP_VERSION: {"version=1.0": lambda one: one.request.version == "1.0"},
    Dimension.SIZE: {
        "size=large": lambda one: _body(one) > _LARGE,
        "size=long": lambda one: len(one.request.body) > _LONG,
        "size=small": lambda one: one.response is not None and _body(one) <= _LARGE,
    },
    Dimension.ENCODING: {
        "encoding=gzip": _has("accept-encoding", "gzip"),
        "encoding=br": _has("accept-encoding", "br"),
        "encoding=none": lambda one: not one.field("accept-encoding"),
    },
    Dimension.VALUE: {"value=query": lambda one: "?" in one.request.target},
    Dimension.PARALLEL: {
        "parallel=yes": lambda one: len(one.zoo.server.writers) > 1,
        "parallel=no": lambda one: len(one.zoo.server.writers) <= 1,
    },
    Dimension.REPEAT: {
        "repeat=later": lambda one: one.time > 1,
        "repeat=first": lambda one: one.time == 1,
    },
    Dimension.WORKER: {"worker=second": lambda one: os.environ.get("ZOO_WORKER") == "1"},
    Dimension.DRAIN: {
        "drain=yes": lambda one: one.zoo.draining,
        "drain=no": lambda one: not one.zoo.draining,
    },
}
"""What a mutant's fault may depend on, by dimension; those that no request has are varied by hand."""

_ALL = {name: condition for group in CONDITIONS.values() for name, condition in group.items()}
_fired, _trace = os.environ.get("ZOO_FIRED", ""), os.environ.get("ZOO_TRACE", "")
_known: set[tuple[str, str]] = set()


def holds(condition: str) -> bool:
    """Tell whether a condition holds for the exchange that the running code is about."""
    exchange = current.get(None)
    found = exchange is not None and _ALL[condition](exchange)
    if found and _fired:
        Path(_fired).touch()
    return found


def traced(name: str) -> bool:
    """Write down under which conditions the fault of this name could show here; return False."""
    exchange = current.get(None)
    if _trace and exchange is not None:
        fresh = {(name, key) for key, condition in _ALL.items() if condition(exchange)} - _known
        if fresh:
            _known.update(fresh)
            with Path(_trace).open("a") as file:
                file.writelines(f"{fault} {key}\n" for fault, key in sorted(fresh))
    return False
