"""One way to make the record of an exchange, for every test of an item."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from roadworthy.layer.exchange import Exchange

if TYPE_CHECKING:
    from .logs.stream import Stream

__all__ = ("MakeExchange", "make_exchange")

# Every other slot is None.
_DEFAULTS: dict[str, Any] = {
    "begun": False,
    "body_complete": False,
    "body_limit": 1 << 20,
    "body_received": 0,
    "bytes_sent": 0,
    "client": "203.0.113.7",
    "client_key": "203.0.113.7",
    "close": False,
    "deadline": float("inf"),
    "duration": 0.012,
    "ended": False,
    "http_version": "1.1",
    "logged": False,
    "peer": "203.0.113.7",
    "query": b"",
    "root": "",
    "request_id": "00000000000000000000000000000001",
    "scheme": "http",
    "span_id": "",
    "status": 0,
    "streaming": False,
    "trace_id": "",
    "websocket": False,
}


class MakeExchange(Protocol):
    """What the fixture ``exchange`` gives: :func:`make_exchange`."""

    def __call__(
        self, method: str = "GET", path: str = "/", headers: Iterable[tuple[bytes, bytes]] = (), **slots: Any
    ) -> Exchange: ...


def make_exchange(
    method: str = "GET", path: str = "/", headers: Iterable[tuple[bytes, bytes]] = (), **slots: Any
) -> Exchange:
    """Make an exchange with every slot set: an HTTP/1.1 GET from 203.0.113.7 that no step has touched.

    Parameters:
        headers: request fields in order, repeats kept; ``headers`` and ``raw_headers`` follow from it.
        slots: any slot by its name. ``response_headers`` also fills ``response_names`` unless that is given.
    """
    made = Exchange()
    raw = list(headers)
    joined: dict[bytes, bytes] = {}
    for name, value in raw:
        name = name.lower()
        joined[name] = joined[name] + b", " + value if name in joined else value
    response = list(slots.pop("response_headers", ()))
    given: dict[str, Any] = {
        **dict.fromkeys(Exchange.__slots__),
        **_DEFAULTS,
        "method": method,
        "path": path,
        "route_path": path,
        "raw_headers": raw,
        "headers": joined,
        "response_headers": response,
        "response_names": {name.lower(): value for name, value in response},
        "started": time.perf_counter(),
        **slots,
    }
    for slot, content in given.items():
        setattr(made, slot, content)
    return made


@pytest.fixture(scope="session")
def exchange() -> MakeExchange:
    """Give :func:`make_exchange` itself."""
    return make_exchange


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Stream]]:
    """Make streams of records with settings."""
    from .logs.stream import Stream

    made: list[Stream] = []

    def one(**settings: Any) -> Stream:
        made.append(Stream(tmp_path / f"log{len(made)}", **settings))
        return made[-1]

    yield one
    for stream in reversed(made):
        stream.close()


@pytest.fixture
def stream(make: Callable[..., Stream]) -> Stream:
    """A stream of access records."""
    return make()


@pytest.fixture
def routed(make: Callable[..., Stream]) -> Stream:
    """A stream that the process's loggers are routed to."""
    stream = make()
    stream.item.configure()
    return stream
