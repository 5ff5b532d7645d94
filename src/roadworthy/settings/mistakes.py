"""Messages about wrong settings: the variable's name, what is allowed, the nearest match, never a value.

pydantic's own texts are not used: some of them, and those of custom validators, repeat what was given, and a
traceback of its exception printed every sibling secret (pydantic-settings#256, #530, #937).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from ..near import nearest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

__all__ = (
    "PlainMistake",
    "Problem",
    "SettingsError",
    "aliases",
    "problems_of",
    "wrong_fields",
)

_SHORTEST_RECOGNISED = 2
"""Characters from which a value is searched for in a foreign validator's message."""


class PlainMistake(ValueError):
    """Raised by a validator whose message is known to repeat no value."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong setting.

    Parameters:
        name: the variable, flag or argument that the user set or has to set.
        message: what is allowed, and the nearest match where there is one; never a value.
    """

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class SettingsError(Exception):
    """Raised when settings are wrong; ``str()`` is ready to print and contains no value of any variable.

    Parameters:
        problems: every mistake that was found, so that one start shows them all.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        title = "1 setting is wrong:" if count == 1 else f"{count} settings are wrong:"
        return "\n".join([title, *(f"  {problem}" for problem in self.problems)])


def _describe_allowed(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Say in words what a field of this type accepts: ``a whole number from 0 to 65535``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        flat = [part for item in more for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return _describe_allowed(inner, [*metadata, *flat])
    if origin in (Union, UnionType):
        return " or ".join(
            _describe_allowed(part, metadata) for part in get_args(annotation) if part is not type(None)
        )
    if origin is Literal:
        words = [str(word) for word in get_args(annotation)]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if annotation is bool:
        return "true or false"
    if annotation in (int, float):
        return ("a whole number" if annotation is int else "a number") + _range(metadata)
    if origin in (list, tuple, set, frozenset):
        return "words separated by commas"
    if any(isinstance(item, annotated_types.MinLen) for item in metadata):
        return "a text that is not empty"
    return f"a value of type {getattr(annotation, '__name__', 'its declaration')}"


def _range(metadata: Sequence[Any]) -> str:
    low = next((item.ge for item in metadata if isinstance(item, annotated_types.Ge)), None)
    high = next((item.le for item in metadata if isinstance(item, annotated_types.Le)), None)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return "" if high is None else f" of at most {high}"


def problems_of(
    model: type[BaseModel],
    error: ValidationError,
    values: Mapping[str, Any],
    names: Mapping[str, str],
    required: Mapping[str, str],
) -> list[Problem]:
    """Turn pydantic's exception into problems, one per field.

    Parameters:
        model: the settings class.
        error: what pydantic raised.
        values: what was given per field; finds the nearest match, and messages that repeat a value.
        names: field -> the variable, flag or argument that gave its value.
        required: field -> the variable to set when there is no value.
    """
    grouped: dict[str, list[Any]] = {}
    for item in error.errors(include_url=False, include_input=False):
        grouped.setdefault(_field(model, item["loc"]), []).append(item)
    problems: list[Problem] = []
    for field, items in grouped.items():
        name = names.get(field) or required.get(field, field or "settings")
        problems.append(Problem(name, _message(model.model_fields.get(field), field, items, values)))
    return problems


def wrong_fields(model: type[BaseModel], error: ValidationError) -> frozenset[str]:
    """Return the fields that are wrong or missing; none when only the model's own validators failed."""
    found = (_field(model, item["loc"]) for item in error.errors(include_url=False, include_input=False))
    return frozenset(name for name in found if name in model.model_fields)


def _field(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """Return the field behind an error's location, which carries the alias where the field has one."""
    first = str(loc[0]) if loc else ""
    if first in model.model_fields:
        return first
    return next((name for name, info in model.model_fields.items() if first in aliases(info)), first)


def aliases(info: FieldInfo) -> list[str]:
    """Return the plain names under which a field may be given besides its own."""
    given = info.validation_alias or info.alias
    choices = getattr(given, "choices", [given])
    return [choice for choice in choices if isinstance(choice, str)]


def _message(info: FieldInfo | None, field: str, items: list[Any], values: Mapping[str, Any]) -> str:
    if any(item["type"] == "missing" and len(item["loc"]) == 1 for item in items):
        return "is required and not set"
    for item in items:
        if item["type"] in ("value_error", "assertion_error"):
            return _validator_message(item, values)
    if info is None:
        return "is not acceptable"
    message = f"expected {_describe_allowed(info.annotation, info.metadata)}"
    match = nearest(str(values.get(field, "")).strip().lower(), _words(info.annotation))
    return message if match is None else f"{message}; the nearest is {match}"


def _validator_message(item: Any, values: Mapping[str, Any]) -> str:
    cause = item["ctx"]["error"]
    entry = next((part for part in item["loc"][1:] if isinstance(part, int)), None)
    place = "" if entry is None else f"entry {entry + 1}: "
    text = str(cause)
    if isinstance(cause, PlainMistake):
        return place + text
    given = [_plain(value) for value in values.values()]
    if not text or any(len(value) >= _SHORTEST_RECOGNISED and value in text for value in given):
        return place + "is refused by its validator"
    return place + text


def _plain(value: Any) -> str:
    reveal = getattr(value, "get_secret_value", None)
    return str(value if reveal is None else reveal())


def _words(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _words(part)]
