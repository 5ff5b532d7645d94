"""Reads one HTTP/1.1 response from bytes as they come, and reports exactly how far it got.

Written for judging servers: nothing is repaired, decompressed or folded, and what does not follow RFC 9112 is
named in :attr:`ResponseParser.malformed` instead of being raised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto

__all__ = ("Head", "ResponseParser")

# RFC 9112 §4: HTTP-version SP 3DIGIT SP [reason]. Many servers leave out the space before an empty reason.
_STATUS_LINE = re.compile(rb"HTTP/(\d\.\d) (\d{3})(?: (.*))?")
# RFC 9112 §7.1: chunk-size [chunk-ext]
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")
# A head above this is not an answer to a probe: node and Go stop at 16 KiB and 1 MiB for requests.
_LARGEST_HEAD = 1 << 20
# What a hostile service could send without end while its answer is waited for.
_MOST_INTERIM = 100
_LARGEST_BODY = 256 << 20


class _State(Enum):
    HEAD = auto()
    LENGTH = auto()
    CHUNK_SIZE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    UNTIL_CLOSE = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and fields of one response, as they were on the wire."""

    version: str
    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    raw: bytes

    def all(self, name: str) -> list[str]:
        """Return the values of every line of the field ``name``."""
        wanted = name.lower()
        return [value for key, value in self.fields if key.lower() == wanted]


@dataclass(slots=True)
class ResponseParser:
    """One response to a request of ``method``; feed it bytes until :attr:`done`.

    What comes after the response is in :attr:`rest`.
    """

    method: str
    head: Head | None = None
    interim: list[Head] = field(default_factory=list[Head])
    body: bytearray = field(default_factory=bytearray)
    trailers: bytearray = field(default_factory=bytearray)
    malformed: str | None = None
    framing: str = "none"
    """``length``, ``chunked``, ``close`` or ``none``: what marks the end of the body."""
    body_bytes: int = 0
    """Bytes after the head, framing included."""
    _buffer: bytearray = field(default_factory=bytearray)
    _state: _State = _State.HEAD
    _left: int = 0

    @property
    def done(self) -> bool:
        """Whether the response is complete, or cannot become so because it is malformed."""
        return self._state is _State.DONE or self.malformed is not None

    @property
    def rest(self) -> bytes:
        """Bytes that were fed and do not belong to this response."""
        return bytes(self._buffer) if self.done else b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data
        while not self.done and self._step():
            pass

    def end(self) -> bool:
        """Take the end of the connection; return whether the response is complete."""
        if self._state is _State.UNTIL_CLOSE:
            self._state = _State.DONE
        return self._state is _State.DONE

    def _step(self) -> bool:
        match self._state:
            case _State.HEAD:
                return self._read_head()
            case _State.LENGTH | _State.CHUNK_DATA:
                return self._read_counted()
            case _State.CHUNK_SIZE:
                return self._read_chunk_size()
            case _State.CHUNK_END:
                return self._read_chunk_end()
            case _State.TRAILERS:
                return self._read_trailers()
            case _State.UNTIL_CLOSE:
                self._take(len(self._buffer))
                return False
            case _State.DONE:
                return False

    def _line(self) -> bytes | None:
        at = self._buffer.find(b"\r\n")
        if at < 0:
            return None
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 2]
        self.body_bytes += at + 2
        return line

    def _take(self, count: int) -> None:
        if len(self.body) + count > _LARGEST_BODY:
            self.malformed = f"the body is larger than {_LARGEST_BODY >> 20} MiB"
        self.body += self._buffer[:count]
        del self._buffer[:count]
        self.body_bytes += count

    def _read_head(self) -> bool:
        start = bytes(self._buffer[:5])
        if not b"HTTP/".startswith(start[: len(b"HTTP/")]):
            self.malformed = "the answer does not begin with HTTP/"
            return False
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _LARGEST_HEAD:
                self.malformed = "the head is larger than 1 MiB"
            return False
        raw = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        head = self._parsed(raw)
        if head is None:
            return False
        if 100 <= head.status < 200 and head.status != 101:
            self.interim.append(head)
            if len(self.interim) > _MOST_INTERIM:
                self.malformed = f"more than {_MOST_INTERIM} interim responses"
            return True
        self.head = head
        self._choose_framing(head)
        return True

    def _parsed(self, raw: bytes) -> Head | None:
        first, *lines = raw[:-4].split(b"\r\n")
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            self.malformed = "the status line is not one"
            return None
        fields: list[tuple[str, str]] = []
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                self.malformed = "a field line is not one"
                return None
            fields.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
        version, status, reason = match.groups()
        return Head(version.decode(), int(status), (reason or b"").decode("latin-1"), tuple(fields), raw)

    def _choose_framing(self, head: Head) -> None:
        # RFC 9112 §6.3, in its order.
        codings = ",".join(head.all("transfer-encoding")).lower()
        lengths = set(head.all("content-length"))
        if self.method == "HEAD" or head.status in {101, 204, 304}:
            self._state = _State.DONE
        elif codings:
            self.framing = "chunked" if codings.split(",")[-1].strip() == "chunked" else "close"
            self._state = _State.CHUNK_SIZE if self.framing == "chunked" else _State.UNTIL_CLOSE
            if lengths:
                self.malformed = "both Transfer-Encoding and Content-Length"
        elif lengths:
            only = lengths.pop()
            # 19 digits pass any 64-bit length; int() refuses thousands of them.
            if lengths or not only.isdecimal() or len(only) > 19:
                self.malformed = "Content-Length is not one number"
                return
            self.framing = "length"
            self._left = int(only)
            self._state = _State.LENGTH if self._left else _State.DONE
        else:
            self.framing = "close"
            self._state = _State.UNTIL_CLOSE

    def _read_counted(self) -> bool:
        count = min(self._left, len(self._buffer))
        self._take(count)
        self._left -= count
        if self._left:
            return False
        self._state = _State.DONE if self._state is _State.LENGTH else _State.CHUNK_END
        return True

    def _read_chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            if len(self._buffer) > _LARGEST_HEAD:
                self.malformed = "a chunk size is not one"
            return False
        match = _CHUNK.fullmatch(line)
        if match is None:
            self.malformed = "a chunk size is not one"
            return False
        self._left = int(match[1], 16)
        self._state = _State.CHUNK_DATA if self._left else _State.TRAILERS
        return True

    def _read_chunk_end(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if not self._buffer.startswith(b"\r\n"):
            self.malformed = "a chunk is longer than its size"
            return False
        del self._buffer[:2]
        self.body_bytes += 2
        self._state = _State.CHUNK_SIZE
        return True

    def _read_trailers(self) -> bool:
        line = self._line()
        if line is None or len(self.trailers) > _LARGEST_HEAD:
            if len(self._buffer) + len(self.trailers) > _LARGEST_HEAD:
                self.malformed = "the trailers are larger than 1 MiB"
            return False
        if line:
            self.trailers += line + b"\r\n"
        else:
            self._state = _State.DONE
        return True
