"""Levels of isolation, and which part fits into which unit of work."""

from __future__ import annotations

from .stores import Isolation, Rules, TransactionError

__all__ = ("fit", "known")

_LEVELS: tuple[Isolation, ...] = ("read committed", "repeatable read", "serializable")


def known(isolation: Isolation | None) -> Isolation | None:
    """Return a level of isolation that there is.

    Raises:
        ValueError: there is none of this name.
    """
    if isolation is not None and isolation not in _LEVELS:
        raise ValueError(f"isolation is one of {', '.join(map(repr, _LEVELS))}")
    return isolation


def fit(unit: Rules, part: Rules) -> None:
    """Refuse a part that asks for more than the unit that it joins began with.

    Raises:
        TransactionError: it does.
    """
    if part.isolation is None:
        return
    given = -1 if unit.isolation is None else _LEVELS.index(unit.isolation)
    if given < _LEVELS.index(part.isolation):
        raise TransactionError(
            f"a part asks for {part.isolation!r} and the unit of work that it joins began with "
            f"{unit.isolation or 'the default of its store'!r}; ask for it where the unit begins"
        )
