"""A key-value server for the zoo, and its client: one JSON object a line. A fault proxy stands before it.

The server runs in the process of the tests, so that what a twin wrote outlives the twin.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit


class StoreServer:
    """Keeps a dictionary per namespace; the namespace is the path of the URL."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, Any]] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def _answer(self, asked: dict[str, Any]) -> Any:
        space = self.data.setdefault(asked["space"], {})
        match asked["do"]:
            case "put":
                space[asked["key"]] = asked["value"]
            case "get":
                return {"value": space.get(asked["key"])}
            case "list":
                return {"value": list(space.values())}
            case "delete":
                return {"value": space.pop(asked["key"], None)}
            case "scan":
                return {"value": [value for key, value in space.items() if key.startswith(asked["key"])]}
            case "next":
                space[asked["key"]] = space.get(asked["key"], 0) + 1
                return {"value": space[asked["key"]]}
            case "commit":
                # All of a unit of work, between two requests of anybody else.
                for do, key, value in asked["value"]:
                    if do == "put":
                        space[key] = value
                    else:
                        space.pop(key, None)
            case _:
                pass
        return {"value": None}


class StoreError(Exception):
    """Raised when the store does not answer in time or at all."""


class Store:
    """One connection, opened when it is needed and again after it broke; every call has a deadline."""

    def __init__(self, url: str, timeout: float = 0.5) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._space = parts.path
        self.timeout: float | None = timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def call(self, do: str, key: str = "", value: Any = None) -> Any:
        """Ask the store.

        Raises:
            StoreError: it does not answer in time, or at all.
        """
        try:
            async with asyncio.timeout(self.timeout), self._turn:
                # A connection that broke while idle is only noticed by using it: once more on a new one.
                try:
                    return await self._ask(do, key, value)
                except (OSError, EOFError):
                    self._drop()
                    return await self._ask(do, key, value)
        except asyncio.CancelledError:
            # An answer is still on its way, which the next call would take for its own.
            self._drop()
            raise
        except (OSError, EOFError) as error:
            self._drop()
            raise StoreError(f"the store at {self._address[0]}:{self._address[1]} failed: {error}") from error

    async def _ask(self, do: str, key: str, value: Any) -> Any:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        asked = {"space": self._space, "do": do, "key": key, "value": value}
        writer.write(json.dumps(asked).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("closed")
        return json.loads(line)["value"]

    async def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
