"""Whether a server looks at passwords: PostgreSQL and MySQL as their protocols have it."""

from __future__ import annotations

import asyncio
import struct

import pytest

from roadworthy.checker.store.logins import any_password_does

_GREETING = b"\x0a8.4.0\0" + bytes(4) + b"12345678\0" + bytes(2) + b"\x2d" + bytes(2) + bytes(13) + bytes(13)


def _postgres(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _asks(method: int) -> list[bytes]:
    return [b"", _postgres(b"R", struct.pack("!i", method))]


def _mysql(*payloads: bytes) -> list[bytes]:
    return [
        len(each).to_bytes(3, "little") + bytes([number]) + each
        for number, each in zip((0, 2, 4), (_GREETING, *payloads), strict=False)
    ]


_DENIED = b"\xff\x15\x04#28000Access denied for user 'ada'"
_SWITCH = b"\xfecaching_sha2_password\0" + bytes(20) + b"\0"
_ERROR = b"SFATAL\0C28000\0Mno pg_hba.conf entry\0\0"


async def _reason(kind: str, answers: list[bytes]) -> tuple[str, bytes]:
    """Ask a server that sends these, the first at once and each other after a message of the client."""
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, answer in enumerate(answers):
            if number:
                received.extend(await reader.read(4096))
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"{kind}://ada:word-of-ada@127.0.0.1:{port}/shop"
        return await any_password_does(kind, url), bytes(received)


@pytest.mark.parametrize(
    ("kind", "answers", "reason"),
    [
        ("postgres", _asks(0), "trust"),
        ("postgres", _asks(3), ""),
        ("postgres", _asks(5), ""),
        ("postgres", _asks(10), ""),
        ("postgres", _asks(7), "something else than a password"),
        ("postgres", [b"", _postgres(b"E", _ERROR)], "no pg_hba.conf entry"),
        ("postgres", [b"", _postgres(b"N", b"\0")], "something else"),
        ("postgres", [b"", b"R\xff\xff\xff\xff"], "no login"),
        ("postgres", [b"", b"R\x00"], "cannot be asked"),
        ("mysql", _mysql(_DENIED), ""),
        ("mysql", _mysql(_SWITCH, _DENIED), ""),
        ("mysql", _mysql(_SWITCH, b"\x01\x04"), ""),
        ("mysql", _mysql(b"\x00\x00\x00\x02\x00\x00\x00"), "any password"),
        ("mysql", _mysql(_SWITCH, b"\x00\x00\x00\x02\x00\x00\x00"), "any password"),
        ("mysql", _mysql(b"\xff\x57\x0c#HY000Connections must be encrypted"), "must be encrypted"),
        ("mysql", [b"\x0d\x00\x00\x00\xff\x10\x04Too many!!"], "Too many"),
        ("mysql", [b""], "cannot be asked"),
    ],
)
def test_what_a_server_does_with_passwords(kind: str, answers: list[bytes], reason: str) -> None:
    """A server that asks for a password, or denies a wrong one, gives no reason; each other one does."""
    found, sent = asyncio.run(_reason(kind, answers))
    assert reason in found
    assert bool(found) == bool(reason)
    assert b"word-of-ada" not in sent


def test_a_server_that_is_not_there_is_a_reason() -> None:
    """Nobody who listens means that nothing is known about passwords."""

    async def asked() -> str:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
        return await any_password_does("postgres", f"postgres://ada:x@127.0.0.1:{port}/shop")

    assert "cannot be asked" in asyncio.run(asked())
