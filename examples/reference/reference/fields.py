"""What the fields, ids and pages of both resources have in common."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from roadworthy import ValidationError
from roadworthy.patterns.repository import decode_cursor

__all__ = (
    "DTO",
    "IDEMPOTENT",
    "MAX_ID",
    "Id",
    "NextCursor",
    "PageQuery",
    "PageRequest",
    "PostId",
    "Text",
    "UserId",
    "decimal",
)

MAX_ID = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259 §6)."""


class DTO(BaseModel):
    """What goes over the wire. A field that is not named is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("string_nul", "Text cannot hold the character U+0000")
    return value


def decimal(value: Any) -> Any:
    """Let a path or a query write a number in decimal digits only."""
    # int() also reads " 1", "1_0" and the digits of other scripts: several spellings of one resource.
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 16):
        raise PydanticCustomError("int_parsing", "Input should be a whole number in decimal digits")
    return value


Text = Annotated[str, AfterValidator(_without_nul)]
Id = Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]
"""An id in a JSON body: a number, not its digits, nor ``true``."""
_PathId = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(decimal)]
UserId = Annotated[_PathId, Path(alias="id")]
PostId = Annotated[_PathId, Path()]


NextCursor = str | None
"""What to ask the next page with; null on the last one."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A part of a list ordered by id: at most ``limit`` entries, behind ``cursor``."""

    limit: int
    cursor: str | None


def _cursor(value: str) -> str:
    try:
        known = 1 <= decode_cursor(value, int) <= MAX_ID
    except ValidationError:
        known = False
    if not known:
        raise PydanticCustomError("cursor", "Input should be a next_cursor of this list")
    return value


async def _page(
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(decimal), Query()] = 20,
    cursor: Annotated[
        str | None, AfterValidator(_cursor), Query(description="The next_cursor of the page before.")
    ] = None,
) -> PageRequest:
    return PageRequest(limit, cursor)


PageQuery = Annotated[PageRequest, Depends(_page)]


async def _idempotency_key(
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            description="A request repeated with the same key and body is carried out once.",
        ),
    ] = None,
) -> None:
    """Show the field in the OpenAPI document; :func:`roadworthy.patterns.idempotent` does what it says."""


IDEMPOTENT = [Depends(_idempotency_key)]
