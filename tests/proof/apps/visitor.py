"""Who uses an application: asks, and keeps every answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.patience import DEADLINE

__all__ = ("Answer", "Visitor")

_ASSET = re.compile(r"""(?:src|href)=["']?([^"'\s>]+)""")
_PAGES_ASSETS = re.compile(r"\.(?:css|js|mjs|png|svg|ico|woff2?|json|webmanifest)(?:\?|$)")
_MOST_ASSETS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one step.

    Parameters:
        step: what was asked.
        status: the status, or the code that closed a WebSocket.
        fields: names in lower case and values, repeated ones one after another.
        body: decoded; of a stream or WebSocket the messages, one a line.
        refused: why the layer answers this itself, where it does: with the same status, in its own shape.
    """

    step: str
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    refused: str = ""


class Visitor:
    """A browser without a window: cookies, pages with their assets, forms, streams, WebSockets.

    Parameters:
        url: where the application is.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer] = []
        self._assets: set[str] = set()
        self._open: list[httpx.Response] = []
        self._client = httpx.Client(
            base_url=url, timeout=DEADLINE, headers={"User-Agent": "journey", "Accept-Encoding": "gzip, br"}
        )

    def close(self) -> None:
        """Close the connections."""
        for one in self._open:
            one.close()
        self._client.close()

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the visitor has."""
        return {cookie.name: cookie.value or "" for cookie in self._client.cookies.jar}

    def ask(
        self, method: str, path: str, *, keep: bool = True, refused: str = "", **more: Any
    ) -> httpx.Response:
        """Send one request; redirects are not followed.

        Parameters:
            method: the method.
            path: where.
            keep: False for what is not compared, such as waiting for something to be done.
            refused: why the layer answers this itself.
            more: `json`, `data`, `files`, `headers` and the like, see httpx.
        """
        response = self._client.request(method, path, **more)
        if keep:
            self._keep(f"{method} {path}", response, response.content, refused)
        return response

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Get one thing."""
        return self.ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        """Send a form, a file or JSON."""
        return self.ask("POST", path, **more)

    def page(self, path: str) -> str:
        """Get a page as a browser does, and the assets that it names; returns the page."""
        response = self.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        found = dict.fromkeys(urljoin(str(response.url), one) for one in _ASSET.findall(response.text))
        own = [one for one in found if one.startswith(self.url) and _PAGES_ASSETS.search(one)]
        assert len(own) <= _MOST_ASSETS, f"{path} has {len(own)} assets"
        for one in own:
            if one in self._assets:
                continue  # a browser has it
            self._assets.add(one)
            self.get(one.removeprefix(self.url))
        return response.text

    def form(self, path: str, token: str, **fields: Any) -> httpx.Response:
        """Get a page with a form, and send the form with the token that the page hides in it."""
        page = self.page(path)
        tag = re.search(rf"<input[^>]*name=[\"']{token}[\"'][^>]*>", page)
        assert tag, f"{path} has no {token}"
        value = re.search(r"value=[\"']([^\"']*)", tag[0])
        assert value
        files = fields.pop("files", None)
        where = fields.pop("to", path)
        return self.post(
            where, data={token: value[1], **fields}, files=files, headers={"Referer": self.url + path}
        )

    def stream(
        self, path: str, until: Callable[[str], bool], *, method: str = "GET", **more: Any
    ) -> list[str]:
        """Read the lines of a stream until one is the last, and leave."""
        lines: list[str] = []
        with self._client.stream(method, path, **more) as response:
            for line in response.iter_lines():
                lines.append(line)
                if until(line):
                    break
            self._keep(f"{method} {path} (stream)", response, "\n".join(lines).encode())
        return lines

    def listen(self, path: str, **more: Any) -> None:
        """Open a stream and stay on it until the application ends."""
        response = self._client.send(self._client.build_request("GET", path, **more), stream=True)
        self._open.append(response)
        self._keep(f"GET {path} (left open)", response, b"")

    def socket(
        self, path: str, turns: Callable[[Any], Iterable[str | bytes]], *, keep: bool = True, **more: Any
    ) -> None:
        """Open a WebSocket with the visitor's cookies, and take turns.

        Parameters:
            path: where.
            turns: sends and receives; what it gives is compared.
            keep: False when how far it got depends on the moment.
            more: `origin`, `subprotocols` and the like, see websockets.
        """
        said: list[str | bytes] = []
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        more.setdefault("origin", self.url)
        if cookies:
            more["additional_headers"] = {**more.get("additional_headers", {}), "Cookie": cookies}
        fields: list[tuple[str, str]] = []
        try:
            with connect(f"ws{self.url.removeprefix('http')}{path}", max_size=None, **more) as socket:
                assert socket.response
                fields = [(name.lower(), value) for name, value in socket.response.headers.raw_items()]
                try:
                    said.extend(turns(socket))
                except ConnectionClosed:
                    said.append("closed by the server")
            code = socket.close_code or 0
        except InvalidStatus as refused:
            code = refused.response.status_code
        if keep:
            text = b"\n".join(one.encode() if isinstance(one, str) else one for one in said)
            self.answers.append(Answer(f"WebSocket {path}", code, tuple(fields), text))

    def _keep(self, step: str, response: httpx.Response, body: bytes, refused: str = "") -> None:
        fields = tuple((name.lower(), value) for name, value in response.headers.multi_items())
        self.answers.append(Answer(step, response.status_code, fields, body, refused))
