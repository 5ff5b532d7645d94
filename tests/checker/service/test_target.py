"""Starting a service whose port another process takes before it listens there."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from roadworthy.checker import parse_manifest
from roadworthy.checker.custody import Custody
from roadworthy.checker.errors import PortTaken
from roadworthy.checker.read.masking import Masker
from roadworthy.checker.service.target import Launch, attach, launch

# It tells its port to the test, and listens there when it is told that it may.
_SERVICE = """
import os, socket, sys
port = int(os.environ["PORT"])
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as line:
    line.sendall(b"%d\\n" % port)
    line.recv(1)
listener = socket.create_server(("127.0.0.1", port))
while True:
    connection, _ = listener.accept()
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    connection.close()
"""


async def _started(folder: Path, thefts: int) -> list[int]:
    """Start the service, whose port is taken so many times, and return the ports that it was given."""
    ports: list[int] = []
    with ExitStack() as taken:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ports.append(int(await reader.readline()))
            if len(ports) <= thefts:
                taken.enter_context(socket.create_server(("127.0.0.1", ports[-1])))
            writer.write(b".")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as control:
            number = control.sockets[0].getsockname()[1]
            command = f"[{sys.executable!r}, '-c', '''{_SERVICE}''', '{number}']"
            text = f"[start]\ncommand = {command}\n[listen]\nport_env = 'PORT'\n"
            manifest = parse_manifest(text, folder=folder)
            target = await launch(manifest, Launch(), folder, Masker(), Custody(manifest, folder, "0"))
            await target.close()
            assert target.address.port == ports[-1]
    return ports


def test_a_lost_port_is_replaced(tmp_path: Path) -> None:
    """A service that finds its port taken is started again on another one."""
    ports = asyncio.run(_started(tmp_path, 2))
    assert len(set(ports)) == 3


def test_a_port_that_is_lost_each_time_is_the_end(tmp_path: Path) -> None:
    """After three starts the check gives up, with the last words of the service."""
    with pytest.raises(PortTaken, match="in use"):
        asyncio.run(_started(tmp_path, 3))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_localhost_is_either_address() -> None:
    """A service that listens on ::1 alone, as some do for ``localhost``, is found by that name."""

    async def attached() -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "::1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            manifest = parse_manifest(f'[start]\nurl = "http://localhost:{port}"\n')
            return (await attach(manifest)).address.host

    assert asyncio.run(attached()) == "::1"
