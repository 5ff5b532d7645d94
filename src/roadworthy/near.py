"""The known word that looks most like a wrong one, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ("did_you_mean", "nearest")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the entry of ``known`` that looks most like ``word`` (difflib's ratio above 0.6), or None."""
    return next(iter(get_close_matches(word, list(known), n=1)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean x?`` for the entry that looks most like ``word``, or nothing."""
    found = nearest(word, known)
    return f"; did you mean {found}?" if found else ""
