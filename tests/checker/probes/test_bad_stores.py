"""ENV-4: what a wrong password shows depends on whether the store asks for one."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from pathlib import Path

import pytest

from roadworthy.checker import Options, Profile, Result, Verdict, parse_manifest, run_check

_SERVICE = Path(__file__).with_name("store_user.py")


async def _judged(method: int, folder: Path) -> Result:
    """Check the service on a server that wants this kind of authentication of PostgreSQL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(4096):
            writer.write(b"R" + struct.pack("!ii", 8, method))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        text = f"""
version = 1
[start]
command = {json.dumps([sys.executable, "-P", str(_SERVICE)])}
[listen]
port_env = "PORT"
[health]
ready = "/readyz"
[database]
kind = "postgres"
env = "DATABASE_URL"
url = "postgresql://ada:word-of-ada@127.0.0.1:{port}/shop"
"""
        manifest = parse_manifest(text, folder=folder)
        options = Options(only=("ENV-4",), profile=Profile.FULL, second_try=False, calibrated=False)
        return (await run_check(manifest, options)).results[0]


@pytest.mark.parametrize("method", [3, 10])
def test_a_wrong_password_that_is_not_noticed_is_a_failure(method: int, tmp_path: Path) -> None:
    """On a server that asks for passwords, a service that is ready with a wrong one has never signed in."""
    result = asyncio.run(_judged(method, tmp_path))
    assert result.verdict is Verdict.FAIL
    assert [finding.title for finding in result.findings] == ["with a wrong password the service is ready"]


def test_a_server_that_takes_any_password_proves_nothing(tmp_path: Path) -> None:
    """With trust authentication no service can notice a wrong password, so the reason names the server."""
    result = asyncio.run(_judged(0, tmp_path))
    assert (result.verdict, result.findings) == (Verdict.INCONCLUSIVE, ())
    assert result.reason.startswith(
        "not judged: a start with a wrong password (the server asks no password of"
    )
    assert "word-of-ada" not in result.reason
