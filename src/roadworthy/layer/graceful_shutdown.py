"""Graceful shutdown, the layer's part: announce it, finish what began, end streams on purpose.

The life of a service is a line of states, and only forwards::

    starting -> serving -> draining -> closing

``draining``: readiness is 503 at once, requests are still served, every response closes its connection.
``closing``: event streams and WebSockets are asked to end, and cut after ``stream_grace``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from ..settings import Settings
from .exchange import Exchange, Live

__all__ = ("GracefulShutdown", "State")

State = Literal["starting", "serving", "draining", "closing"]
_ORDER: dict[State, int] = {"starting": 0, "serving": 1, "draining": 2, "closing": 3}
_log = logging.getLogger("roadworthy.shutdown")


class GracefulShutdown:
    """Holds the state of the process and everything that is live in it.

    Parameters:
        settings: ``stream_grace`` seconds between asking streams to end and cutting them.

    Attributes:
        state: where in its life the process is.
        draining: True from the first sign of shutdown on.
        live: what may have to be asked to end.
        failed: the process ends because of a failure; its exit code reports it.
        refused: it did not start because of its settings; its exit code reports that.
    """

    def __init__(self, settings: Settings) -> None:
        self.state: State = "starting"
        self.draining = False
        self.failed = self.refused = False
        self.live: set[Live] = set()
        self._stream_grace = settings.stream_grace
        self._listeners: list[Callable[[State], None]] = []
        self._drain: asyncio.Event | None = None

    def on_change(self, listener: Callable[[State], None]) -> None:
        """Call ``listener`` with each new state."""
        self._listeners.append(listener)

    def respond(self, exchange: Exchange) -> None:
        """Ask the client to open its next connection elsewhere (RFC 9112 §9.6)."""
        if exchange.http_version[0] == "1":
            exchange.add(((b"connection", b"close"),))

    async def wait_for_drain(self) -> None:
        """Return as soon as the process begins to drain; for handlers of long streams."""
        if self.draining:
            return
        if self._drain is None:
            self._drain = asyncio.Event()
        await self._drain.wait()

    def serving(self) -> None:
        """Begin to serve."""
        self._advance("serving")

    def serving_quietly(self) -> None:
        """Begin to serve without a record (the self-test's own small service)."""
        self.state = "serving"

    def begin_again(self) -> None:
        """Go back to the start: the service has ended, and the same process serves it once more."""
        self.state = "starting"
        self.draining = self.failed = False
        self._drain = None

    def begin_drain(self) -> None:
        """Turn readiness to 503 and go on serving."""
        self._advance("draining")

    def retire(self) -> None:
        """Have every response close its connection, without a word to probes: other workers serve on."""
        self.draining = True

    def begin_close(self) -> None:
        """Ask streams to end, and cut them after the stream grace."""
        if not self._advance("closing"):
            return
        self._end_streams(frozenset())

    def unfinished(self) -> list[str]:
        """Describe what has no whole answer yet, for the record of what is cut."""
        return sorted(one.exchange.describe() for one in self.live if not one.exchange.ended)

    def _end_streams(self, asked: frozenset[Live]) -> None:
        """Ask what is live to end, and do it again later: a last request may have begun a stream."""
        for one in asked & self.live:
            one.cut()
        fresh = frozenset(self.live) - asked
        for one in fresh:
            one.ask_to_end()
        asyncio.get_running_loop().call_later(max(self._stream_grace, 0.1), self._end_streams, fresh)

    def _advance(self, state: State) -> bool:
        if _ORDER[state] <= _ORDER[self.state]:
            return False
        self.state = state
        self.draining = state in ("draining", "closing")
        _log.info(state, extra={"in_flight": len(self.live)})
        if self.draining and self._drain is not None:
            self._drain.set()
        for listener in self._listeners:
            listener(state)
        return True
