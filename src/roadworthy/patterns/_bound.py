"""How many children a fan-out runs at once when nobody says: a part of the smallest pool of connections."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

__all__ = ("default_bound",)

_WITHOUT_POOL = 8
"""Children at once where no pool is open: what a client of several remote services uses by custom."""
_LEAST = 2


def default_bound() -> int:
    """Return half of the smallest open pool, at least two: one request must leave connections to the others.

    Each child holds at most one connection, so there is no deadlock when several fan out at once: the wait
    for a connection is bounded by the pool (fastapi/full-stack-fastapi-template#104).
    """
    # Outside of a service nothing has opened a pool, and importing the layer would cost half a second.
    pooling = sys.modules.get("roadworthy.layer.connection_pooling")
    if pooling is None:
        return _WITHOUT_POOL
    smallest = cast("Callable[[], int | None]", pooling.smallest_pool)()
    if smallest is None:
        return _WITHOUT_POOL
    return min(max(_LEAST, smallest // 2), smallest)
