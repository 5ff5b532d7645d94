"""Hands log lines to a file descriptor without ever making the caller wait.

Callers append to a bounded queue, and one thread writes. Few lines are written at once; when many come, the
thread takes everything that gathered within a few milliseconds in one write. When the reader of the
descriptor stalls, the queue fills and new lines are dropped and counted: a service must not stop because its
log collector did.
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import stat
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ("LINE_LIMIT", "LogWriter")

LINE_LIMIT = 4_000
"""Bytes that a line should have at most: below PIPE_BUF (4,096 on Linux) a write to a pipe is atomic (POSIX
write(2)), so lines of several processes on one pipe stay whole."""

_PIPE_BUF = select.PIPE_BUF
# At most about a megabyte in one write, at 4,000 bytes a line.
_BATCH_LINES = 256
_GATHER_SECONDS = 0.005
# A token bucket of writes that do not gather: fifty a second cost about a thousandth of a core.
_AT_ONCE_SECONDS = 0.02
_AT_ONCE_BURST = 10
_EXIT_SECONDS = 2.0
_NEWLINE = 0x0A
_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.ECONNRESET, errno.ENOTCONN, errno.EIO})

_writers: weakref.WeakSet[LogWriter] = weakref.WeakSet()


class LogWriter:
    """A bounded queue of lines and the thread that writes them.

    Parameters:
        fd: descriptor to write to. It is neither duplicated nor closed.
        shared: other processes may write to the same pipe, so each write holds whole lines of at most
            PIPE_BUF bytes together. None finds out: true for pipes and sockets, false for files and
            terminals, on which a write of any size stays whole.
        max_lines: lines that may wait, at least 1.
        max_bytes: bytes that may wait.
        note: makes the line that reports dropped lines once writing works again, from their number.
    """

    def __init__(
        self,
        fd: int = 1,
        *,
        shared: bool | None = None,
        max_lines: int = 10_000,
        max_bytes: int = 8 << 20,
        note: Callable[[int], bytes] | None = None,
    ) -> None:
        self.fd = fd
        self.dropped = 0
        """Lines lost so far: the queue was full, or nobody reads any more."""
        self.closed = False
        """True once the reader has gone; everything after that is dropped."""
        self.shared = bool(shared)
        """Whether each write holds at most PIPE_BUF bytes."""
        self.direct = False
        """Write at once where that does not wait: for the last words of a process that a signal will end."""
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            # Descriptor 1 of a process started without one is soon some socket: never write to it.
            self.closed = True
        else:
            if shared is None:
                self.shared = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self.note = note
        self._reset()
        _writers.add(self)

    def _reset(self) -> None:
        """Begin with nothing queued and no thread: at construction, and in a forked child."""
        # A deque, because its append needs no lock: signal handlers and finalizers log, too, at any moment.
        self._queue: deque[bytes | threading.Event] = deque()
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._starting = threading.RLock()
        self._bytes = 0
        self._noted = self.dropped
        self._torn = False

    @property
    def waiting(self) -> int:
        """Lines in the queue now."""
        return len(self._queue)

    def write(self, line: bytes) -> None:
        """Queue one line (it ends with a newline), or drop it. Never waits, never raises."""
        if self.closed or len(self._queue) >= self._max_lines or self._bytes >= self._max_bytes:
            self.dropped += 1
            return
        self._queue.append(line)
        self._bytes += len(line)
        if self._asleep or self.direct:
            self._wake()

    def flush(self, seconds: float = _EXIT_SECONDS) -> bool:
        """Wait until what is queued now is written, at most this long; return whether it was."""
        if self.closed or (not self._queue and self._asleep):
            return not self.closed
        written = threading.Event()
        self._queue.append(written)
        self._wake()
        return written.wait(seconds) and not self.closed

    def _wake(self) -> None:
        if self.direct and self._has_room(0):
            self._drain()
            return
        self._asleep = False
        if self._thread is None and not self._start():
            self._asleep = True
            self._drain()
        else:
            self._wakeups.put(None)

    def _start(self) -> bool:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="roadworthy-log", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    # No thread can be had: the interpreter is ending, or the process is at its limit.
                    self._thread = None
                    return False
        return True

    def _run(self) -> None:
        at_once, seen = float(_AT_ONCE_BURST), time.monotonic()
        while True:
            if not self._queue:
                self._asleep = True
                # Looked at again, because a line may have come between the look and the note that we sleep.
                if not self._queue:
                    self._wakeups.get()
                self._asleep = False
            now = time.monotonic()
            at_once, seen = min(_AT_ONCE_BURST, at_once + (now - seen) / _AT_ONCE_SECONDS), now
            if at_once >= 1:
                at_once -= 1
            else:
                time.sleep(_GATHER_SECONDS)
            self._drain()

    def _drain(self) -> None:
        """Write everything that is queued, and report what was dropped before it."""
        queue = self._queue
        while queue:
            # The hands are few and the lines many: whatever is done for a line costs every request.
            lines: list[bytes] = []
            written: threading.Event | None = None
            try:
                for _ in range(min(len(queue), _BATCH_LINES)):
                    line = queue.popleft()
                    if isinstance(line, bytes):
                        lines.append(line)
                    else:
                        written = line
                        break
            except IndexError:
                pass  # another thread takes from it, too: the last words of the process
            self._write_all(lines)
            if written is not None:
                self._report_losses()
                written.set()
        self._report_losses()

    def _write_all(self, lines: list[bytes]) -> None:
        if not self.shared:
            self._write(lines, sum(map(len, lines)))
            return
        batch, size = list[bytes](), 0
        for line in lines:
            if size + len(line) > _PIPE_BUF and batch:
                self._write(batch, size)
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        self._write(batch, size)

    def _write(self, batch: list[bytes], size: int) -> None:
        if not batch:
            return
        data = b"".join(batch)
        if self._torn:
            data = b"\n" + data
        while data:
            try:
                if self.closed:
                    raise BrokenPipeError(errno.EPIPE, "closed before")
                sent = os.write(self.fd, data)
                self._torn = data[sent - 1] != _NEWLINE
                data = data[sent:]
            except BlockingIOError:
                # Whoever shares this pipe made it non-blocking; wait for room here, in the thread.
                self._has_room(1_000)
            except OSError as error:
                # A full disk passes, so only a reader that has gone ends the writing.
                self.closed = error.errno in _GONE
                self.dropped += len(batch)
                break
        # Subtracted after the write, so that lines in a stalled write still count as waiting. Two threads may
        # lose an update of this number between them; it starts anew whenever the queue is empty.
        self._bytes = self._bytes - size if self._queue else 0

    def _has_room(self, milliseconds: int) -> bool:
        """Return whether a write would not wait, after at most this long."""
        room = select.poll()
        room.register(self.fd, select.POLLOUT)
        return bool(room.poll(milliseconds))

    def _report_losses(self) -> None:
        lost = self.dropped - self._noted
        if lost and self.note is not None and not self.closed:
            self._noted += lost
            self._write([self.note(lost)], 0)


def _forget_parent() -> None:
    """In a forked child: the parent writes what the parent queued, and its thread does not exist here."""
    for writer in _writers:
        writer._reset()  # pyright: ignore[reportPrivateUsage]


def _flush_all() -> None:
    for writer in tuple(_writers):
        writer.flush(_EXIT_SECONDS)


os.register_at_fork(after_in_child=_forget_parent)
atexit.register(_flush_all)
