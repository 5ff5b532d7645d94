"""The command in a report sends what the check has sent."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from roadworthy.checker.http.show import shown
from roadworthy.checker.http.wire import exchange

from .test_wire import serving

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]


@pytest.fixture
def anyio_backend() -> str:
    """The client is written for asyncio."""
    return "asyncio"


@pytest.mark.parametrize(
    ("method", "path", "fields", "body"),
    [
        ("GET", "/items?q=it's%20here", {"Accept": '*/* ; q="1"'}, None),
        ("GET", f"/{'a' * 16_384}?b={'b' * 300}$HOME", {"X-Large": f"{'0' * 60_000} and {'c' * 100}"}, None),
        ("POST", "/items", {"Content-Type": "application/json"}, b'{"name": "\xc3\xa4", "text": "$(id)"}'),
    ],
    ids=["quotes", "long runs", "a body"],
)
async def test_the_command_sends_the_same(
    method: str, path: str, fields: dict[str, str], body: bytes | None
) -> None:
    """A shell that runs it sends the same target, fields and body, and it stays short for all that."""
    heard: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(len(body or b"")))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    heads: list[bytes] = []
    async with serving(handler, heads) as address:
        answer = await exchange(address, method, path, fields, body)
        command = shown(answer).curl
        process = await asyncio.create_subprocess_exec("sh", "-c", command, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0
    # curl adds its own name.
    first, second = [set(head.split(b"\r\n")) for head in heads]
    assert first <= second
    assert heard == [body or b""] * 2
    assert len(command) < 500
