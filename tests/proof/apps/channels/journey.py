"""Django Channels: a page of Django, a chat room, a closed door, a foreign origin, an event stream."""

from collections.abc import Iterator
from typing import Any

from ..application import Application
from ..visitor import Visitor


def _chat(socket: Any) -> Iterator[str]:
    for words in ('{"words": "hello"}', '{"words": "' + "x" * 50_000 + '"}'):
        socket.send(words)
        yield socket.recv()


def journey(visitor: Visitor) -> None:
    """Read, talk, knock at doors."""
    visitor.get("/")
    visitor.get("/none/")
    visitor.socket("/ws/lobby/", _chat)
    visitor.socket("/ws/closed/", _chat)
    visitor.socket("/ws/lobby/", _chat, origin="https://elsewhere.example")
    visitor.stream("/events/", lambda line: line == "data: 20")
    visitor.listen("/events/")


APPLICATION = Application(journey)
