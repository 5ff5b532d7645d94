"""The line between the supervisor and one worker: JSON objects, one per line, over a socket pair.

The kernel closes an end when its process is gone, however it went; so the end of the line is how either side
learns of the other's death.
"""

from __future__ import annotations

import json
import socket
import threading
from typing import Any, TypeAlias

__all__ = ("Channel", "Message")

Message: TypeAlias = dict[str, Any]

_CHUNK = 1 << 16


class Channel:
    """One end of the line.

    Parameters:
        end: a connected stream socket, which the channel owns from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._received = b""
        self._sending = threading.Lock()
        end.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return our end, and the socket to hand to the other process."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        return self._end.fileno()

    def send(self, message: Message) -> None:
        """Send without waiting for room; what does not fit, or has nobody to read it, is dropped.

        A line that has been begun is finished, so that no reader sees half of one.
        """
        data = json.dumps(message).encode() + b"\n"
        with self._sending:
            try:
                sent = self._end.send(data)
                if sent < len(data):
                    self._end.setblocking(True)
                    try:
                        self._end.sendall(data[sent:])
                    finally:
                        self._end.setblocking(False)
            except OSError:
                return

    def receive(self) -> list[Message] | None:
        """Return the messages that have come in, or None when the other end is closed. Never waits."""
        try:
            data = self._end.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._end.close()
