"""The known word that looks most like a wrong one, for messages of the checklist and of the checker.

The checker imports nothing but the checklist, so the rest has its own (:mod:`roadworthy.near`).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ("nearest",)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the entry of ``known`` that looks most like ``word``, or None.

    Parameters:
        cutoff: how much alike they have to be, as difflib's ratio; at 0 there is always one.
    """
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)
