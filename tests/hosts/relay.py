"""Passes bytes on to another address, on a host that can be cut off: python relay.py PORT HOST PORT."""

import asyncio
import sys
from contextlib import suppress

_CHUNK = 1 << 16


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(port: int, host: str, target: int) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, here = await asyncio.open_connection(host, target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_pass(reader, here), _pass(there, writer))

    server = await asyncio.start_server(accept, "0.0.0.0", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
