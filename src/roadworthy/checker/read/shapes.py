"""What a service sends, JSON of unknown shape and numbers of any length, taken apart without surprises."""

from __future__ import annotations

from typing import Any, TypeGuard

__all__ = ("elements", "members", "whole_number")

_DIGITS = 18
"""That fit 64 bits. For more than 4,300 Python raises (``sys.set_int_max_str_digits``)."""


def members(value: object) -> dict[str, Any]:
    """Return the members of a JSON object; none when it is something else."""
    return value if _is_object(value) else {}


def elements(value: object) -> list[Any]:
    """Return the elements of a JSON array; none when it is something else."""
    return value if _is_array(value) else []


def whole_number(text: str) -> int | None:
    """Return the number that a text of 1 to 18 ASCII digits is; None when it is something else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
