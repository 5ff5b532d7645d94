"""The health of a whole service, as its supervisor's operations listener reports it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from ...layer.exchange import Reply
from ...layer.operations import json_page
from .child import Worker

__all__ = ("ServiceHealth", "details_of")

_ASK = 1.0
"""Seconds a worker gets to report its health; one that needs longer is shown without."""


class _Service(Protocol):
    def started(self) -> bool: ...

    def ready(self) -> bool: ...

    async def details(self) -> dict[str, Any]: ...


class ServiceHealth:
    """Answers probes from what the workers reported last, and details by asking them.

    Parameters:
        service: what knows the workers.
    """

    def __init__(self, service: _Service) -> None:
        self._service = service

    def probe(self, path: str, method: str = "GET") -> Reply:
        """Return the answer to one of the three probes."""
        passing = {"/startupz": self._service.started, "/readyz": self._service.ready}.get(path)
        if passing is None or passing():
            return json_page({"status": "ok"})
        return json_page({"status": "unavailable"}, 503)

    async def details(self) -> dict[str, Any]:
        """Return the state of the service and of each worker."""
        return await self._service.details()


async def details_of(pool: list[Worker]) -> list[dict[str, Any]]:
    """Ask every worker for its health, all at the same time."""
    answers = await asyncio.gather(*(one.ask("health", _ASK) for one in pool))
    now = time.monotonic()
    return [
        {
            "pid": one.pid,
            "state": one.state,
            "ready": one.ready,
            "seconds_up": round(now - one.started_at, 1),
            "seconds_silent": round(now - one.heard_at, 1),
            "health": None if answer is None else answer["health"],
        }
        for one, answer in zip(pool, answers, strict=True)
    ]
