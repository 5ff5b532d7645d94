"""What the supervisor starts: ``python -m roadworthy.cli.worker <descriptor of the channel>``."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType

from ..server.workers.channel import Channel
from ..server.workers.worker import Line, check, serve_worker
from ..settings import SettingsError, set_flags
from ._inherited import stay_deaf
from ._messages import UsageError
from .run import layered

__all__ = ()


class _StoppedError(BaseException):
    """Raised by SIGTERM until the server handles it; no Exception, so that importing an app lets it by."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StoppedError


def _main() -> int:
    # Ctrl-C and a closed terminal reach every process of the group; the supervisor says what they mean. Where
    # it was started with one of them ignored, so is this, and what handlers start.
    stay_deaf(*(one for one in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN))
    signal.signal(signal.SIGTERM, _stop)
    try:
        line = Line(Channel(socket.socket(fileno=int(sys.argv[1]))))
        set_flags(line.errand["flags"])
        try:
            app = layered(line.errand["target"], first=line.errand["do"] == "check")
        except (UsageError, SettingsError) as error:
            line.channel.send({"refused": str(error)})
            return 2
        return check(app, line) if line.errand["do"] == "check" else serve_worker(app, line)
    except _StoppedError:
        return 0


if __name__ == "__main__":
    sys.exit(_main())
