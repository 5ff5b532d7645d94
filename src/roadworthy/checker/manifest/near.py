"""The known word that is nearest to a wrong one."""

from __future__ import annotations

from collections.abc import Iterable

from ...checklist.near import nearest

__all__ = ("near",)


def near(word: str, known: Iterable[str], most: int = 12) -> str:
    """Return ``; did you mean x?`` for the nearest of ``known``, else all of them when they are few."""
    options = sorted(set(known))
    found = nearest(word, options)
    if found:
        return f"; did you mean {found}?"
    return f"; known are {', '.join(options)}" if 0 < len(options) <= most else ""
