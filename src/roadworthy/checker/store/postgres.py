"""PostgreSQL's wire protocol 3, as far as a proxy and a question about the server's limits need it.

Source: PostgreSQL documentation, "Frontend/Backend Protocol": message flow and message formats.
"""

from __future__ import annotations

import re
import struct
import time
from dataclasses import dataclass, field

__all__ = ("Session", "has_commit")

_CANCEL, _TLS, _GSSAPI = 80_877_102, 80_877_103, 80_877_104
_TLS_RECORD = 0x16
_HEAD = struct.Struct("!ci")
# Alone or behind other statements of one message.
_COMMIT = re.compile(rb"(?:^|;)\s*+commit\b", re.IGNORECASE)
# Names of statements and portals have at most 63 bytes each.
_KEPT = 256


@dataclass(slots=True)
class _Messages:
    """One direction of a connection, cut into messages: a type byte, a length, a payload.

    Parameters:
        keep: how many bytes of a payload are of interest.
    """

    keep: int = 1
    rest: bytes = b""
    skip: int = 0

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return type and payload, as far as it is kept, of each message of which that much has come."""
        found: list[tuple[bytes, bytes]] = []
        self.rest += data
        while True:
            cut = min(self.skip, len(self.rest))
            self.rest, self.skip = self.rest[cut:], self.skip - cut
            if self.skip or len(self.rest) < _HEAD.size:
                return found
            kind, length = _HEAD.unpack_from(self.rest)
            kept = _HEAD.size + min(max(length - 4, 0), self.keep)
            if len(self.rest) < kept:
                return found
            found.append((kind, self.rest[_HEAD.size : kept]))
            self.skip = max(length, 4) + 1


@dataclass(slots=True)
class Session:
    """What a proxy knows of one connection to a PostgreSQL server.

    Parameters:
        begun: whether it has become a session; a request for TLS or for a cancellation does not count.
        hidden: it is encrypted, so no more than bytes can be seen.
        farewell: the client has sent Terminate.
        status: of the last ReadyForQuery: ``I`` idle, ``T`` in a transaction, ``E`` in a failed one.
        since: when the last message of either side passed, as ``time.monotonic()``.
        commits: how many times the client has asked for a COMMIT.
    """

    begun: bool = False
    hidden: bool = False
    farewell: bool = False
    status: str = ""
    since: float = 0.0
    commits: int = 0
    _first: bytes = b""
    _asked: bool = False
    _started: bool = False
    _from_client: _Messages = field(default_factory=lambda: _Messages(_KEPT))
    _from_server: _Messages = field(default_factory=_Messages)
    _commit_statements: set[bytes] = field(default_factory=set[bytes])

    def from_client(self, data: bytes) -> None:
        """Take note of what the client sent."""
        self.since = time.monotonic()
        if self.hidden:
            return
        if not self._started:
            data = self._start(data)
        if self._started and not self.hidden:
            for kind, payload in self._from_client.feed(data):
                self.farewell = kind == b"X"
                self.commits += self._commits(kind, payload)
                # Until the server is ready again nothing is idle.
                self.status = ""

    def from_server(self, data: bytes) -> None:
        """Take note of what the server sent."""
        self.since = time.monotonic()
        if self.hidden:
            return
        if self._asked and not self._started:
            # One byte: S or G when what follows is encrypted, N when it is not.
            self._asked = False
            self.hidden = self.begun = data[:1] in {b"S", b"G"}
            data = data[1:]
        if self._started:
            for kind, payload in self._from_server.feed(data):
                if kind == b"Z":
                    self.status = payload.decode("latin-1")

    def _commits(self, kind: bytes, payload: bytes) -> bool:
        """Tell whether a message has a COMMIT carried out: a query, or a prepared statement that is bound."""
        if kind == b"Q":
            return has_commit(payload)
        first, _, rest = payload.partition(b"\0")
        second = rest.partition(b"\0")[0]
        if kind == b"P":
            # Parse has the name of the statement and then its text; drivers prepare what they say often.
            self._commit_statements.discard(first)
            if has_commit(second):
                self._commit_statements.add(first)
        # Bind has the name of a portal and then that of the statement.
        return kind == b"B" and second in self._commit_statements

    def _start(self, data: bytes) -> bytes:
        """Read start-up packets, which have no type byte; return what comes behind the last."""
        self._first += data
        if self._first[0] == _TLS_RECORD:
            self.hidden = self.begun = True
            return b""
        while len(self._first) >= 8 and not self._started:
            length, code = struct.unpack_from("!ii", self._first)
            if len(self._first) < length:
                break
            packet, self._first = self._first[:length], self._first[max(length, 8) :]
            if code in {_TLS, _GSSAPI}:
                self._asked = True
            elif code != _CANCEL and len(packet) >= 8:
                self._started = self.begun = True
        rest = self._first if self._started else b""
        if self._started:
            self._first = b""
        return rest


def has_commit(text: bytes) -> bool:
    """Tell whether one of the statements of a text is a COMMIT; tools put comments in front."""
    if _COMMIT.search(text):
        return True
    bare = b" ".join(part.partition(b"/*")[0] for part in text.split(b"*/")) if b"*/" in text else b""
    return _COMMIT.search(bare) is not None
