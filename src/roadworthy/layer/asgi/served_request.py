"""A request as our own server hands it to the layer."""

from __future__ import annotations

from typing import Protocol

from ...settings import Settings
from ...types import Headers, Message, Scope

__all__ = ("ServedRequest",)


class ServedRequest(Protocol):
    """A request as our own server hands it over: ASGI's three, and what other servers do not have."""

    scope: Scope
    body_timeout: float | None
    """Seconds in which the route's body arrives, None for the limit of all."""

    @property
    def settings(self) -> Settings | None:
        """The settings by which the server has held the request's head to the limits, None for others."""
        ...

    async def receive(self) -> Message:
        """Give the app its next message."""
        ...

    async def send(self, message: Message) -> None:
        """Take one message of the app."""

    def send_whole(self, status: int, headers: Headers, ready: list[bytes], body: bytes) -> bool:
        """Send a whole response at once; False where it has to go as messages after all.

        Parameters:
            status: its status.
            headers: its fields.
            ready: lines of further fields, encoded.
            body: its body.
        """
        ...
