"""Paths that the layer knows itself stand below the prefix that a server gives (root_path)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.routing import Mount

from roadworthy import roadworthy
from roadworthy.layer.security_headers import inline_script_hashes
from roadworthy.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-this-test"


def _service() -> ASGIApp:
    return roadworthy(FastAPI(), env="test", metrics_public=True, metrics_token=TOKEN, rate_limit="off")


def _under_a_root(root: str) -> ASGIApp:
    """Serve as ``uvicorn --root-path`` does behind a proxy that cuts the prefix off."""
    service = _service()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await service({**scope, "root_path": root, "path": root + scope["path"]}, receive, send)

    return app


PLACES: dict[str, tuple[Callable[[], ASGIApp], str]] = {
    "no root": (_service, ""),
    "a root whose proxy cuts it off": (lambda: _under_a_root("/api"), ""),
    "a root of two segments": (lambda: _under_a_root("/behind/a"), ""),
    "a mount in another app": (lambda: Starlette(routes=[Mount("/api", _service())]), "/api"),
}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/metrics", "/docs", "/openapi.json"])
@pytest.mark.parametrize("place", PLACES)
async def test_every_path_answers_at_every_root(place: str, path: str) -> None:
    """Probes, public metrics and documentation pages are found; a page runs its own scripts."""
    make, prefix = PLACES[place]
    async with AsyncClient(transport=ASGITransport(make()), base_url="http://localhost") as client:
        answer = await client.get(prefix + path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    if path == "/docs":
        scripts = re.search(r"script-src ([^;]*)", answer.headers["content-security-policy"])
        assert scripts
        hashes = inline_script_hashes(answer.content)
        assert hashes
        assert set(hashes) <= set(scripts[1].split())
