"""Classes by name: what belongs to a driver or a framework is known without importing it."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ("full_name", "kinds_of")


def kinds_of(value: object) -> Iterator[tuple[str, str]]:
    """Give the root package and the name of the class of ``value``, then of those it is derived from."""
    for kind in type(value).__mro__:
        yield kind.__module__.partition(".")[0], kind.__name__


def full_name(value: object) -> str:
    """Return the name of the class of ``value`` with its module, for a message."""
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
