"""All cases, in the order of the table."""

from __future__ import annotations

from . import inputs, lifecycle, limits, observability, parsing, proxied, slow
from .case import Case

__all__ = ("CASES",)

CASES: tuple[Case, ...] = (
    *lifecycle.CASES,
    *parsing.CASES,
    *proxied.CASES,
    *slow.CASES,
    *limits.CASES,
    *inputs.CASES,
    *observability.CASES,
)
