"""The kinds of store that the checker knows: the schemes of their URLs, and their ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

__all__ = ("PORTS", "SCHEMES", "USUAL_PORTS", "kind_of")

_Kind = Literal["postgres", "mysql", "redis", "tcp", "sqlite"]

SCHEMES: Mapping[str, _Kind] = {
    "postgres": "postgres",
    "postgresql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "redis": "redis",
    "rediss": "redis",
    "sqlite": "sqlite",
    "file": "sqlite",
}
"""The kind that a URL's scheme stands for, as ``database.kind`` of the manifest has it."""

PORTS: Mapping[str, int] = {"postgres": 5432, "mysql": 3306, "redis": 6379}
"""The port where a server of a kind listens unless its URL names another (IANA's registry of ports)."""

USUAL_PORTS: dict[int, str] = {
    **{port: kind for kind, port in PORTS.items()},
    1433: "SQL Server",
    1521: "Oracle",
    5984: "CouchDB",
    7687: "Neo4j",
    9042: "Cassandra",
    9200: "Elasticsearch",
    11211: "memcached",
    26257: "CockroachDB",
    27017: "MongoDB",
}
"""The store that listens at a port by default, as its documentation has it."""


def kind_of(url: str) -> _Kind:
    """Return the kind of store of a URL; an unknown scheme is a server that is reached over TCP."""
    return SCHEMES.get(url.partition(":")[0].partition("+")[0].lower(), "tcp")
