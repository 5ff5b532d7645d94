"""A question to PostgreSQL without a driver or without a server; tests/proof asks a real one."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

from roadworthy.checker.store.postgres_client import AskFailed, ask
from tests.free_port import free_port


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asyncpg one message says what to install."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(AskFailed, match=r'pip install "roadworthy\[check\]"'):
        asyncio.run(ask("postgresql://user:secret@127.0.0.1:1/name", "SELECT 1"))


@pytest.mark.parametrize(
    "url", ["postgresql://user:secret@127.0.0.1:{port}/name", "postgres://h:secret@h:x/"]
)
def test_a_server_that_cannot_be_asked_is_one_error(url: str) -> None:
    """A refused connection and a non-numeric port are the one error of the module, without the password."""
    with pytest.raises(AskFailed) as failed:
        asyncio.run(ask(url.format(port=free_port()), "SELECT 1"))
    assert str(failed.value)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_speaks_otherwise_is_one_error(answer: bytes) -> None:
    """Silence, and bytes that are not PostgreSQL's, are the one error of the module."""

    async def run() -> None:
        left = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            with contextlib.suppress(OSError):
                await reader.read()
            writer.close()
            left.set()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(AskFailed):
                await ask(f"postgresql://user:secret@127.0.0.1:{port}/name?sslmode=disable", "SELECT 1", 0.5)
            await left.wait()

    asyncio.run(run())
