"""The content codings: which one a client takes, and the encoders.

Levels and order are measured (CPU time per body, CPython 3.11, brotli 1.2, zstandard 0.25, zlib 1.3; JSON of
users, 20 kB; prose, 47 kB):

=========  ===============  ================
coding     JSON             prose
=========  ===============  ================
zstd 3     36 µs to 15 %    0.22 ms to 42 %
br 4       138 µs to 17 %   0.91 ms to 41 %
br 5       204 µs to 14 %   1.49 ms to 39 %
gzip 4     85 µs to 16 %    0.92 ms to 42 %
gzip 6     246 µs to 15 %   1.62 ms to 40 %
=========  ===============  ================

So zstd comes first where a client has no wish of its own: a quarter of the CPU for the same size. br 4 and
gzip 4 are where a further point of size starts to cost half as much time again or more.
"""

from __future__ import annotations

import re
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Protocol, cast

import brotli  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
import zstandard

__all__ = ("OFF_LOOP_SIZE", "Brotli", "Coder", "Gzip", "Zstandard", "choose")

OFF_LOOP_SIZE = 48 << 10
"""Bytes of body that cost about 1 ms of CPU on the slowest pairing measured (prose, br 4 or gzip 4): above
it, ``compress_all`` belongs in a thread (all three encoders release the interpreter lock)."""

_ZSTD_LEVEL = 3
_BROTLI_LEVEL = 4
_GZIP_LEVEL = 4
_GZIP_CONTAINER = 16 + zlib.MAX_WBITS

# A stream holds its window for as long as it lives: 128 KiB (zstd) and 256 KiB (br) instead of megabytes keep
# a thousand open streams within half a gigabyte. RFC 9659 forbids more than 8 MiB for zstd in any case.
_STREAM_ZSTD = zstandard.ZstdCompressionParameters(
    compression_level=_ZSTD_LEVEL, window_log=17, hash_log=15, chain_log=16
)
_STREAM_BROTLI_WINDOW = 18

# What clients send has 5 members in 30 bytes; there are 10 registered codings. A server may ignore the field
# (RFC 9110 §12.1), and a body as it is suits everyone.
_LONGEST = 256
_MEMBERS = 16

# RFC 9110 §12.4.2: 0 to 1 with three decimals; a missing zero and more decimals are seen in the field.
_MEMBER = re.compile(
    r"([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*(?:;[ \t]*q[ \t]*=[ \t]*(0?\.[0-9]+|0\.?|1(?:\.0*)?)[ \t]*)?"
)


class _ZlibStream(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self, mode: int, /) -> bytes: ...


class _BrotliStream(Protocol):
    def process(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...

    def finish(self) -> bytes: ...


# brotli comes without types.
_brotli_compress = cast("Callable[..., bytes]", brotli.compress)  # pyright: ignore[reportUnknownMemberType]
_brotli_stream = cast("Callable[..., _BrotliStream]", brotli.Compressor)  # pyright: ignore[reportUnknownMemberType]


class Coder(ABC):
    """Encodes one body: either all of it at once, or as a stream of chunks.

    A chunk comes out complete: a client can decode all of it before the next one is sent.
    """

    __slots__ = ()
    name: ClassVar[bytes]

    @abstractmethod
    def compress_all(self, body: bytes) -> bytes:
        """Encode a whole body. Safe in any thread."""

    @abstractmethod
    def chunk(self, data: bytes) -> bytes:
        """Encode one chunk of a stream; an empty one gives nothing."""

    @abstractmethod
    def end(self, data: bytes = b"") -> bytes:
        """Encode the last chunk and end the stream."""


class Gzip(Coder):
    """gzip (RFC 1952), without a time stamp."""

    __slots__ = ("_stream",)
    name = b"gzip"

    def __init__(self) -> None:
        self._stream: _ZlibStream | None = None

    def compress_all(self, body: bytes) -> bytes:
        """Encode a whole body."""
        return zlib.compress(body, _GZIP_LEVEL, _GZIP_CONTAINER)

    def chunk(self, data: bytes) -> bytes:
        """Encode one chunk of a stream."""
        if not data:
            return b""
        stream = self._opened()
        return stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)

    def end(self, data: bytes = b"") -> bytes:
        """Encode the last chunk and end the stream."""
        stream = self._opened()
        return stream.compress(data) + stream.flush(zlib.Z_FINISH)

    def _opened(self) -> _ZlibStream:
        if self._stream is None:
            self._stream = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_CONTAINER)
        return self._stream


