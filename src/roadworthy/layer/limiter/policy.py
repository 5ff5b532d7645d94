"""What one limit is, and what every store of counts must offer.

The algorithm is the generic cell rate algorithm in its virtual scheduling form (ITU-T I.371 Annex A, ATM
Forum Traffic Management 4.0 section 4.4.5). A key has one number: the theoretical arrival time (TAT) of its
next request. A request moves it on by the emission interval; it is admitted while the TAT stays at most one
burst ahead of the clock. A TAT that is not in the future says the same as no entry at all, so it may be
forgotten.

Times are whole microseconds: adding intervals is exact, in Python, in 64-bit shared memory and in the doubles
of a Redis script alike, so exactly N requests fit in a burst. Redis' ``TIME`` has no finer unit.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ...errors import Limit

if TYPE_CHECKING:
    from ...settings import Rate
    from ...types import Headers

__all__ = ("SERVICE", "STATIC", "Policy", "Room", "Store")

Room: TypeAlias = int | None
"""Microseconds of burst left after this request; below zero it is refused and may come back after so many
microseconds; None where the store cannot decide and its policy is to refuse."""

SERVICE = "default"
"""Name of the limit of the service, which is not that of a rule."""
STATIC = "static"
"""Name of the limit of static files."""

_CACHED_VALUES = 4_096
_SECOND = 1_000_000


class Policy:
    """One limit under its public name, with everything computed that does not depend on the request.

    Parameters:
        name: what clients see in ``RateLimit-Policy``: ``default``, or a route's template.
        rate: requests in a burst, refilled evenly over the period. The refill is exact where the period
        divides
            into whole microseconds, otherwise up to 1 µs per request slower, never faster.
    """

    __slots__ = (
        "_line",
        "_made",
        "_member",
        "burst",
        "count",
        "field",
        "interval",
        "label",
        "limit",
        "name",
        "period",
    )

    def __init__(self, name: str, rate: Rate) -> None:
        self.name = name
        self.count = rate.count
        self.period = rate.period
        unit = f"requests{str(rate)[len(str(rate.count)) :]}"
        setting = "RATE_LIMIT_STATIC" if name == STATIC else "RATE_LIMIT"
        self.limit = Limit(setting, rate.count, unit, "rate_limit", name not in (SERVICE, STATIC))
        """What a record names when this limit has refused a request."""
        self.interval = -(-rate.period * _SECOND // rate.count)
        self.burst = rate.count * self.interval
        # The rate is part of the key: after a change of the limit, a TAT of the old one would refuse for too
        # long.
        self.label = f"{name}:{rate.count}:{rate.period}:"
        self._member = _structured_string(name)
        self.field = (b"ratelimit-policy", b"%b;q=%d;w=%d" % (self._member, rate.count, rate.period))
        self._line = b"%b: %b\r\n" % self.field
        self._made: dict[int, tuple[Headers, bytes]] = {}

    def remaining(self, room: int) -> int:
        """Return how many further requests would be admitted at this instant."""
        return room // self.interval if room > 0 else 0

    def reset(self, room: int) -> int:
        """Return the whole seconds, at least 1 and rounded up, until one more request is admitted.

        This is the ``t`` of draft-ietf-httpapi-ratelimit-headers-11 ("until additional quota is made
        available") and never later than ``Retry-After`` of the same response, as its section on server
        behaviour asks.
        """
        if room < 0:
            return -(room // _SECOND)
        return -((room % self.interval - self.interval) // _SECOND)

    def value(self, room: int) -> bytes:
        """Return the value of the ``RateLimit`` field."""
        return b"%b;r=%d;t=%d" % (self._member, self.remaining(room), self.reset(room))

    def fields(self, room: int) -> tuple[Headers, bytes]:
        """Return ``RateLimit-Policy`` and ``RateLimit``: as fields, and as lines for the wire."""
        if room < 0 or self.interval > _SECOND:
            return self._encode(room)
        # With an interval of at most a second, t is always 1: they depend on r alone.
        remaining = room // self.interval
        made = self._made.get(remaining)
        if made is None:
            made = self._encode(room)
            if len(self._made) < _CACHED_VALUES:
                self._made[remaining] = made
        return made

    def _encode(self, room: int) -> tuple[Headers, bytes]:
        value = self.value(room)
        return [self.field, (b"ratelimit", value)], b"%bratelimit: %b\r\n" % (self._line, value)


class Store(Protocol):
    """Where the counts of one service live. Used on the event loop's thread only."""

    @property
    def decisions(self) -> int:
        """Decisions asked for."""
        ...

    @property
    def refusals(self) -> int:
        """Requests refused because their key was above its limit."""
        ...

    @property
    def overflows(self) -> int:
        """Decisions taken in the overflow sketch because the table was full of unexpired keys."""
        ...

    @property
    def fallbacks(self) -> int:
        """Decisions taken without the shared counts because they could not be reached in time."""
        ...

    def take(self, policy: Policy, key: str) -> Room | Awaitable[Room]:
        """Count one request of ``key`` under ``policy``."""
        ...

    async def close(self) -> None:
        """Give back what the store holds; further decisions are an error."""
        ...


def _structured_string(text: str) -> bytes:
    """Serialize a String of RFC 9651 §4.1.6; bytes it cannot carry are percent-encoded."""
    made = bytearray(b'"')
    for byte in text.encode("utf-8", "replace"):
        if byte in b'"\\':
            made += b"\\%c" % byte
        elif 0x20 <= byte < 0x7F:
            made.append(byte)
        else:
            made += b"%%%02X" % byte
    return bytes(made + b'"')
