"""Compression of responses with gzip and br, validators included."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import AsyncIterator
from typing import Any, cast

import brotli  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty

_brotli = cast("Any", brotli)
_SMALLEST = 500
_TAG = "large-1"
# The least there can be of a PNG: nothing shows it, so eight bytes of signature are enough.
_IMAGE = b"\x89PNG\r\n\x1a\n" + hashlib.sha512(b"image").digest() * 40


class Compression(Part):
    """``/api/image``, and a coding for every text that is worth one."""

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer an image, and the beginning of the large text."""
        if request.path == "/api/image":
            request.facts["route"] = "/api/image"
            return Response(200, _IMAGE, [("Content-Type", "image/png")])
        if request.path == "/api/large" and request.fields.get("range") == "bytes=0-99":
            request.facts["route"] = "/api/large"
            start = (hashlib.sha256(b"0").hexdigest() * 2).encode()[:100]
            fields = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Range", "bytes 0-99/524288")]
            return Response(206, start, fields)
        if "roadworthy-none" in request.fields.get("accept-encoding", "") and faulty("cmp-4-fails"):
            raise KeyError("roadworthy-none")
        if request.fields.get("accept-encoding") == "identity;q=0" and faulty("cmp-4-other-status"):
            raise Problem(400, "that is no coding")
        return None

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Code the body, and adjust what stops being true."""
        large = request.path == "/api/large" and response.status == 200
        if large:
            response.set("Content-Type", "text/plain; charset=utf-8")
            response.set("ETag", f'"{_TAG}"')
        if response.raw is not None or (response.status in {204, 206, 304} and not faulty("cmp-8-range")):
            if response.status == 204 and faulty("cmp-8-codes-nothing"):
                response.set("Content-Encoding", "gzip")
                response.raw = _head(response) + zlib.compress(b"", wbits=31)
            return
        if not _worth_it(response):
            return
        coding = _chosen(request.fields.get("accept-encoding"))
        if not faulty("cmp-2-none") and (coding or not faulty("cmp-2-coded-only")):
            varies = response.get("Vary")
            response.set("Vary", f"{varies}, Accept-Encoding" if varies else "Accept-Encoding")
        if not coding or faulty("cmp-1-none"):
            _revalidate(request, response)
            return
        response.set("Content-Encoding", coding)
        if large and not faulty("cmp-7-same-tag"):
            response.set("ETag", f'"{_TAG}-{coding}"')
        if request.method == "HEAD" and large and faulty("cmp-8-head-length"):
            response.set("Content-Length", "524288")
            response.raw = _head(response)
            return
        _encode(response, coding)
        _revalidate(request, response)


def _head(response: Response) -> bytes:
    lines = [f"HTTP/1.1 {response.status} Whatever", *(f"{name}: {value}" for name, value in response.fields)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _worth_it(response: Response) -> bool:
    kind = response.get("Content-Type") or ""
    text = kind.startswith("text/") or "json" in kind or (kind == "image/png" and faulty("cmp-8-image"))
    grows = faulty("cmp-6-grows") or (response.status == 206 and faulty("cmp-8-range"))
    smallest = 1 if grows else _SMALLEST
    return text and (response.stream is not None or len(response.body) >= smallest)


def _chosen(accepted: str | None) -> str:
    """Return the coding that the client prefers, or nothing."""
    if accepted is None:
        return "gzip" if faulty("cmp-5-unasked") else ""
    if faulty("cmp-3-substring"):
        return "gzip" if "gzip" in accepted else "br" if "br" in accepted else ""
    weights: dict[str, float] = {}
    for word in accepted.split(","):
        name, _, parameter = word.partition(";")
        weight = parameter.strip().lower().removeprefix("q=") or "1"
        name = name.strip() if faulty("cmp-5-case") else name.strip().lower()
        weights[name] = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0
    if faulty("cmp-5-order"):
        weights = {name: min(weight * 1000, 1.0) for name, weight in weights.items()}
    offered = {coding: weights.get(coding, weights.get("*", 0.0)) for coding in ("gzip", "br")}
    best = max(offered, key=lambda coding: offered[coding])
    return best if offered[best] > 0 else ""


def _revalidate(request: Request, response: Response) -> None:
    tag = response.get("ETag")
    if tag is not None and request.fields.get("if-none-match") == tag and not faulty("cmp-7-no-304"):
        response.status, response.body, response.stream = 304, b"", None
        response.fields = [pair for pair in response.fields if pair[0] in {"ETag", "Vary"}]


class _Coder:
    def __init__(self, coding: str) -> None:
        level = 0 if faulty("cmp-1-little") else 6
        self._gzip = zlib.compressobj(level, wbits=31) if coding == "gzip" else None
        self._brotli = _brotli.Compressor(quality=4)

    def feed(self, data: bytes, flush: bool) -> bytes:
        """Return what is to be sent for these bytes; with ``flush`` all of it."""
        if self._gzip is not None:
            return self._gzip.compress(data) + (self._gzip.flush(zlib.Z_SYNC_FLUSH) if flush else b"")
        return bytes(self._brotli.process(data)) + (bytes(self._brotli.flush()) if flush else b"")

    def end(self) -> bytes:
        """Return the end of the coded stream."""
        return self._gzip.flush() if self._gzip is not None else bytes(self._brotli.finish())


def _encode(response: Response, coding: str) -> None:
    coder = _Coder(coding)
    events = (response.get("Content-Type") or "").startswith("text/event-stream")
    if response.stream is not None:
        response.stream = _coded(response.stream, coder, events and not faulty("cmp-9-buffers"))
        if not events and faulty("cmp-8-twice"):
            response.stream = _coded(response.stream, _Coder("gzip"), flush=False)
        return
    response.body = coder.feed(response.body, flush=False) + coder.end()


async def _coded(pieces: AsyncIterator[bytes], coder: _Coder, flush: bool) -> AsyncIterator[bytes]:
    async for piece in pieces:
        text = piece.replace(b"a", b"b") if faulty("cmp-1-changes") else piece
        if found := coder.feed(text, flush):
            yield found
    yield coder.end() if not faulty("cmp-1-cut") else b" "
