"""All cases, in the order of the table."""

from __future__ import annotations

from . import heavy, inputs, lifecycle, limits, observability, parsing, proxied, slow, websockets, workers
from .case import Case

__all__ = ("CASES",)

CASES: tuple[Case, ...] = (
    *lifecycle.CASES,
    *workers.CASES,
    *parsing.CASES,
    *proxied.CASES,
    *slow.CASES,
    *heavy.CASES,
    *websockets.CASES,
    *limits.CASES,
    *inputs.CASES,
    *observability.CASES,
)
