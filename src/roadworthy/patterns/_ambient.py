"""What the service around a pattern provides, if there is one.

The layer is asked only if it is imported already: importing it takes half a second, and a script that
computes with these patterns has no use for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

__all__ = ("default_bound", "request_id")

_WITHOUT_POOL = 8
"""Children at once where no pool is open: what a client of several remote services uses by custom."""
_LEAST = 2


def default_bound() -> int:
    """Return how many children a fan-out runs at once: half of the smallest open pool, at least two.

    One request must leave connections to the others (fastapi/full-stack-fastapi-template#104).
    """
    pooling = sys.modules.get("roadworthy.layer.connection_pooling")
    if pooling is None:
        return _WITHOUT_POOL
    smallest = cast("Callable[[], int | None]", pooling.smallest_pool)()
    if smallest is None:
        return _WITHOUT_POOL
    return min(max(_LEAST, smallest // 2), smallest)


def request_id() -> str:
    """Return the id of the request that the running code works for, or "" outside one."""
    layer = sys.modules.get("roadworthy.layer")
    return "" if layer is None else cast("Callable[[], str]", layer.current_request_id)()
