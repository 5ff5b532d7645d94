"""One running server per framework and server, shared by all tests of the matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.patience import DEADLINE
from tests.servers import SERVERS, Server, ServerKind, serving

APPS = {
    "fastapi": "tests.apps.fastapi_app:app",
    "starlette": "tests.apps.starlette_app:app",
    "litestar": "tests.apps.litestar_app:app",
    "django": "tests.apps.django_site.asgi:app",
    "raw": "tests.apps.raw_asgi:app",
}
SETTINGS = {
    "ROADWORTHY_BODY_LIMIT": "20000",
    "ROADWORTHY_CORS_ORIGINS": "https://good.example",
    "ROADWORTHY_RATE_LIMIT": "100000/minute",
    "ROADWORTHY_STREAM_GRACE": "1",
    "ROADWORTHY_GRACE": "5",
}


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    framework: str
    kind: ServerKind
    server: Server
    client: httpx.Client


@pytest.fixture(
    scope="package", params=[(app, kind) for app in APPS for kind in SERVERS], ids=lambda pair: "-".join(pair)
)
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """A framework's app under a server, with the layer around it."""
    framework, kind = request.param
    with (
        serving(kind, APPS[framework], tmp_path_factory.mktemp("cell"), SETTINGS, "/livez") as server,
        httpx.Client(base_url=server.url, timeout=DEADLINE) as client,
    ):
        yield Cell(framework, kind, server, client)
