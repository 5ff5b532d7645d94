"""Rows as a service sees them: pydantic models, dataclasses, mappings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel

__all__ = ("field_names", "maker")

_Row = TypeVar("_Row")


def field_names(kind: type[Any]) -> tuple[str, ...] | None:
    """Return the fields of a kind of row, None for one that takes any."""
    if issubclass(kind, BaseModel):
        return tuple(kind.model_fields)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return None


def maker(kind: type[_Row]) -> Callable[[Mapping[str, Any]], _Row]:
    """Return what makes a row of this kind from its values by name."""
    if issubclass(kind, BaseModel):
        validate = kind.model_validate

        def model(values: Mapping[str, Any]) -> _Row:
            return cast("_Row", validate(dict(values)))

        return model
    if issubclass(kind, dict):
        return cast("Callable[[Mapping[str, Any]], _Row]", dict)
    return lambda values: kind(**values)
