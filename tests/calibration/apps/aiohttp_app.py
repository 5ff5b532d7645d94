"""aiohttp with its own server, as its documentation starts it."""

from __future__ import annotations

import asyncio
import os

from aiohttp import web


async def root(request: web.Request) -> web.Response:
    """Answer at once."""
    return web.json_response({"ok": True})


async def slow(request: web.Request) -> web.Response:
    """Answer after two seconds."""
    await asyncio.sleep(2)
    return web.json_response({"ok": True})


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/", root), web.get("/slow", slow)])
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]))
