"""What one connection may cost: bytes, fields and seconds, computed once from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ...layer.deadline import body_rate
from ...settings import Settings

__all__ = ("Limits",)

_WRITE_TIMEOUT = 30.0
_LEAST_RATE = 1024.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a connection. Times are seconds, sizes bytes; ``inf`` is no limit.

    Parameters:
        header_timeout: from a request's first byte to the end of its header section; also what a connection
            that sends nothing at all is kept.
        body_timeout: from the end of the header section to the end of the body, for a body that arrives more
            slowly than ``body_rate``.
        body_rate: bytes a second that extend ``body_timeout``: a body may take ``body_timeout`` and, besides,
            the time that what has arrived takes at this rate. From the settings it is the rate at which a
            body of ``body_limit`` arrives exactly in time, so no body within the limit takes twice as long.
        write_timeout: a client that does not read is cut after this time, unless it has taken
            ``write_rate`` bytes a second. 30 s is what a body may take in the other direction.
        write_rate: see ``write_timeout``. 1 KiB/s is below the slowest mobile link, and above what an
            attacker needs to hold many responses in memory (Kestrel, in the same place, asks for 240 B/s).
        keep_alive: an idle connection is kept.
        header_limit: all header fields together, names and values with their separators.
        header_count: header fields.
        url_limit: the request target.
        message_limit: one message of a WebSocket, its fragments together, as the app gets it.
        buffer_limit: what all WebSockets hold together of messages that are not complete or not taken.
    """

    header_timeout: float = 10.0
    body_timeout: float = 30.0
    body_rate: float = float(1 << 20) / 30.0
    write_timeout: float = _WRITE_TIMEOUT
    write_rate: float = _LEAST_RATE
    keep_alive: float = 75.0
    header_limit: int = 32 << 10
    header_count: int = 100
    url_limit: int = 8 << 10
    message_limit: int = 1 << 20
    buffer_limit: int = 64 << 20

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Take the limits from the settings; 0 seconds mean no limit there."""
        return cls(
            header_timeout=settings.header_timeout or inf,
            body_timeout=settings.body_timeout or inf,
            body_rate=body_rate(settings),
            keep_alive=settings.keep_alive,
            header_limit=settings.header_limit,
            header_count=settings.header_count,
            url_limit=settings.url_limit,
            message_limit=settings.websocket_message_limit,
            buffer_limit=settings.websocket_buffer_limit,
        )
