"""The program of an offload worker: it computes what it is sent, one piece after the other.

It is started by its path, so that it imports nothing but the standard library before the first piece says
what else is needed. Frames in both directions are eight bytes of length and a pickle. It dies with its
parent: idle, it reads the end of its line; at work, a thread reads the end of the lifeline; and where the
work holds the interpreter's lock, Linux kills it (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ("Forward", "answer")

_LENGTH = struct.Struct("!Q")
_SET_PARENT_DEATH_SIGNAL = 1
_RECORDED = "__roadworthy_recorded__"
"""The layer's mark on an exception that a record holds already: the id of its request."""


class _Line:
    """The socket to the parent."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        self._writing = threading.Lock()

    def receive(self) -> Any:
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(length))  # noqa: S301 - the parent's own

    def send(self, message: object) -> None:
        """Send a message; nothing of it when it cannot be pickled."""
        self.send_packed(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def send_packed(self, data: bytes) -> None:
        with self._writing:
            self._socket.sendall(_LENGTH.pack(len(data)))
            self._socket.sendall(data)

    def _exactly(self, count: int) -> bytearray:
        found = bytearray(count)
        view = memoryview(found)
        while view:
            read = self._socket.recv_into(view)
            if not read:
                os._exit(0)
            view = view[read:]
        return found


class Forward(logging.Handler):
    """Sends records to the service, which writes them with the id of the request.

    Parameters:
        send: takes a message; raises when it cannot be pickled.

    Attributes:
        request_id: of the piece of work at hand.
    """

    def __init__(self, send: Callable[[object], None]) -> None:
        super().__init__()
        self._send = send
        self.request_id = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Send the text of a record and what of it can travel."""
        exception = record.exc_info[1] if record.exc_info else None
        if exception is not None and record.levelno >= logging.ERROR:
            setattr(exception, _RECORDED, self.request_id)
        # As the standard library's QueueHandler: what a record holds need not be fit to travel, its text is.
        fields = {**record.__dict__, "msg": _message(record), "args": None, "exc_info": None}
        if exception is not None:
            fields["exc_text"] = "".join(traceback.format_exception(exception))
        try:
            self._send(("record", fields))
        except Exception:
            plain = {name: value for name, value in fields.items() if isinstance(value, (str, int, float))}
            self._send(("record", {**plain, "args": None, "exc_info": None}))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        return f"{record.msg} (its arguments do not fit)"


def _die_with_parent(parent: int, lifeline: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=watch, name="roadworthy-lifeline", daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _failure(error: BaseException) -> tuple[str, str, str, bytes | None]:
    text = "".join(traceback.format_exception(error))
    packed: bytes | None = None
    # What ends a process (SystemExit) must not end the parent's.
    if isinstance(error, Exception):
        try:
            packed = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
            # Many an exception pickles and cannot be made again: its class wants other arguments.
            pickle.loads(packed)  # noqa: S301 - our own
        except Exception:
            packed = None
    kind = type(error)
    return "error", f"{kind.__module__}.{kind.__qualname__}", text, packed


def answer(request: Callable[[], Any], forward: Forward) -> bytes:
    """Do a piece of work and return the packed message about its end.

    Parameters:
        request: returns the id of the request, the function and its arguments.
        forward: where records go.
    """
    try:
        forward.request_id, function, arguments = request()
        message: object = ("result", function(*arguments))
    except BaseException as error:
        message = _failure(error)
    try:
        return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps(_failure(error), pickle.HIGHEST_PROTOCOL)


def _serve(line: _Line, forward: Forward) -> None:
    while True:
        try:
            line.send_packed(answer(line.receive, forward))
        except BrokenPipeError:
            os._exit(1)


def _main() -> None:
    # Another server may have kept what it was given. A signal that is blocked reaches nothing that the work
    # starts either; with SIGCHLD ignored all its exit codes would be 0 (sigprocmask(2), wait(2)).
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    number, lifeline, parent = map(int, sys.argv[1:])
    _die_with_parent(parent, lifeline)
    line = _Line(number)
    path, niceness, level = line.receive()
    sys.path[:] = path
    os.nice(niceness)
    forward = Forward(line.send)
    logging.basicConfig(handlers=[forward], level=level)
    logging.captureWarnings(True)
    line.send(("ready",))
    _serve(line, forward)


if __name__ == "__main__":
    _main()
