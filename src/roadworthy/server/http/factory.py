"""What uvicorn is given to make connections of, for given settings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ...settings import Settings
from ..process.descriptors import Room, public_room, websocket_room
from ..process.uvicorn_names import Config, State
from ..websocket.crowd import Crowd
from .connection import HttpProtocol
from .limits import Limits
from .refusals import PlainRefusals, RefusalEncoder
from .shared import Shared
from .sweep import Sweep

__all__ = ("HttpProtocolFactory", "http_protocol")


@dataclass(frozen=True, slots=True)
class HttpProtocolFactory:
    """Called by uvicorn for each connection, as it calls a class of its own.

    Parameters:
        shared: what these connections share.
    """

    shared: Shared

    def __call__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> HttpProtocol:
        """Make one connection."""
        return HttpProtocol(self.shared, config, server_state, app_state, _loop or asyncio.get_event_loop())


def http_protocol(
    settings: Settings | Limits, refusals: RefusalEncoder | None = None, room: Room | None = None
) -> Any:
    """Return the :class:`HttpProtocolFactory` to give to ``uvicorn.Config(http=…)``.

    uvicorn only calls it, but its annotation asks for a class; so this one says ``Any``.

    Parameters:
        settings: deadlines and limits.
        refusals: encodes, records and counts what the server itself answers; problem details and records of
            the logger ``roadworthy.server`` when left out.
        room: how many connections there may be; by default as many as seven eighths of the process's
            descriptors allow.
    """
    limits = settings if isinstance(settings, Limits) else Limits.of(settings)
    return HttpProtocolFactory(
        Shared(
            limits,
            settings if isinstance(settings, Settings) else None,
            Sweep(limits, room or public_room()),
            Crowd(limits.buffer_limit, websocket_room()),
            refusals or PlainRefusals(),
        )
    )
