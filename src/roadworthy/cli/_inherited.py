"""What a process inherits over execve(2), and what is done with it before anything else.

Reset, because nothing works as its manual says otherwise:

- **Standard streams that are closed** (cron, daemonizers): ``/dev/null`` is opened on them, as daemon(7) has
  it. Else the next socket gets the number 0, 1 or 2, and what is started takes it for its input or output.
- **Standard error without a reader** (a pipe whose other end is closed): ``/dev/null``, too. Else a message
  that cannot be written replaces the exit code by 120, Python's own for a stream that cannot be flushed.
- **Blocked signals** (sigprocmask(2): execve keeps the mask): none is blocked any more, as daemon(7) has it.
  A blocked SIGTERM ends nothing.
- **SIGCHLD ignored** (wait(2)): back to its default. Else the kernel reaps children by itself, and subprocess
  reports exit code 0 for each of them.
- **SIGTERM ignored:** ``run`` handles it all the same. Service managers know no other way to end a service,
  and neither nohup(1) nor a shell's ``&`` ignores it.
- **The place of process 1:** left to a process that does what only the first one can, see ``_init``.

Respected, because whoever started the process has chosen it:

- **SIGHUP ignored** (nohup(1)), **SIGINT and SIGQUIT ignored** (a shell's ``&`` without job control, POSIX
  XCU 2.11): they stay ignored, in workers and in what handlers start, too.
- **The name of the folder** (``$PWD``), see ``server.folder``.
- **umask, niceness, scheduling, CPU affinity, OOM score, resource limits, capabilities, namespaces:** as they
  are. Files that others must not read get a mode of their own.
- **The soft limit of descriptors:** not raised to the hard one. The app is somebody else's, and what it uses
  may call select(2), which ends at 1,024 (systemd.exec(5), ``LimitNOFILE=``).
- **Further open descriptors:** kept, and not handed to workers or offload workers.
- **Parent-death signal** (prctl(2)): kept for this process; workers have their own.
- **Alarms and timers** (alarm(2)), **SIGALRM, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU:** as they are.
- **The interpreter's variables** (``PYTHON*``): workers have the same.
- **The terminal, or an output without a reader:** input is not read; a stream that is gone costs its lines.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from types import FrameType

from ._init import hold_first_place

__all__ = ("stay_deaf", "take_over")

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def take_over() -> None:
    """Bring the process into a state in which everything works as documented; the first thing it does."""
    if sys.platform == "win32":
        return
    _open_streams()
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    hold_first_place()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def stay_deaf(*signals: signal.Signals) -> None:
    """Have these signals do nothing here, and what they do by default in processes that are started.

    An ignored signal stays ignored over execve(2), a handled one goes back to its default.
    """
    for number in signals:
        signal.signal(number, _nothing)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


def _open_streams() -> None:
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # open(2) takes the lowest number that is free, and those below have been looked at.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            if getattr(sys, name) is None:
                stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
                setattr(sys, name, stream)
                setattr(sys, f"__{name}__", stream)
    if _has_no_reader(2):
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def _has_no_reader(number: int) -> bool:
    """Return whether this is a pipe whose other end is closed: poll(2) reports POLLERR for its writer."""
    poll = select.poll()
    poll.register(number, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
