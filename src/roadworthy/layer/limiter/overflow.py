"""The stated policy for a full table: keys that do not fit are counted in a sketch, never left uncounted.

A table holds exact counts for a bounded number of keys and forgets none that still counts. When an attacker
walks through more addresses than fit, two answers would be wrong: to admit what does not fit (fail-open: one
more address buys unlimited requests), and to let all of it share one bucket (every honest newcomer is
refused). So the rest is counted in a count-min sketch with conservative update (Estan and Varghese, "New
directions in traffic measurement and accounting", SIGCOMM 2002; Cormode and Muthukrishnan, 2005) whose cells
are theoretical arrival times. It never counts too little: no key gets more than its limit. It counts too much
only for a key all of whose four cells are shared with busy ones: each cell carries the full rate by itself,
so with 65,536 cells a row the sketch takes tens of thousands of newcomers per interval before an honest one
notices. Keys in the table are not affected at all.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .policy import Policy

__all__ = ("OVERFLOW_CELLS", "Overflow")

_ROWS = Struct("<4H")
_WIDTH = 1 << 16
OVERFLOW_CELLS = 1 + 4 * _WIDTH
"""64-bit cells of one sketch (2 MiB): the latest time kept in it, and four rows."""


class _Cells(Protocol):
    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class Overflow:
    """Counts keys in a fixed number of cells.

    Parameters:
        cells: ``OVERFLOW_CELLS`` signed 64-bit numbers, zero at first; may be shared memory.
    """

    __slots__ = ("_cells",)

    def __init__(self, cells: _Cells) -> None:
        self._cells = cells

    def estimate(self, digest: bytes, now: int) -> int:
        """Return a TAT not before the key's true one; 0 when nothing in the sketch counts any more."""
        cells = self._cells
        if cells[0] <= now:
            return 0
        return min([cells[place] for place in _places(digest)])

    def take(self, policy: Policy, digest: bytes, now: int) -> int:
        """Count one request at ``now`` and return its room.

        Parameters:
            digest: at least 8 bytes of a hash of the key that clients cannot predict.
        """
        cells = self._cells
        places = _places(digest)
        tat = max(now, min([cells[place] for place in places])) + policy.interval
        room = now + policy.burst - tat
        if room >= 0:
            for place in places:
                if cells[place] < tat:
                    cells[place] = tat
            if cells[0] < tat:
                cells[0] = tat
        return room


def _places(digest: bytes) -> tuple[int, int, int, int]:
    first, second, third, fourth = _ROWS.unpack_from(digest)
    return 1 + first, 1 + _WIDTH + second, 1 + 2 * _WIDTH + third, 1 + 3 * _WIDTH + fourth
