"""What only process 1 of a container can do, and a service cannot do beside its work.

A process whose parent ends becomes a child of process 1 (wait(2)), and stays a zombie until process 1 waits
for it. A service that waited for any child (``waitpid(-1)``) would take exit codes away from subprocess and
asyncio. The kernel also drops signals to process 1 that it has no handler for (pid_namespaces(7)). So the
first process starts the service as its child before anything is imported, and then does three things only:
it passes signals on, reaps, and ends with the code of the service, or with 128 and the number of the signal
that ended it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from typing import NoReturn

__all__ = ("hold_first_place",)

_FAULTS = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
"""Raised by a process's own mistakes: to block them is undefined (sigprocmask(2))."""
_ADDRESSED = ("LISTEN_PID", "WATCHDOG_PID")
"""Variables that name the process they are meant for (sd_listen_fds(3), sd_watchdog_enabled(3))."""


def hold_first_place() -> None:
    """As process 1, return in a child with every signal blocked, and never in this process; else do nothing.

    Call it before there is a second thread. Where there is no room for a second process, this one serves.
    """
    if os.getpid() != 1:
        return
    passed_on = signal.valid_signals() - _FAULTS
    # Before there is a child: what comes meanwhile waits, and is passed on.
    signal.pthread_sigmask(signal.SIG_SETMASK, passed_on)
    try:
        child = os.fork()
    except OSError:
        return
    if child:
        _attend(child, passed_on)
    _stand_alone()


def _attend(child: int, passed_on: Collection[signal.Signals]) -> NoReturn:
    # The service's sockets, pipes and folder are not to be held by a process that has no use for them.
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with suppress(OSError):
                os.close(int(name))
    os.chdir("/")
    while True:
        number = signal.sigwait(passed_on)
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        # One signal may stand for several children.
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                os._exit(code if code >= 0 else 128 - code)


def _stand_alone() -> None:
    """Become what process 1 was to the terminal and to systemd's variables."""
    # In a group of its own: Ctrl-C goes to a whole group, and would reach the service twice, once passed on.
    before = os.getpgrp()
    os.setpgid(0, 0)
    for stream in range(3):
        with suppress(OSError):
            if before and os.tcgetpgrp(stream) == before:
                # SIGTTOU is blocked here, so this may come from the background (tcsetpgrp(3)).
                os.tcsetpgrp(stream, os.getpgrp())
                break
    for name in _ADDRESSED:
        if os.environ.get(name) == "1":
            os.environ[name] = str(os.getpid())
