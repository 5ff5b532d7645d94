"""The deadline of a probe, which stands still while the service starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

__all__ = ("Deadline",)


@dataclass(slots=True)
class Deadline:
    """When a probe has to be done.

    How long a start takes is the service's affair, and bounded by itself (``ready.timeout``): it is no part
    of the seconds that a probe has.

    Parameters:
        timeout: the block that the probe runs in; None for a bench without one.
    """

    timeout: asyncio.Timeout | None = None
    _left: float | None = None

    def pause(self) -> None:
        """Stop the clock until :meth:`resume`."""
        if self.timeout is None or self._left is not None or self.timeout.expired():
            return
        when = self.timeout.when()
        if when is not None:
            self._left = when - asyncio.get_running_loop().time()
            self.timeout.reschedule(None)

    def resume(self) -> None:
        """Let the clock go on where it stood; nothing happens while it goes."""
        if self.timeout is not None and self._left is not None:
            self.timeout.reschedule(asyncio.get_running_loop().time() + max(self._left, 0.0))
            self._left = None
