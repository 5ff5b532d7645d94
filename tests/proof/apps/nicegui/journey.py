"""NiceGUI on FastAPI: the page with its assets, the Socket.IO connection that makes it live, an API."""

import json
import re
from collections.abc import Iterator
from typing import Any

from ..application import Application
from ..visitor import Visitor


def journey(visitor: Visitor) -> None:
    """Open the page, connect as its script does, and click."""
    visitor.get("/api/number")
    page = visitor.page("/")
    client = re.search(r"['\"]?client_id['\"]?: ?['\"]([0-9a-f-]+)", page)
    assert client, page[:2000]

    def click(socket: Any) -> Iterator[str]:
        yield socket.recv()
        socket.send("40")
        yield socket.recv()
        hello = {"client_id": client[1], "document_id": "d", "tab_id": "t", "next_message_id": 0}
        socket.send("420" + json.dumps(["handshake", hello]))
        yield socket.recv()

    visitor.socket(
        f"/_nicegui_ws/socket.io/?EIO=4&transport=websocket&client_id={client[1]}&implicit_handshake=false"
        "&next_message_id=0&document_id=d&tab_id=t",
        click,
    )
    visitor.get("/_nicegui/none/static/none.js")
    visitor.get("/none")
    visitor.get("/openapi.json")


APPLICATION = Application(
    journey,
    varies=(r'("sid":")[^"]+',),
    click=(
        "/",
        "window.socket?.connected && document.querySelector('#button')",
        "document.body.innerText.includes('clicked 1')",
    ),
)
