"""Where settings come from: arguments, flags, the environment and ``.env``, each value with its origin.

One reader for all sources, because the order crosses what pydantic-settings treats as separate: two names per
setting in the environment, then the same two in the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_settings import NoDecode

from ..near import nearest
from .dotenv import read_dotenv
from .mistakes import Problem, aliases
from .rules import written_rules

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = (
    "PREFIX",
    "WELL_KNOWN",
    "File",
    "Found",
    "read_sources",
)

PREFIX = "ROADWORTHY_"
"""What every variable of the project starts with."""

WELL_KNOWN: Mapping[str, str] = {
    "host": "HOST",
    "port": "PORT",
    "workers": "WEB_CONCURRENCY",
    "ops_port": "OPS_PORT",
    "database_url": "DATABASE_URL",
    "database_replica_urls": "DATABASE_REPLICA_URLS",
    "redis_url": "REDIS_URL",
    "log_level": "LOG_LEVEL",
}
"""Setting -> the variable that platforms set by custom and that is understood without the prefix."""


@dataclass(slots=True)
class Found:
    """What the sources gave: values by field, origins by field, and mistakes seen while reading."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    problems: list[Problem] = field(default_factory=list[Problem])


@dataclass(slots=True)
class File:
    """What the files set, a later one winning, and which one it was."""

    values: dict[str, str] = field(default_factory=dict[str, str])
    where: dict[str, str] = field(default_factory=dict[str, str])


def _variables_of(name: str, info: FieldInfo, ours: Container[str], own_prefix: str = PREFIX) -> list[str]:
    """Return the variables that are read for a field, the winning one first.

    A field of the project has its prefixed name and perhaps a well-known one. A field that a service added is
    read from its prefixed name, its aliases and its plain upper-case name.

    Parameters:
        name: the field.
        info: the field as pydantic describes it.
        ours: the names of the project's own fields.
        own_prefix: the prefix that the service's settings class declares.
    """
    made = [PREFIX + name.upper()]
    if name in ours:
        return [*made, WELL_KNOWN[name]] if name in WELL_KNOWN else made
    return list(dict.fromkeys([*made, own_prefix.upper() + name.upper(), *aliases(info), name.upper()]))


def read_sources(
    model: type[BaseModel],
    arguments: Mapping[str, Any],
    flags: Mapping[str, Any],
    env_file: Any,
    encoding: str | None,
    ours: Container[str],
    known: Iterable[type[BaseModel]],
) -> Found:
    """Collect what is set for ``model``: flag, argument, environment, file, in this order.

    Parameters:
        model: the settings class.
        arguments: what code passed, by field name.
        flags: values from the command line, by field name.
        env_file: one path, several (a later one wins), or None.
        encoding: the files' encoding, UTF-8 when None.
        ours: the names of the project's own fields.
        known: every settings class of the process; a prefixed variable that none of them reads is a mistake.
    """
    found = Found()
    own_prefix = str(model.model_config.get("env_prefix") or PREFIX)
    variables = {PREFIX + name.upper() for every in known for name in every.model_fields}
    read = variables.union(*(_variables_of(*one, ours, own_prefix) for one in model.model_fields.items()))
    file = _read_files(env_file, encoding or "utf-8", read, found)
    for name, info in model.model_fields.items():
        given = next((key for key in (name, *aliases(info)) if key in arguments), None)
        if name in flags:
            found.values[name], found.origins[name] = flags[name], "--" + name.replace("_", "-")
        elif given is not None:
            found.values[name], found.origins[name] = arguments[given], "argument"
        else:
            _look_up(name, info, _variables_of(name, info, ours, own_prefix), file, found)
    if "rules" in ours:
        _add_rules(found)
    accepted = {key for name, info in model.model_fields.items() for key in (name, *aliases(info))}
    found.problems += _unknown((key for key in arguments if key not in accepted), accepted, "argument")
    set_here = dict.fromkeys([*os.environ, *file.values])
    strange = (key for key in set_here if key.upper().startswith(PREFIX) and key not in variables)
    found.problems += _unknown(strange, variables, "variable")
    return found


def _add_rules(found: Found) -> None:
    """Put the rules of the file beside those of the variable."""
    given, origin = found.values.pop("rules", None), found.origins.pop("rules", "")
    rules, sources = written_rules(given, origin)
    if rules:
        found.values["rules"], found.origins["rules"] = rules, sources


def _look_up(name: str, info: FieldInfo, variables: list[str], file: File, found: Found) -> None:
    for source in (os.environ, file.values):
        for variable in variables:
            text = source.get(variable)
            # Empty means "not set" where there is something to fall back to without a value: an optional
            # setting, or one that is required and is then reported as missing.
            if text is None or (text == "" and (info.is_required() or info.default is None)):
                continue
            found.values[name] = _decode(info, text)
            in_file = "" if source is os.environ else f" in {file.where[variable]}"
            found.origins[name] = variable + in_file
            return


def _decode(info: FieldInfo, text: str) -> Any:
    """Read JSON, or words separated by commas, for a collection; anything else is left to pydantic."""
    collection = _collection(info.annotation)
    if collection is None or NoDecode in info.metadata:
        return text
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text if collection == "mapping" else [part.strip() for part in text.split(",") if part.strip()]


def _collection(annotation: Any) -> str | None:
    origin = get_origin(annotation) or annotation
    if origin in (Union, UnionType, Annotated):
        parts = get_args(annotation)[:1] if origin is Annotated else get_args(annotation)
        return next((kind for kind in map(_collection, parts) if kind), None)
    if origin in (list, tuple, set, frozenset):
        return "sequence"
    if origin is dict or (isinstance(origin, type) and issubclass(origin, BaseModel)):
        return "mapping"
    return None


def _read_files(env_file: Any, encoding: str, read: Container[str], found: Found) -> File:
    file = File()
    for path in _paths(env_file):
        values, problems = read_dotenv(
            path, encoding, lambda name: name.upper().startswith(PREFIX) or name in read
        )
        file.values |= values
        file.where |= dict.fromkeys(values, str(path))
        found.problems += problems
    return file


def _paths(env_file: Any) -> Iterator[Path]:
    if env_file is None:
        return
    paths: Iterable[str | Path] = [env_file] if isinstance(env_file, (str, Path)) else env_file
    for path in paths:
        yield Path(path).expanduser()


def _unknown(given: Iterable[str], known: Iterable[str], kind: str) -> Iterator[Problem]:
    choices = sorted(known)
    for name in given:
        match = nearest(name.upper() if kind == "variable" else name, choices)
        hint = "" if match is None else f"; the nearest is {match}"
        yield Problem(name, f"there is no such setting{hint}")
