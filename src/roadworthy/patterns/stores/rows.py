"""Rows as a service sees them: models, structs, dataclasses, mappings, tuples, single values."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import starmap
from typing import Any, TypeAlias, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel

__all__ = ("Keyed", "Rows", "field_names", "is_value", "maker", "required_names", "rows_maker")

_Row = TypeVar("_Row")

Rows: TypeAlias = Callable[[Sequence[Any]], list[Any]]
"""Makes a service's rows from what a driver returned."""

_Fields: TypeAlias = Mapping[str, bool]
"""The names of fields, and whether a row must have them."""

_VALUES = (str, bytes, int, float, Decimal, date, time, timedelta, UUID, Enum)


class Keyed:
    """A kind of row: the first column, and a row of a kind made of the others."""

    row: type[Any] = dict

    def __class_getitem__(cls, row: type[Any]) -> type[Keyed]:
        return type("Keyed", (cls,), {"row": row})


def is_value(kind: type[Any]) -> bool:
    """Return whether a row of this kind is the value of its only column."""
    return issubclass(kind, _VALUES) or kind in (datetime, object)


def field_names(kind: type[Any]) -> tuple[str, ...] | None:
    """Return the fields of a kind of row, None for one that takes any."""
    fields = _fields(kind)
    return None if fields is None else tuple(fields)


def required_names(kind: type[Any]) -> frozenset[str]:
    """Return the fields that have no default."""
    return frozenset(name for name, required in (_fields(kind) or {}).items() if required)


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


def rows_maker(
    kind: type[Any], names: Sequence[str], processors: Sequence[Callable[[Any], Any] | None]
) -> Rows:
    """Return what makes all rows of a result, each given as the values of its columns in their order.

    Parameters:
        kind: of row.
        names: of the columns.
        processors: of their types, None where the driver's value is the one that the type has.
    """
    if issubclass(kind, Keyed):
        return _pairs(rows_maker(kind.row, names[1:], processors[1:]), processors[0])
    wanted = _wanted(kind, names)
    plain = _plain(kind, [names[index] for index in wanted])
    chosen = wanted if wanted != tuple(range(len(names))) else None
    work = [(at, one) for at, index in enumerate(wanted) if (one := processors[index]) is not None]
    if not work and chosen is None:
        return plain

    def process(rows: Sequence[Any]) -> list[Any]:
        found: list[list[Any]] = []
        for row in rows:
            values = list(row) if chosen is None else [row[index] for index in chosen]
            for at, convert in work:
                values[at] = convert(values[at])
            found.append(values)
        return plain(found)

    return process


def _pairs(make: Rows, process: Callable[[Any], Any] | None) -> Rows:
    def pairs(rows: Sequence[Any]) -> list[Any]:
        keys = [row[0] for row in rows] if process is None else [process(row[0]) for row in rows]
        return list(zip(keys, make([row[1:] for row in rows]), strict=True))

    return pairs


def _wanted(kind: type[Any], names: Sequence[str]) -> tuple[int, ...]:
    known = field_names(kind)
    return tuple(index for index, name in enumerate(names) if known is None or name in known)


def _plain(kind: type[Any], names: Sequence[str]) -> Rows:
    if is_value(kind):
        return lambda rows: [row[0] for row in rows]
    make = cast("Callable[..., Any]", kind)
    if issubclass(kind, tuple):
        if hasattr(make, "_make"):
            return lambda rows: [make(**dict(zip(names, row, strict=True))) for row in rows]
        return lambda rows: list(map(make, rows))
    if issubclass(kind, dict):
        return lambda rows: [kind(zip(names, row, strict=True)) for row in rows]
    if issubclass(kind, BaseModel):
        return _models(kind, names)
    if _takes_in_order(kind, names):
        return lambda rows: list(starmap(kind, rows))
    return lambda rows: [kind(**dict(zip(names, row, strict=True))) for row in rows]


def _models(kind: type[BaseModel], names: Sequence[str]) -> Rows:
    if cast("Any", kind.model_validate).__func__ is not cast("Any", BaseModel.model_validate).__func__:
        checked = kind.model_validate
        return lambda rows: [checked(dict(zip(names, row, strict=True))) for row in rows]

    def make(rows: Sequence[Any]) -> list[Any]:
        # Asked for each time: pydantic replaces it where a model was declared before what it refers to.
        validate = kind.__pydantic_validator__.validate_python
        return [validate(dict(zip(names, row))) for row in rows]  # noqa: B905 - of one length, and it is hot

    return make


def _takes_in_order(kind: type[Any], names: Sequence[str]) -> bool:
    if dataclasses.is_dataclass(kind):
        fields = [field for field in dataclasses.fields(kind) if field.init]
        ordered = "__init__" in vars(kind) and not any(field.kw_only for field in fields)
        return ordered and [field.name for field in fields] == list(names)
    struct = _msgspec()
    return (
        struct is not None
        and issubclass(kind, struct.Struct)
        and not any(parameter == "*" for parameter in _signature(kind))
        and list(kind.__struct_fields__) == list(names)
    )


def _signature(kind: type[Any]) -> Sequence[str]:
    import inspect

    kinds = (parameter.kind for parameter in inspect.signature(kind).parameters.values())
    return ["*" if one is inspect.Parameter.KEYWORD_ONLY else "" for one in kinds]


def _msgspec() -> Any:
    return sys.modules.get("msgspec")  # whoever has a struct has imported it


def _fields(kind: type[Any]) -> _Fields | None:
    if issubclass(kind, BaseModel):
        return {name: field.is_required() for name, field in kind.model_fields.items()}
    if dataclasses.is_dataclass(kind):
        return {
            field.name: field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            for field in dataclasses.fields(kind)
            if field.init
        }
    named = cast("Any", kind)
    if issubclass(kind, tuple) and hasattr(named, "_fields"):
        return {name: name not in named._field_defaults for name in named._fields}
    struct = _msgspec()
    if struct is not None and issubclass(kind, struct.Struct):
        return {field.name: field.required for field in struct.structs.fields(kind)}
    return None
