"""Every name of uvicorn that the HTTP protocol class depends on, besides ``Config`` and ``Server``.

uvicorn calls the class of ``Config(http=…)`` with ``config``, ``server_state``, ``app_state`` and ``_loop``,
and calls ``shutdown()`` on each member of ``server_state.connections`` when it closes.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Protocol

import uvicorn
from uvicorn.server import ServerState

__all__ = ("Config", "ServerState", "State", "missing")

_CONFIG = ("loaded", "load", "http", "root_path", "limit_concurrency", "ws")
_LOADED = ("loaded_app", "asgi_version", "ws_protocol_class", "http_protocol_class")
_STATE = ("connections", "tasks", "default_headers", "total_requests")


class Config(Protocol):
    """What is read of :class:`uvicorn.Config`."""

    loaded: bool
    loaded_app: Any
    ws_protocol_class: Any
    root_path: str
    limit_concurrency: int | None

    @property
    def asgi_version(self) -> str:
        """The version of ASGI, ``3.0``."""
        ...

    def load(self) -> None:
        """Import the app and the classes."""


class State(Protocol):
    """What is read and written of ``uvicorn.server.ServerState``."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    default_headers: list[tuple[bytes, bytes]]
    total_requests: int


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Do nothing."""


def missing() -> list[str]:
    """Return the names that the installed uvicorn does not have any more; empty when all is well."""

    class Probe(asyncio.Protocol):
        pass

    config = uvicorn.Config(_app, http=Probe, log_config=None, lifespan="off")
    found = [f"Config.{name}" for name in _CONFIG if not hasattr(config, name)]
    config.load()
    found += [f"Config.{name} after load()" for name in _LOADED if not hasattr(config, name)]
    if getattr(config, "http_protocol_class", None) is not Probe:
        found.append("Config(http=<class>)")
    state = ServerState()
    found += [f"ServerState.{name}" for name in _STATE if not hasattr(state, name)]
    body = inspect.getsource(uvicorn.Server)
    wanted = ("config=", "server_state=", "app_state=", "_loop=", "connection.shutdown()")
    found += [f"{words} in uvicorn.Server" for words in wanted if words not in body]
    return found
