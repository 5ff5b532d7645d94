"""JSON of unknown shape, taken apart without surprises."""

from __future__ import annotations

from typing import Any, TypeGuard

__all__ = ("elements", "members")


def members(value: object) -> dict[str, Any]:
    """Return the members of a JSON object; none when it is something else."""
    return value if _is_object(value) else {}


def elements(value: object) -> list[Any]:
    """Return the elements of a JSON array; none when it is something else."""
    return value if _is_array(value) else []


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
