"""What may be given as a resource: the usual pools as they are, and what has the three methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from roadworthy import roadworthy
from roadworthy.layer.resources import Resource, WithStats, adapted
from roadworthy.types import Receive, Scope, Send
from tests.patience import eventually

from ..redis_server import RedisServer
from ..served import served

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Start a server of one's own: a test stops it."""
    with RedisServer() as server:
        yield server


class Own:
    """The least that a resource is."""

    name = "own"

    async def start(self) -> None:
        """Open nothing."""

    async def ping(self) -> None:
        """Find it well."""

    async def stop(self) -> None:
        """Close nothing."""


class Nameless(Own):
    """A resource that has no name."""

    name = None  # type: ignore[assignment]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing; it is the health that is asked."""
    if scope["type"] == "lifespan":
        raise AssertionError("unsupported")
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


KINDS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "engine": ("database", lambda folder: create_async_engine(f"sqlite+aiosqlite:///{folder}/a.db")),
    "sessionmaker": (
        "database",
        lambda folder: async_sessionmaker(create_async_engine(f"sqlite+aiosqlite:///{folder}/a.db")),
    ),
    "httpx": ("http", lambda _: httpx.AsyncClient()),
    "own": ("own", lambda _: Own()),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_pools_are_taken_as_they_are(kind: str, tmp_path: Path) -> None:
    """Each is opened, asked by readiness under its name, and closed."""
    name, make = KINDS[kind]
    layer = roadworthy(app, resources=[make(tmp_path)])
    async with served(layer) as client:
        await eventually(
            lambda: layer.health.details()["checks"][name]["status"] == "pass", "the resource is asked"
        )
        assert (await client.get("/readyz")).status_code == 200


async def test_an_engine_is_closed_with_the_service(tmp_path: Path) -> None:
    """Its connections are gone after the last request."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
    (resource,) = adapted([engine]).values()
    assert isinstance(resource, WithStats)
    async with served(roadworthy(app, resources=[engine])), engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        stats = resource.stats()
        assert stats is not None
        assert stats.in_use >= 1
    left = resource.stats()
    assert left is not None
    assert (left.size, left.in_use) == (0, 0)


async def test_a_client_of_redis(server: RedisServer) -> None:
    """It is asked, counted and closed; while its server is away the service is not ready."""
    client = redis.asyncio.Redis(port=server.port)
    layer = roadworthy(app, resources=[client], health_interval=0.05)
    (resource,) = adapted([client]).values()
    async with served(layer) as asking:

        async def status() -> int:
            return (await asking.get("/readyz")).status_code

        assert await status() == 200
        assert isinstance(resource, WithStats)
        stats = resource.stats()
        assert stats is not None
        assert stats.size >= 1
        server.stop()
        await eventually(
            lambda: layer.health.details()["checks"]["redis"]["status"] == "fail", "it is missed"
        )
        assert await status() == 503
        server.start()
        await eventually(
            lambda: layer.health.details()["checks"]["redis"]["status"] == "pass", "it is found again"
        )
        assert await status() == 200
    left = resource.stats()
    assert left is not None
    assert left.in_use == 0


async def test_a_mapping_gives_names(tmp_path: Path) -> None:
    """Two engines of one service have a check each."""
    engines = {
        name: create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/{name}.db") for name in ("main", "reports")
    }
    layer = roadworthy(app, resources=engines)
    async with served(layer):
        assert set(layer.health.details()["checks"]) == {"main", "reports"}


def test_two_of_one_name() -> None:
    """The message shows how to give names."""
    with pytest.raises(ValueError, match=r"two are named 'own'. Give names to all: resources=\{"):
        roadworthy(app, resources=[Own(), Own()])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Own, "Own is a class; give an instance of it"),
        (Nameless(), r"Nameless has no name\. Give it an attribute name"),
        (object(), r"resources: object has no start and no ping and no stop\. A resource has a name and"),
        (create_engine("sqlite://"), r"sqlalchemy\.engine\.base\.Engine has no start .*AsyncEngine"),
        (async_sessionmaker(), "async_sessionmaker has no start"),
        (redis.Redis(), r"redis\.client\.Redis has no start and no stop.*redis\.asyncio\.Redis"),
        ("postgresql://user:secret@host", "resources: str has no start"),
    ],
    ids=["class", "nameless", "object", "engine", "unbound", "redis", "url"],
)
def test_anything_else_is_refused_where_it_is_given(given: object, message: str) -> None:
    """The message names the class and what it lacks, and no value; there is no traceback out of the start."""
    with pytest.raises(TypeError, match=message) as caught:
        roadworthy(app, resources=[given])
    assert "secret" not in str(caught.value)


def test_what_has_the_face_is_left_alone() -> None:
    """A resource of the service's own goes through unchanged, under whatever name a mapping gives it."""
    own: Resource = Own()
    assert adapted({"other": own}) == {"other": own}
    assert adapted([own]) == {"own": own}
