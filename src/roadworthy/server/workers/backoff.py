"""How long a worker that ended is not replaced, and after how many failed starts none is any more."""

from __future__ import annotations

__all__ = ("ATTEMPTS", "Backoff")

ATTEMPTS = 5
"""Starts in a row that may fail before the service, or a reload, gives up."""
_STEADY = 5.0
"""Seconds after which a worker that ends has not failed at its start."""
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_FAILING = 0.1, 1.0, 30.0
"""Seconds, doubled from the first: to 1 s for workers that came up, else to 30 s."""


class Backoff:
    """Counts failed starts in a row, and doubles the pause before the next."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def failing(self) -> bool:
        """Whether so many starts in a row have failed that the next will, too."""
        return self._failures >= ATTEMPTS

    def forget(self) -> None:
        """Count failed starts anew."""
        self._failures = 0

    def pause(self, served: float | None) -> float:
        """Return the seconds before a worker that ended is replaced.

        Parameters:
            served: seconds for which it was ready, None for one that never was.
        """
        if served is not None and served >= _STEADY:
            self._failures = 0
            return 0.0
        self._failures += 1
        longest = _LONGEST_FAILING if served is None else _LONGEST_PAUSE
        return float(min(_FIRST_PAUSE * 2.0 ** (self._failures - 1), longest))
