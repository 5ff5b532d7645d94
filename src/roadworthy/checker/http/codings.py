"""Undoes content codings (RFC 9110 §8.4), whole or as the bytes come: the wire client itself never does."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from typing import Any, cast

import brotli  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
import zstandard

__all__ = ("CODINGS", "Decoder", "Undecodable", "codings_of", "decode", "decoder")

CODINGS = ("gzip", "br", "zstd", "deflate")
"""The registered codings that clients in use know, in the order in which a check asks for them."""

# brotli ships no types.
_brotli = cast("Any", brotli)

# An answer to a probe is far below this; a few kilobytes that unfold into more are no text.
_LARGEST = 256 << 20
_SLICE = 1 << 10


class Undecodable(Exception):
    """Raised when bytes are invalid in their coding."""


class Decoder(ABC):
    """Takes coded bytes as they come and returns what can be read so far."""

    _failure: type[Exception]

    def __init__(self) -> None:
        self._length = 0

    def feed(self, data: bytes) -> bytes:
        """Return what these bytes add.

        Raises:
            Undecodable: they are not in this coding, or unfold into more than an answer has.
        """
        try:
            found = self._undo(data)
        except self._failure as error:
            raise Undecodable(str(error)) from None
        self._length += len(found)
        if self._length > _LARGEST:
            raise Undecodable(f"more than {_LARGEST >> 20} MiB")
        return found

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether the coded stream has ended as its format wants it."""

    @abstractmethod
    def _undo(self, data: bytes) -> bytes: ...


def codings_of(value: str | None) -> tuple[str, ...]:
    """Return the codings of a Content-Encoding field, in the order in which they were applied."""
    words = [word.strip().lower() for word in (value or "").split(",")]
    return tuple(word for word in words if word not in {"", "identity"})


def decoder(coding: str) -> Decoder | None:
    """Return a decoder, or None for a coding that is not known here."""
    match coding.removeprefix("x-"):
        case "gzip":
            return _Zlib(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Zlib(zlib.MAX_WBITS)
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstandard()
        case _:
            return None


def decode(codings: tuple[str, ...], data: bytes) -> bytes:
    """Undo codings that were applied in this order.

    Raises:
        Undecodable: the bytes are not in these codings, end too early, or a coding is not known.
    """
    for coding in reversed(codings):
        found = decoder(coding)
        if found is None:
            raise Undecodable(f"{coding} is not a coding that is known here")
        data = found.feed(data)
        if not found.done:
            raise Undecodable(f"the body ends in the middle of its {coding} stream")
    return data


class _Zlib(Decoder):
    _failure = zlib.error

    def __init__(self, window: int) -> None:
        super().__init__()
        self._window = window
        self._object = zlib.decompressobj(window)
        self._begun = False

    @property
    def done(self) -> bool:
        # What follows the end of the stream is no part of it.
        return self._object.eof and not self._object.unused_data

    def _undo(self, data: bytes) -> bytes:
        try:
            # One byte more than is allowed shows that there is more.
            found = self._object.decompress(data, _LARGEST + 1)
        except zlib.error:
            # RFC 9110 §8.4.1.2: deflate is the zlib format; some send it without its two bytes of head.
            if self._window != zlib.MAX_WBITS or self._begun:
                raise
            self._window = -zlib.MAX_WBITS
            self._object = zlib.decompressobj(self._window)
            return self._undo(data)
        self._begun = self._begun or bool(data)
        return found


class _Brotli(Decoder):
    _failure = cast("type[Exception]", _brotli.error)

    def __init__(self) -> None:
        super().__init__()
        self._object = _brotli.Decompressor()

    @property
    def done(self) -> bool:
        return bool(self._object.is_finished())

    def _undo(self, data: bytes) -> bytes:
        # One byte more than is allowed shows that there is more; the rest of it is never made.
        found: bytes = self._object.process(data, output_buffer_limit=_LARGEST + 1)
        return found


class _Zstandard(Decoder):
    _failure = zstandard.ZstdError

    def __init__(self) -> None:
        super().__init__()
        self._object = zstandard.ZstdDecompressor(max_window_size=_LARGEST).decompressobj()

    @property
    def done(self) -> bool:
        return bool(self._object.eof)

    def _undo(self, data: bytes) -> bytes:
        # There is no limit to ask for. A block of 128 KiB takes four bytes, so a slice gives 32 MiB at most.
        found = bytearray()
        for at in range(0, len(data), _SLICE):
            found += self._object.decompress(data[at : at + _SLICE])
            if len(found) > _LARGEST:
                break
        return bytes(found)
