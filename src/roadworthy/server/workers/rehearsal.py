"""The child that imports the app before any worker, reports its settings, and prepares what is shared."""

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import subprocess
from collections.abc import Callable
from typing import Any

from ...settings import Settings
from ..process.listeners import ServeError
from .channel import Message
from .child import Worker

__all__ = ("Rehearsal", "StoppedError")

_POLL = 0.025
_END = 1.0
"""Seconds the child gets to end by itself once it has done its work."""

_log = logging.getLogger("roadworthy.server")


class StoppedError(Exception):
    """Raised when the service has to end before it has begun to serve."""


class Rehearsal:
    """A process that is asked twice, and ends.

    Parameters:
        start: starts it; gets what is to be called with its messages.
        stopped: returns whether the service has to end meanwhile.
    """

    def __init__(
        self, start: Callable[[Callable[[Worker, Message], None]], Worker], stopped: Callable[[], bool]
    ) -> None:
        self._messages: list[Message] = []
        self._worker = start(lambda worker, message: self._messages.append(message))
        self._stopped = stopped
        self._ended = False

    async def settings(self, target: str) -> tuple[Settings, dict[str, Any]]:
        """Return the app's settings, and how they may be shown.

        Raises:
            ServeError: the app cannot be imported; the message is that of a single process.
            StoppedError: the service has to end.
        """
        message = await self._answer()
        if message is None:
            raise ServeError(
                f"the process that imported {target} ended with {self._worker.process.returncode}"
            )
        if "refused" in message:
            raise ServeError(message["refused"])
        # From our own child, over a socket that nobody else has.
        values: dict[str, Any] = pickle.loads(base64.b64decode(message["settings"]))  # noqa: S301
        return Settings.model_construct(None, **values), message["configuration"]

    async def prepare(self) -> int:
        """Have done what is done once before any worker serves; return the exit code, 0 when it went well.

        Raises:
            StoppedError: the service has to end.
        """
        self._worker.send(do="prepare")
        message = await self._answer()
        if message is None or "refused" in message:
            answer = message or {}
            _log.error("not started: %s", answer.get("refused", "the preparing process was ended"))
            return int(answer.get("code", 1))
        return 0

    def end(self) -> None:
        """Wait for its end, and hasten it when it does not come; nothing the second time."""
        if self._ended:
            return
        self._ended = True
        try:
            self._worker.process.wait(_END)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.process.wait()
        self._worker.gone()

    def kill(self) -> None:
        """End it at once."""
        self._worker.kill()
        self.end()

    async def _answer(self) -> Message | None:
        while not self._messages:
            if self._stopped():
                raise StoppedError
            if self._worker.gone():
                self._ended = True
                return self._messages.pop(0) if self._messages else None
            await asyncio.sleep(_POLL)
        return self._messages.pop(0)
