"""What a service opens and closes: what has ``start``, ``ping`` and ``stop``, and usual pools as they are.

A pool is known by its class's package and name, so that no driver is imported to be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

from ..kinds import full_name
from .asyncpg import AsyncpgPool
from .httpx import HttpxClient
from .protocol import PoolStats, Resource, Watch, WithMetrics, WithPrepare, WithStats
from .psycopg import PsycopgPool, PsycopgThreadPool
from .redis import RedisClient
from .sqlalchemy import SqlAlchemyPool

__all__ = (
    "PoolStats",
    "Resource",
    "Resources",
    "SqlAlchemyPool",
    "Watch",
    "WithMetrics",
    "WithPrepare",
    "WithStats",
    "adapted",
)

Resources: TypeAlias = Iterable[object] | Mapping[str, object]
"""What is opened, in order; a mapping gives each a name."""

_ADAPTERS: dict[tuple[str, str], Callable[[Any], Resource]] = {
    ("sqlalchemy", "AsyncEngine"): SqlAlchemyPool,
    ("asyncpg", "Pool"): AsyncpgPool,
    ("psycopg_pool", "AsyncConnectionPool"): PsycopgPool,
    ("psycopg_pool", "ConnectionPool"): PsycopgThreadPool,
    ("redis.asyncio", "Redis"): RedisClient,
    ("redis.asyncio", "RedisCluster"): RedisClient,
    ("valkey.asyncio", "Valkey"): RedisClient,
    ("valkey.asyncio", "ValkeyCluster"): RedisClient,
    ("httpx", "AsyncClient"): HttpxClient,
}
"""Package and class of a pool, and its adapter, which imports no driver."""

_KNOWN = (
    "AsyncEngine and async_sessionmaker of SQLAlchemy, the pools of asyncpg and psycopg_pool, "
    "redis.asyncio.Redis and httpx.AsyncClient"
)
_FACE = ("start", "ping", "stop")


def adapted(given: Resources) -> dict[str, Resource]:
    """Return what is given as resources, by name and in order.

    Raises:
        TypeError: one is neither a resource nor a pool that is known; the message names what is missing.
        ValueError: two have one name.
    """
    if isinstance(given, Mapping):
        named = cast("Mapping[str, object]", given)
        return {str(name): _adapt(one) for name, one in named.items()}
    made: dict[str, Resource] = {}
    for one in map(_adapt, given):
        name = getattr(one, "name", None)
        if not isinstance(name, str):
            raise TypeError(
                f"resources: {_class_of(one)} has no name. Give it an attribute name, for records, metrics "
                'and health, or give names to all: resources={"database": pool, …}'
            )
        if name in made:
            raise ValueError(
                f"resources: two are named {name!r}. Give names to all: "
                'resources={"database": engine, "reports": other_engine}'
            )
        made[name] = one
    return made


def _adapt(given: object) -> Resource:
    if isinstance(given, type):
        raise TypeError(f"resources: {given.__qualname__} is a class; give an instance of it")
    missing = [word for word in _FACE if not callable(getattr(given, word, None))]
    if missing:
        adapter = _adapter(given)
        if adapter is not None:
            return adapter
        raise TypeError(
            f"resources: {_class_of(given)} has no {' and no '.join(missing)}. A resource has a name and the "
            f"coroutine methods start, ping and stop. Taken as they are: {_KNOWN}"
        )
    return cast(Resource, given)


def _adapter(given: object) -> Resource | None:
    for kind in type(given).__mro__:
        if kind.__name__ == "async_sessionmaker" and kind.__module__.startswith("sqlalchemy."):
            return _adapter(cast(Any, given).kw.get("bind"))
        for (package, name), adapter in _ADAPTERS.items():
            if kind.__name__ == name and f"{kind.__module__}.".startswith(f"{package}."):
                return adapter(given)
    return None


def _class_of(given: object) -> str:
    kind = type(given)
    return kind.__qualname__ if kind.__module__ == "builtins" else full_name(given)
