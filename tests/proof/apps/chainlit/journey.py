"""Chainlit mounted in FastAPI: its page and assets, a conversation over Socket.IO, a file, errors."""

import json
from collections.abc import Iterator
from typing import Any

from ..application import Application
from ..visitor import Visitor

_HELLO = {"clientType": "webapp", "sessionId": "11111111-1111-4111-8111-111111111111", "userEnv": "{}"}


def _converse(socket: Any) -> Iterator[str]:
    yield socket.recv()[:1]
    socket.send("40" + json.dumps(_HELLO))
    yield socket.recv()[:2]
    socket.send('42["connection_successful"]')
    _wait(socket, "hello")
    message = {"threadId": "", "id": "22222222-2222-4222-8222-222222222222", "name": "user",
               "type": "user_message", "output": "one two", "createdAt": "2026-01-01T00:00:00Z"}  # fmt: skip
    socket.send("42" + json.dumps(["client_message", {"message": message, "fileReferences": []}]))
    yield _wait(socket, "stream_start")
    yield _wait(socket, '"one two ')


def _wait(socket: Any, words: str) -> str:
    while words not in str(socket.recv()):
        pass
    return words


def journey(visitor: Visitor) -> None:
    """Open the chat, talk, send a file."""
    visitor.get("/api/number")
    visitor.page("/chat/")
    visitor.get("/chat/auth/config")
    visitor.get("/chat/project/translations?language=en-US")
    visitor.get("/chat/user")
    visitor.post("/chat/set-session-cookie", json={"session_id": _HELLO["sessionId"]})
    visitor.get(f"/chat/project/settings?language=en-US&session_id={_HELLO['sessionId']}")
    visitor.socket("/chat/ws/socket.io/?EIO=4&transport=websocket", _converse)
    file = {"file": ("a.txt", b"z" * 100_000, "text/plain")}
    visitor.post("/chat/project/file?session_id=none", files=file)
    visitor.get("/chat/none")
    visitor.get("/none")


APPLICATION = Application(
    journey,
    env={
        "CHAINLIT_AUTH_SECRET": "a secret of the proof, long enough for its key",
        "OTEL_SDK_DISABLED": "true",
    },
)
