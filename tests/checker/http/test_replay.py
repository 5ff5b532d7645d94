"""The command in a report sends what the check has sent."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import sys
from pathlib import Path

import pytest

from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.show import curl, shown
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


async def _run(command: str, **variables: str) -> int:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, stdout=asyncio.subprocess.DEVNULL, env={**os.environ, **variables}
    )
    return await process.wait()


_JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "fields", "body"),
    [
        ("GET", "/items?q=it's%20here", {"Accept": '*/* ; q="1"'}, None),
        ("GET", f"/{'a' * 16_384}?b={'b' * 300}$HOME", {"X-Large": f"{'0' * 60_000} and {'c' * 100}"}, None),
        ("POST", "/items", _JSON, b'{"name": "\xc3\xa4", "text": "$(id)"}'),
        ("POST", "/items", {}, b"a=b"),
        ("POST", "/items", _JSON, b'-{"name": "50%\\n\xff\0"}'),
        ("POST", "/items", {**_JSON, "Content-Encoding": "gzip"}, gzip.compress(b'{"name": "a"}', mtime=0)),
        ("POST", "/items", _JSON, b"[" * 10_000 + b'"; true' + b"]" * 10_000),
        ("POST", "/items", _JSON, b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
        ("PUT", "/items/1", {}, b"-" * 300_000 + "ä".encode() * 70),
    ],
    ids=["quotes", "long runs", "text", "no type", "no text", "gzip", "deep", "deeper", "large"],
)
async def test_the_command_sends_the_same(
    method: str, path: str, fields: dict[str, str], body: bytes | None
) -> None:
    """A shell that runs it sends the same target, fields and body, and it stays short for all that."""
    heard: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(len(body or b"")))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    heads: list[bytes] = []
    async with serving(handler, heads) as address:
        answer = await exchange(address, method, path, fields, body)
        command = shown(answer).curl
        assert str(address) not in command
        assert await _run(command, URL=f"http://{address}") == 0
    # curl adds its own name.
    first, second = [set(head.split(b"\r\n")) for head in heads]
    assert first <= second
    assert heard == [body or b""] * 2
    assert len(command) < 500


# As much of netcat as a command needs; not every machine has one.
_NETCAT = f"""#!{sys.executable}
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as there:
    there.sendall(sys.stdin.buffer.read())
    there.recv(1)
"""


async def test_bytes_that_are_no_request_are_sent_as_they_are(tmp_path: Path) -> None:
    """A request that no client would send goes to ``$URL`` too, byte by byte."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nX-Odd : 100%\xff\\1\r\n\r\n"
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    (tmp_path / "nc").write_text(_NETCAT)
    (tmp_path / "nc").chmod(0o755)
    async with serving(handler, heads) as address:
        command = curl(Request("GET", "/", address, raw=raw))
        path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
        assert await _run(command, URL=f"http://{address}", PATH=path) == 0
    assert heads == [raw]


def test_a_listener_of_operations_has_a_variable_of_its_own() -> None:
    """Where metrics are on another port, the command for them does not go to the public one."""
    command = curl(Request("GET", "/metrics", Address("127.0.0.1", 9464, "METRICS_URL")))
    assert command.endswith('--path-as-is "$METRICS_URL"/metrics')
