"""Telling systemd about the service: ready, reloading, stopping, still alive (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

__all__ = ("Notifier",)


class Notifier:
    """Sends datagrams to the socket named by ``NOTIFY_SOCKET``; does nothing without one.

    The variables are taken out of ``environment``: worker processes and libraries have nothing to report.

    Parameters:
        environment: the process's variables.

    Attributes:
        watchdog: seconds between two signs of life that systemd wants, None when it wants none.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        path = environment.pop("NOTIFY_SOCKET", "")
        # A path with @ in front is in Linux's abstract namespace, which begins with a zero byte.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        period = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "")
        ours = pid in ("", str(os.getpid())) and period.isdigit() and int(period) > 0
        # Half the period, as sd_watchdog_enabled(3) recommends.
        self.watchdog = int(period) / 2e6 if ours and path else None

    def ready(self) -> None:
        """Say that the service serves, at first or again after a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun; :meth:`ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service shuts down."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto(state.encode(), self._address)
        except OSError:
            # Nobody listens: the service matters more than the message.
            return
