"""A Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.patience import DEADLINE, until

from .venvs import ROOT

__all__ = ("Page", "page")

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1200,900"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--remote-debugging-port=0"),
)


class Page:
    """One tab.

    Parameters:
        socket: the connection to it.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.errors: list[str] = []
        """What the console has at level error, exceptions, and what could not be loaded."""
        self._socket = socket
        self._number = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._do(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Load a page."""
        self._do("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        return self._do("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until a JavaScript expression is true."""
        until(lambda: self.evaluate(f"!!({script})"), f"{script}; the console has {self.errors}")

    def screenshot(self, file: Path) -> bytes:
        """Take a picture of the page."""
        data = base64.b64decode(self._do("Page.captureScreenshot")["data"])
        file.write_bytes(data)
        return data

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(DEADLINE))
            if message.get("id") == self._number:
                assert "error" not in message, message
                found: dict[str, Any] = message["result"]
                return found
            self._hear(message)

    def _hear(self, event: dict[str, Any]) -> None:
        method, what = event["method"], event["params"]
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(what["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and what["type"] == "error":
            self.errors.append(str([one.get("value", one.get("description")) for one in what["args"]]))
        elif method == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.errors.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """Start a browser with one empty tab, installed where it is missing."""
    subprocess.run([ROOT / "scripts" / "system-packages", "chromium"], check=True)
    program = shutil.which("chromium")
    assert program
    log = folder / "chromium.txt"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        found = until(
            lambda: re.search(r"ws://127\.0\.0\.1:(\d+)/", log.read_text(errors="replace")), "DevTools"
        )
        with connect(f"ws://127.0.0.1:{found[1]}{_tab(found[0])}", max_size=None) as socket:
            yield Page(socket)
    finally:
        process.kill()
        process.wait(DEADLINE)


def _tab(browser: str) -> str:
    """Return the path of the only tab."""
    address = browser.replace("ws://", "http://") + "json/list"
    tabs = until(lambda: [one for one in httpx.get(address).json() if one["type"] == "page"], "a tab")
    path: str = tabs[0]["webSocketDebuggerUrl"].partition("127.0.0.1")[2]
    return path[path.index("/") :]
