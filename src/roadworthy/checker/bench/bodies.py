"""Bodies that are new each time, and the id in the answer to one."""

from __future__ import annotations

import copy
import secrets
from typing import Any, cast

from ..http.fields import last_part
from ..http.wire import Answer
from ..read.shapes import elements, members

__all__ = ("found_id", "fresh")


def fresh(body: Any, unique: str) -> Any:
    """Return a copy in which ``{unique}`` is replaced, and ``{number}`` by a number that is new too."""
    # At random, so that no earlier run left it in the store either; within a signed 32 bits.
    return _filled(copy.deepcopy(body), unique, secrets.randbelow(2**31 - 2**20) + 2**20)


def _filled(value: Any, unique: str, number: int) -> Any:
    if isinstance(value, str):
        if value == "{number}":
            return number
        return value.replace("{unique}", unique).replace("{number}", str(number))
    if isinstance(value, list):
        return [_filled(entry, unique, number) for entry in elements(cast("object", value))]
    if isinstance(value, dict):
        entries = members(cast("object", value)).items()
        return {key: _filled(entry, unique, number) for key, entry in entries}
    return value


def found_id(answer: Answer, path: str) -> str:
    """Read ``$.data.id`` from the answer's JSON; else the last part of Location."""
    value = answer.json()
    for part in path.removeprefix("$").strip(".").split("."):
        if part.isdecimal() and isinstance(value, list):
            value = dict(enumerate(elements(cast("object", value)))).get(int(part))
        else:
            value = members(value).get(part)
    if isinstance(value, str | int):
        return str(value)
    return last_part(answer)
