"""marimo: a notebook as an app, its assets, its session over a WebSocket, health and errors."""

import json
from collections.abc import Iterator
from typing import Any

from ..application import Application
from ..visitor import Visitor


def _first_cells(socket: Any) -> Iterator[str]:
    ready = json.loads(socket.recv())
    yield ready["op"]
    while True:
        message = json.loads(socket.recv())
        if message["op"] == "completed-run":
            yield message["op"]
            return


def journey(visitor: Visitor) -> None:
    """Open the notebook, run it, leave."""
    visitor.get("/")
    visitor.get("/note")
    visitor.page("/note/")
    visitor.get("/note/health")
    visitor.get("/note/api/version")
    visitor.get("/note/api/status")
    visitor.socket("/note/ws?session_id=s_proof1&access_token=none", _first_cells)
    visitor.get("/note/none")
    visitor.post("/note/api/kernel/run", json={})


APPLICATION = Application(
    journey,
    click=(
        "/note/",
        "document.querySelector('marimo-button')?.shadowRoot?.querySelector('button')",
        "document.body.innerText.includes('clicked 1')",
    ),
    varies=(
        r'((?:serverToken|data-token)"?[:=] ?")[^"]+',
        r"\b[0-9a-f]{64}\b",
    ),
)
