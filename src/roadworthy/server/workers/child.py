"""One worker process as its supervisor sees it: started, heard, ended."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from ..process.folder import Folder
from .channel import Channel, Message

__all__ = ("SPARE", "Worker", "WorkerState", "variables")

SPARE = 3.0
"""Seconds that a worker gets beyond its grace, to end by itself, before it is killed."""

WorkerState = Literal["starting", "ready", "leaving"]


class Worker:
    """One child process and the line to it.

    Parameters:
        command: starts it; the descriptor of its end of the channel is appended.
        errand: its first message.
        sockets: what it inherits.
        folder: entered by its name, so that a link that was changed meanwhile is followed.
        environment: its variables.
        heard: called on the loop with every message of it but signs of life.
        interactive: it keeps the terminal's input, for a debugger.

    Raises:
        OSError: the machine has no room for one more process, or the program or the folder is gone;
            ``strerror`` names it.

    Attributes:
        state: ``starting``, ``ready`` once it accepts, ``leaving`` once it has to end.
        heard_at: when it gave its last sign of life, in seconds of ``time.monotonic``.
        spoke: it has given one; before, its interpreter starts.
        ready_at: when it became ready, None before.
    """

    _ids = itertools.count(1)

    def __init__(
        self,
        command: Sequence[str],
        errand: Message,
        sockets: Sequence[socket.socket],
        folder: Folder,
        environment: Mapping[str, str],
        heard: Callable[[Worker, Message], None],
        *,
        generation: int = 0,
        interactive: bool = False,
    ) -> None:
        self.generation = generation
        self.state: WorkerState = "starting"
        self.report: dict[str, Any] = {}
        self.started_at = self.heard_at = time.monotonic()
        self.spoke = False
        self.ready_at: float | None = None
        self.kill_at: float | None = None
        self._heard = heard
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._loop = asyncio.get_running_loop()
        self.channel, theirs = Channel.pair()
        with theirs:
            numbers = [one.fileno() for one in sockets]
            try:
                self.process = subprocess.Popen(  # noqa: S603 - the command is our own
                    [*command, str(theirs.fileno())],
                    pass_fds=[theirs.fileno(), *numbers],
                    cwd=folder.path,
                    env=folder.variables(environment),
                    stdin=None if interactive else subprocess.DEVNULL,
                )
            except OSError as error:
                self.channel.close()
                raise OSError(error.errno, folder.trouble() or _named(error)) from None
        self.channel.send({**errand, "listeners": numbers})
        self._loop.add_reader(self.channel.fileno(), self._read)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def ready(self) -> bool:
        """Whether it has reported that it may get traffic."""
        return self.state == "ready" and bool(self.report.get("ready"))

    def send(self, **message: Any) -> None:
        """Send it a message."""
        self.channel.send(message)

    async def ask(self, question: str, seconds: float) -> Message | None:
        """Send a question and return the answer; None when it does not come in time."""
        number = next(self._ids)
        answer = self._answers[number] = self._loop.create_future()
        self.send(do=question, id=number)
        try:
            async with asyncio.timeout(seconds):
                found: Message = await answer
                return found
        except TimeoutError:
            return None
        finally:
            del self._answers[number]

    def end(self) -> None:
        """Have it end at once by itself, before it serves."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by force; this works on a stopped process too."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    def gone(self) -> bool:
        """Return whether the process has ended; its last messages are read first."""
        if self.process.poll() is None:
            return False
        while self._read():
            pass
        self._loop.remove_reader(self.channel.fileno())
        self.channel.close()
        return True

    def _read(self) -> bool:
        messages = self.channel.receive()
        if messages is None:
            # Its end is closed and so always readable; the exit of the process shows the rest.
            self._loop.remove_reader(self.channel.fileno())
            return False
        for message in messages:
            self.heard_at = time.monotonic()
            self.spoke = True
            if "beat" in message:
                self.report = message["beat"]
            elif "answer" in message:
                answer = self._answers.get(message["answer"])
                if answer is not None and not answer.done():
                    answer.set_result(message)
            else:
                self._heard(self, message)
        return bool(messages)


def _named(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def variables(group: str, prometheus: str) -> dict[str, str]:
    """Return the variables that workers get: they count together, and what the app counts is shared."""
    return {
        **os.environ,
        "ROADWORTHY_WORKER_GROUP": group,
        "PROMETHEUS_MULTIPROC_DIR": os.environ.get("PROMETHEUS_MULTIPROC_DIR", prometheus),
    }
