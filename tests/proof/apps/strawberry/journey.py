"""Strawberry on FastAPI: GraphiQL, queries, a mutation, an upload, subscriptions in three ways."""

import json
from collections.abc import Iterator
from typing import Any

from ..application import Application
from ..visitor import Visitor

_COUNT = {"query": "subscription { count(to: 3) }"}


def _subscribe(socket: Any) -> Iterator[str | bytes]:
    socket.send('{"type":"connection_init"}')
    yield socket.recv()
    kind = "subscribe" if socket.subprotocol == "graphql-transport-ws" else "start"
    socket.send(json.dumps({"id": "1", "type": kind, "payload": _COUNT}))
    for _ in range(4):
        yield socket.recv()


def journey(visitor: Visitor) -> None:
    """Ask, change, upload and subscribe."""
    visitor.get("/graphql", headers={"Accept": "text/html"})
    visitor.get("/graphql?query={books{title}}")
    visitor.post("/graphql", json={"query": "{ books { title pages } }"})
    visitor.post("/graphql", json={"query": 'mutation { add(title: "one more", pages: 7) { title } }'})
    visitor.post("/graphql", json={"query": "{ fails }"})
    visitor.post("/graphql", json={"query": "{ nothing }"})
    visitor.post("/graphql", content="{", headers={"Content-Type": "application/json"}, refused="no JSON")
    visitor.post("/graphql", content="?", headers={"Content-Type": "text/plain"})
    upload = {"query": "mutation($file: Upload!) { size(file: $file) }", "variables": {"file": None}}
    visitor.post(
        "/graphql",
        data={"operations": json.dumps(upload), "map": '{"0": ["variables.file"]}'},
        files={"0": ("a.bin", b"x" * 500_000)},
    )
    for protocol in ("graphql-transport-ws", "graphql-ws"):
        visitor.socket("/graphql", _subscribe, subprotocols=[protocol])
    accept = {"Accept": 'multipart/mixed;boundary="-";subscriptionSpec=1.0,application/json'}
    visitor.stream("/graphql", lambda line: line == "-----", method="POST", json=_COUNT, headers=accept)
    visitor.get("/openapi.json")
    visitor.get("/docs")


APPLICATION = Application(journey)