class Brotli(Coder):
    """br (RFC 7932)."""

    __slots__ = ("_stream",)
    name = b"br"

    def __init__(self) -> None:
        self._stream: _BrotliStream | None = None

    def compress_all(self, body: bytes) -> bytes:
        """Encode a whole body."""
        return _brotli_compress(body, quality=_BROTLI_LEVEL)

    def chunk(self, data: bytes) -> bytes:
        """Encode one chunk of a stream."""
        if not data:
            return b""
        stream = self._opened()
        return stream.process(data) + stream.flush()

    def end(self, data: bytes = b"") -> bytes:
        """Encode the last chunk and end the stream."""
        stream = self._opened()
        return (stream.process(data) if data else b"") + stream.finish()

    def _opened(self) -> _BrotliStream:
        if self._stream is None:
            self._stream = _brotli_stream(quality=_BROTLI_LEVEL, lgwin=_STREAM_BROTLI_WINDOW)
        return self._stream


class _PerThread(threading.local):
    """One zstd encoder per thread.

    Two threads in one encoder end the process (segmentation fault, zstandard 0.25), and making one for each
    body costs 11 µs, as much as coding 1 KiB.
    """

    def __init__(self) -> None:
        self.encoder = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)


_zstd = _PerThread()


class Zstandard(Coder):
    """zstd (RFC 8878)."""

    __slots__ = ("_stream",)
    name = b"zstd"

    def __init__(self) -> None:
        self._stream: zstandard.ZstdCompressionObj | None = None

    def compress_all(self, body: bytes) -> bytes:
        """Encode a whole body."""
        if len(body) > OFF_LOOP_SIZE:
            # Kept encoders hold memory for their largest body so far, in every thread of the pool.
            return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
        return _zstd.encoder.compress(body)

    def chunk(self, data: bytes) -> bytes:
        """Encode one chunk of a stream."""
        if not data:
            return b""
        stream = self._opened()
        return stream.compress(data) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def end(self, data: bytes = b"") -> bytes:
        """Encode the last chunk and end the stream."""
        stream = self._opened()
        return stream.compress(data) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)

    def _opened(self) -> zstandard.ZstdCompressionObj:
        if self._stream is None:
            self._stream = zstandard.ZstdCompressor(compression_params=_STREAM_ZSTD).compressobj()
        return self._stream


_PREFERENCE: tuple[tuple[str, type[Coder]], ...] = (("zstd", Zstandard), ("br", Brotli), ("gzip", Gzip))


def choose(accept_encoding: bytes) -> type[Coder] | None:
    """Choose a coding from an ``Accept-Encoding`` value (RFC 9110 §12.5.3); None sends the body as it is.

    The highest weight wins, the server's own order decides between equal ones, weight 0 forbids. ``identity``
    wins only where it is named with a higher weight. A member that is malformed counts as forbidden. When the
    client forbids everything the body is sent as it is, rather than refused with 406. So is it for a value of
    more than 256 bytes or 16 members, which nobody sends to get something coded.
    """
    if len(accept_encoding) > _LONGEST or accept_encoding.count(b",") >= _MEMBERS:
        return None
    weights: dict[str, float] = {}
    for member in accept_encoding.decode("latin-1").lower().split(","):
        match = _MEMBER.fullmatch(member.strip(" \t"))
        name = match[1] if match else member.strip(" \t").partition(";")[0].strip(" \t")
        # RFC 9110 §8.4.1.3: x-gzip is gzip.
        name = "gzip" if name == "x-gzip" else name
        weight = 0.0 if match is None else 1.0 if match[2] is None else float(match[2])
        weights[name] = min(weight, weights.get(name, 1.0))
    others = weights.get("*", 0.0)
    best, best_weight = None, max(0.0, weights.get("identity", others) - 1e-9)
    for name, coder in _PREFERENCE:
        weight = weights.get(name, others)
        if weight > best_weight:
            best, best_weight = coder, weight
    return best
