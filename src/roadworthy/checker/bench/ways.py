"""The ways in which the requests of a probe are sent: what it asks stays, and how it is asked differs."""

from __future__ import annotations

from dataclasses import dataclass

from ...checklist import Dimension

__all__ = ("PLAIN", "WAYS", "Way")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send requests.

    Parameters:
        name: how findings name it, behind "on": ``a kept connection``.
        varies: the dimensions in which it differs from the plain way.
        keeps: send a request as a later one of a connection that has had others.
        version: of HTTP (RFC 9112 §2.3).
        accept: stands for ``Accept: */*``.
        charset: name the charset of JSON, which changes nothing (RFC 8259 §11).
    """

    name: str
    varies: frozenset[Dimension] = frozenset()
    keeps: bool = False
    version: str = "1.1"
    accept: str = "*/*"
    charset: bool = False

    def fields(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the fields of a request as this way has them; what a probe has chosen itself stays."""
        changed = {("accept", "*/*"): self.accept}
        if self.charset:
            changed["content-type", "application/json"] = "application/json; charset=utf-8"
        return [(name, changed.get((name.lower(), value), value)) for name, value in pairs]


PLAIN = Way("a connection of its own")
WAYS = (
    Way(
        "a kept connection",
        frozenset({Dimension.CONNECTION, Dimension.MEDIA_TYPE, Dimension.REPEAT}),
        keeps=True,
        accept="application/json, text/html;q=0.9, */*;q=0.8",
        charset=True,
    ),
    Way("HTTP/1.0", frozenset({Dimension.HTTP_VERSION, Dimension.REPEAT}), version="1.0"),
)
"""What a probe is tried in again once it has passed in the plain way."""
