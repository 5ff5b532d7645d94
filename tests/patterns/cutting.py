"""A proxy before PostgreSQL that cuts each connection at its COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ("cutting",)


@asynccontextmanager
async def cutting(port: int, *, before: bool) -> AsyncIterator[int]:
    """Stand before a server, at the port that is given.

    Parameters:
        port: of the server.
        before: COMMIT does not arrive. Else it does, and its answer does not.
    """

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", port)
        silent, answered = asyncio.Event(), asyncio.Event()

        async def back() -> None:
            while data := await server.read(65536):
                if silent.is_set():
                    break
                to_client.write(data)
            answered.set()
            to_client.close()

        back_again = asyncio.create_task(back())
        while data := await client.read(65536):
            if b"COMMIT\0" in data:
                silent.set()
                if before:
                    break
                to_server.write(data)
                await answered.wait()
                break
            to_server.write(data)
        to_server.close()
        await back_again

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
