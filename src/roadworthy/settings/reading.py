"""How settings are filled: from flags, the environment and ``.env``, with all mistakes in one error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings

from .links import fold_service_links
from .mistakes import Problem, SettingsError, aliases, problems_of, wrong_fields
from .rules import judge
from .second_round import contradictions
from .secrets import weak_among
from .sources import PREFIX, Found, read_sources

__all__ = ("read_into", "set_flags", "variables_to_set")

_flags: dict[str, Any] = {}


def set_flags(flags: Mapping[str, Any]) -> None:
    """Make the command line's flags outrank every other source in settings loaded from now on.

    A module that makes its settings while it is imported thus sees the flags of the command that imports it.

    Parameters:
        flags: values by field name; replaces those of an earlier call.
    """
    _flags.clear()
    _flags.update(flags)


def read_into(
    fill: Callable[..., None], model: type[BaseSettings], values: dict[str, Any], root: type[BaseSettings]
) -> dict[str, str]:
    """Find the values of all fields and fill an instance with them; return where each value came from.

    Parameters:
        fill: pydantic's constructor, bound to the instance.
        model: the class of the instance.
        values: what the instance was called with.
        root: the class that declares the project's own settings; those of its subclasses are the service's.

    Raises:
        SettingsError: settings are wrong or unknown; it lists all of them.
    """
    config = model.model_config
    private = {key: values.pop(key) for key in list(values) if key.startswith("_")}
    env_file = private.pop("_env_file", config.get("env_file"))
    encoding = private.pop("_env_file_encoding", config.get("env_file_encoding"))
    found = read_sources(model, values, _flags, env_file, encoding, root.model_fields, _family(root))
    problems = found.problems
    try:
        fill(_env_file=None, **private, **found.values)
    except ValidationError as error:
        problems = [*problems, *_mistakes(model, error, found, private, root)]
    # Raised outside the except block: an exception that hangs on this one would carry the values along.
    if problems:
        problems = [*problems, *judge(found.values.get("rules", ())), *_weak(model, found)]
        raise SettingsError(fold_service_links(problems, os.environ))
    return found.origins


def variables_to_set(model: type[BaseModel], sources: Mapping[str, str]) -> dict[str, str]:
    """Return for each field the variable that was set, or has to be."""
    nameless = ("default", "argument", "secrets")
    return {
        name: PREFIX + name.upper() if sources.get(name, "default") in nameless else sources[name]
        for name in model.model_fields
    }


def _weak(model: type[BaseSettings], found: Found) -> list[Problem]:
    """Return what is weak among secrets that stand beside other mistakes, for a start that shows them all."""
    # Taken for production where it is unknown: that is the default.
    if str(found.values.get("env", "")).strip().lower() in ("development", "test"):
        return []
    defaults = {name: info.default for name, info in model.model_fields.items()}
    return weak_among(model, {**defaults, **found.values}, variables_to_set(model, found.origins))


def _mistakes(
    model: type[BaseSettings],
    error: ValidationError,
    found: Found,
    private: Mapping[str, Any],
    root: type[BaseSettings],
) -> list[Problem]:
    """Return what is wrong with the values, and between those that are right."""
    ours = root.model_fields
    names = {name: name if origin == "argument" else origin for name, origin in found.origins.items()}
    needed = {
        name: PREFIX + name.upper() if name in ours else next(iter(aliases(info)), name.upper())
        for name, info in model.model_fields.items()
    }
    problems = problems_of(model, error, found.values, names, needed)
    wrong = wrong_fields(model, error)
    if wrong:
        right = {name: value for name, value in found.values.items() if name not in wrong}

        def fill(trial: Any) -> None:
            BaseSettings.__init__(trial, _env_file=None, **private, **right)

        more = contradictions(model, wrong, fill)
        if more is not None:
            problems += problems_of(model, more, found.values, names, needed)
    return problems


def _family(cls: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)
