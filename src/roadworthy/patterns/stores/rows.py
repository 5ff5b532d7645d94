"""Rows as a service sees them: models, structs, dataclasses, mappings, tuples, single values."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
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
    # Python makes a mapping, or calls something, from names that stand in the code itself in half the time
    # that it takes with names in a list; so dataclasses and named tuples generate their code, too.
    is_keyed = issubclass(kind, Keyed)
    row = kind.row if is_keyed else kind
    known: dict[str, Any] = {"row": row}
    values: list[str] = []
    for index, process in enumerate(processors):
        if process is not None:
            known[f"process{index}"] = process
        values.append(f"v{index}" if process is None else f"process{index}(v{index})")
    if issubclass(row, BaseModel):
        # Of a model that was declared before what it refers to, pydantic makes it when it is asked for.
        known["validate"] = (
            row.model_validate if _validates_by_itself(row) else row.__pydantic_validator__.validate_python
        )
    made = _expression(row, names[is_keyed:], values[is_keyed:])
    if is_keyed:
        made = f"({values[0]}, {made})"
    columns = "".join(f"v{index}, " for index in range(len(names)))
    code = f"lambda rows: [{made} for {columns} in rows]"
    return cast("Rows", eval(code, known))  # noqa: S307 - no text of it is foreign, but for names in quotes


def _expression(kind: type[Any], names: Sequence[str], values: Sequence[str]) -> str:
    """Return what makes a row from the values of its columns."""
    if is_value(kind):
        return values[0]
    fields = field_names(kind)
    pairs = [
        (name, value) for name, value in zip(names, values, strict=True) if fields is None or name in fields
    ]
    in_order = "".join(f"{value}, " for _, value in pairs)
    by_name = "{" + ", ".join(f"{str.__repr__(name)}: {value}" for name, value in pairs) + "}"
    if issubclass(kind, tuple) and fields is None:
        return f"({in_order})" if kind is tuple else f"row(({in_order}))"
    if issubclass(kind, dict):
        return by_name if kind is dict else f"row({by_name})"
    if issubclass(kind, BaseModel):
        return f"validate({by_name})"
    if not issubclass(kind, tuple) and _takes_in_order(kind, [name for name, _ in pairs]):
        return f"row({in_order})"
    return f"row(**{by_name})"


def _validates_by_itself(kind: type[BaseModel]) -> bool:
    return cast("Any", kind.model_validate).__func__ is not cast("Any", BaseModel.model_validate).__func__


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
