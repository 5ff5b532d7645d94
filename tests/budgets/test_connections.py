"""What the server's own parser does with a read of 256 KiB, the most that asyncio hands over at once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
import uvicorn

from roadworthy.server.http.factory import http_protocol
from roadworthy.server.http.limits import Limits

from .inputs import fill
from .measure import quick, translated, without_collections

READ = 256 << 10
# Escapes are undone by urllib, with a step for each; a chunk of one byte is a client's right, and a call from
# the parser in C into Python. All else is within 20.
_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _app(scope: Any, receive: Any, send: Any) -> None: ...


class _Transport(asyncio.Transport):
    """Takes what is written and closes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: Any) -> None: ...

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@pytest.mark.parametrize(
    ("data", "ratio"),
    [
        pytest.param(_HEAD + fill(b"a:\r\n", READ), 20, id="fields"),
        pytest.param(_HEAD + b"a:" + fill(b"a", READ), 20, id="one field"),
        pytest.param(b"GET /" + fill(b"a", READ), 20, id="target"),
        pytest.param(b"GET /" + fill(b"%41", 8_000) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 250, id="escapes"),
        pytest.param(_BODY + b"0\r\n" + fill(b"a:\r\n", READ), 20, id="trailers"),
        pytest.param(_BODY + fill(b"1\r\na\r\n", READ), 200, id="chunks of one byte"),
        pytest.param(_BODY + b"1;" + fill(b"a", READ), 20, id="one extension"),
        pytest.param(fill(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", READ), 20, id="requests"),
    ],
)
def test_a_read_costs_little_whatever_is_in_it(data: bytes, ratio: float) -> None:
    """A read is refused between its pieces, so that no flood of small parts is taken to its end."""

    async def feed() -> float:
        make = http_protocol(Limits())
        config = uvicorn.Config(_app, http=make, lifespan="off", log_config=None)
        config.load()
        server = uvicorn.Server(config)
        best = float("inf")
        for _ in range(5):
            protocol = make(config, server.server_state, {})
            transport = _Transport()
            protocol.connection_made(transport)
            best = min(best, quick(partial(protocol.data_received, data)))
            protocol.connection_lost(None)
        return best

    with without_collections():
        found = asyncio.run(feed()) / translated(data)
        assert found <= ratio, f"{found:.0f} translations"
