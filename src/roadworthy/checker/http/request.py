"""A request of the checker: where it goes, and its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ("Address", "Event", "Fields", "Request", "build_request")

Fields = Sequence[tuple[str, str]] | Mapping[str, str]
"""Header fields: a mapping, or pairs where order and repetition matter."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service listens.

    Parameters:
        name: the variable that stands for it in commands to send a request again.
    """

    host: str
    port: int
    name: str = field(default="URL", compare=False)

    def __str__(self) -> str:
        """Return ``host:port``, as the Host field has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on a connection.

    Parameters:
        at: ``time.monotonic()`` in seconds.
        kind: ``dial``, ``sent``, ``send-failed``, ``data``, ``eof``, ``reset``, ``aborted``.
        count: bytes, where there are some.
    """

    at: float
    kind: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What was sent: enough to show it and to send it again."""

    method: str
    path: str
    address: Address
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    raw: bytes | None = None
    """The bytes, where they are not a well-formed request of the fields above."""
    version: str = "1.1"
    """Of HTTP."""
    later: bool = False
    """Whether the connection has had another request before."""


def build_request(
    address: Address,
    method: str,
    path: str,
    headers: Fields = (),
    body: bytes | None = None,
    *,
    version: str = "1.1",
    later: bool = False,
) -> tuple[Request, bytes]:
    """Return a request and its bytes. Host and Content-Length are added unless ``headers`` has its own."""
    pairs = tuple(headers.items()) if isinstance(headers, Mapping) else tuple(headers)
    names = {name.lower() for name, _ in pairs}
    if "host" not in names:
        pairs = (("Host", str(address)), *pairs)
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        pairs = (*pairs, ("Content-Length", str(len(body))))
    lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in pairs)]
    data = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + (body or b"")
    return Request(method, path, address, pairs, body or b"", version=version, later=later), data
