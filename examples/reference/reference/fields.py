"""What the fields, ids and pages of both resources have in common."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = ("DTO", "MAX_ID", "NextCursor", "Page", "PageQuery", "PostId", "Text", "UserId", "next_cursor")

MAX_ID = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259 §6)."""


class DTO(BaseModel):
    """What goes over the wire. A field that is not named is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("string_nul", "Text cannot hold the character U+0000")
    return value


def _decimal(value: Any) -> Any:
    # int() also reads " 1", "1_0" and the digits of other scripts: several spellings of one resource.
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 16):
        raise PydanticCustomError("int_parsing", "Input should be a whole number in decimal digits")
    return value


Text = Annotated[str, AfterValidator(_without_nul)]
_Id = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_decimal)]
UserId = Annotated[_Id, Path(alias="id")]
PostId = Annotated[_Id, Path()]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list ordered by id: at most ``limit`` entries with an id above ``after``."""

    limit: int
    after: int


NextCursor = str | None
"""What to ask the next page with; null on the last one."""


def next_cursor(ids: list[int], page: Page) -> NextCursor:
    """Return the cursor behind a page, for the ids of its entries and one more where there is one."""
    return _encode(ids[page.limit - 1]) if len(ids) > page.limit else None


def _encode(after: int) -> str:
    return urlsafe_b64encode(str(after).encode()).decode().rstrip("=")


def _decode(cursor: str) -> int:
    return int(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


def _cursor(value: str) -> str:
    try:
        after = _decode(value) if len(value) <= len(_encode(MAX_ID)) else 0
    except ValueError:
        after = 0
    # Encoded again, because the decoder skips what is not in its alphabet.
    if not 1 <= after <= MAX_ID or _encode(after) != value:
        raise PydanticCustomError("cursor", "Input should be a next_cursor of this list")
    return value


async def _page(
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(_decimal), Query()] = 20,
    cursor: Annotated[
        str | None, AfterValidator(_cursor), Query(description="The next_cursor of the page before.")
    ] = None,
) -> Page:
    return Page(limit, 0 if cursor is None else _decode(cursor))


PageQuery = Annotated[Page, Depends(_page)]
