"""A server that speaks just enough of Redis's protocol to fail each command in one way."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Literal, TypeAlias

__all__ = ("ERRORS", "FailingRedis", "Failure")

Failure: TypeAlias = Literal["reset", "loading", "oom", "noauth"]
ERRORS: dict[Failure, bytes] = {
    "reset": b"",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "oom": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "noauth": b"-NOAUTH Authentication required.\r\n",
}
"""What each command is answered; nothing means that the connection is reset."""


class FailingRedis:
    """Listens on a port and fails every command.

    Parameters:
        port: to listen on, the one that the real server had.
        failure: how.

    Attributes:
        connections: how many were made.
    """

    def __init__(self, port: int, failure: Failure) -> None:
        self.connections = 0
        self._answer = ERRORS[failure]
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            while received := line.recv(1 << 16):
                data += received
                count, data = _commands(data)
                if count and not self._answer:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                line.sendall(self._answer * count)
        line.close()

    def close(self) -> None:
        """Stop listening and end what is open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._open:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def __enter__(self) -> FailingRedis:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _commands(data: bytes) -> tuple[int, bytes]:
    """Count the complete commands (arrays of bulk strings), and return what is left."""
    count = 0
    while data.startswith(b"*"):
        head, found, rest = data.partition(b"\r\n")
        if not found:
            break
        for _ in range(int(head[1:])):
            size, found, rest = rest.partition(b"\r\n")
            if not found or len(rest) < int(size[1:]) + 2:
                return count, data
            rest = rest[int(size[1:]) + 2 :]
        count, data = count + 1, rest
    return count, data
