"""python-socketio: long polling, the upgrade to a WebSocket, acknowledgements, bytes, a refusal."""

import json
from collections.abc import Iterator
from typing import Any

from ..application import Application
from ..visitor import Visitor

_POLLING = "/socket.io/?EIO=4&transport=polling"
_SOCKET = "/socket.io/?EIO=4&transport=websocket"


def _talk(socket: Any) -> Iterator[str | bytes]:
    yield socket.recv()
    socket.send('40{"name":"Ada"}')
    yield socket.recv()
    yield socket.recv()
    socket.send('421["say","hello"]')
    yield from sorted([socket.recv(), socket.recv()])
    socket.send('451-2["echo",{"_placeholder":true,"num":0}]')
    socket.send(bytes(range(256)) * 1000)
    yield socket.recv()
    yield socket.recv()
    socket.send("41")


def _be_refused(socket: Any) -> Iterator[str | bytes]:
    yield socket.recv()
    socket.send('40{"name":"nobody"}')
    yield socket.recv()


def _upgrade(socket: Any) -> Iterator[str | bytes]:
    socket.send("2probe")
    yield socket.recv()
    socket.send("5")
    socket.send('422["say","from above"]')
    yield from sorted([socket.recv(), socket.recv()])


def journey(visitor: Visitor) -> None:
    """Talk over a WebSocket, and over polling that becomes one."""
    visitor.socket(_SOCKET, _talk)
    visitor.socket(_SOCKET, _be_refused)
    sid = json.loads(visitor.get(_POLLING).text[1:])["sid"]
    here = f"&sid={sid}"
    plain = {"Content-Type": "text/plain"}
    visitor.ask("POST", _POLLING + here, content='40{"name":"Bob"}', headers=plain)
    visitor.get(_POLLING + here)
    visitor.ask("POST", _POLLING + here, content='421["say","hello"]', headers=plain)
    visitor.get(_POLLING + here)
    visitor.socket(_SOCKET + here, _upgrade)
    visitor.get(_POLLING + "&sid=nobody")
    visitor.get("/elsewhere")
    visitor.ask("OPTIONS", _POLLING, headers={"Origin": visitor.url, "Access-Control-Request-Method": "POST"})


APPLICATION = Application(journey, varies=(r'("sid":")[^"]+', r"(sid=)[\w-]+"))
