"""How long a start is waited for: by the clock at first, then by what the service does."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from .process import Service

__all__ = ("StartUp",)

_LONGEST = 4.0
"""How many times ``ready.timeout`` a start that still works is waited for, at most."""
_RECENT = 5.0
"""Seconds without output and without work after which a service is taken for stuck."""
_LOOK = 0.25
# A service that waits for something has its timers; one that starts keeps a good part of a core busy.
_BUSY = 0.05
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, eq=False)
class StartUp:
    """One start that is being waited for.

    Once ``limit`` is over, a service goes on being waited for as long as it writes or computes, up to
    :data:`_LONGEST` times the limit: a start takes as long as the machine and the data make it.

    Parameters:
        service: its process; None for one that runs elsewhere, which is waited for by the clock alone.
        limit: seconds, ``ready.timeout``.
        slowness: how many times slower this machine is than a quiet one; the limit grows with it.
    """

    service: Service | None
    limit: float
    slowness: float = 1.0
    _began: float = field(default_factory=time.monotonic, init=False)
    _active: float = field(default=0.0, init=False)
    _looked: float = field(default=0.0, init=False)
    _ticks: int = field(default=0, init=False)

    @property
    def over(self) -> bool:
        """Whether it is to be given up."""
        now = time.monotonic()
        self._look(now)
        bare = self._began + self.limit * self.slowness
        if now < bare:
            return False
        recent = min(_RECENT, self.limit) * self.slowness
        return now - self._active > recent or now > self._began + self.limit * self.slowness * _LONGEST

    def failure(self, last: str) -> str:
        """Return why it is given up, what was seen last, and the end of what it wrote.

        Parameters:
            last: what was seen of it, such as ``GET / gave refused``.
        """
        taken = time.monotonic() - self._began
        longer = f" (waited for {taken:.0f} s)" if taken > self.limit + 1 else ""
        remedy = "ready.timeout in the manifest sets how long a start may take"
        return f"the service was not ready within {self.limit:g} s{longer}: {last}; {remedy}{self.said()}"

    def said(self) -> str:
        """Return the last lines that the service wrote, as the end of a message."""
        if self.service is None:
            return ""
        if not self.service.lines:
            return "; it wrote nothing"
        tail = "\n".join(f"  {line.text[:400]}" for line in self.service.lines[-20:])
        return f". The last it wrote:\n{tail}"

    def _look(self, now: float) -> None:
        """Note when it was last seen to do something."""
        service = self.service
        if service is None or now < self._looked + _LOOK:
            return
        if service.lines:
            self._active = max(self._active, service.lines[-1].at)
        ticks = sum(one.ticks for one in service.tree())
        if (ticks - self._ticks) / _TICK > _BUSY * (now - (self._looked or self._began)):
            self._active = now
        self._looked, self._ticks = now, ticks
