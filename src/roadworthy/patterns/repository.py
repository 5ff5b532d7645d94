"""Repositories: the rows of one kind behind one typed face, whatever keeps them.

A service depends on :class:`Repository`, extended by what it asks for itself;
:class:`~roadworthy.patterns.stores.tables.TableRepository` keeps the rows in a table,
:class:`~roadworthy.patterns.stores.memory.MemoryRepository` in the memory of a test.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BinasciiError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..errors import ConflictError, FieldError, NotFoundError, ValidationError

__all__ = (
    "LARGEST_KEY",
    "Page",
    "Repository",
    "VersionConflictError",
    "already_in_use",
    "check_limit",
    "decode_cursor",
    "encode_cursor",
    "existing",
    "not_found",
    "still_in_use",
)

_MAX_LIMIT = 1000
"""Most rows of one page: it bounds what a single request costs in memory and time."""

LARGEST_KEY = 2**63 - 1
"""What the integer column of any database holds."""

_LONGEST_CURSOR = 1024  # a key is no document

_Row = TypeVar("_Row")
_Key = TypeVar("_Key", contravariant=True)
_Kind = TypeVar("_Kind")


class VersionConflictError(ConflictError):
    """Raised when a row has changed since the caller read it: read it again and decide anew."""

    code = "VERSION_CONFLICT"
    default_message = "The resource was changed by another request"


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """A part of a list in the order of keys.

    Parameters:
        items: the rows.
        next_cursor: what to ask for the next page with; None on the last one.
    """

    items: Sequence[_Row]
    next_cursor: str | None


class Repository(Protocol[_Row, _Key]):
    """The rows of one kind, each with a key.

    Reading works anywhere; writing only inside a unit of work. Values are given by field name.
    """

    async def get(self, key: _Key) -> _Row:
        """Return a row.

        Raises:
            NotFoundError: the row does not exist.
        """
        ...

    async def find(self, key: _Key) -> _Row | None:
        """Return a row, or None if it does not exist."""
        ...

    async def get_many(self, keys: Sequence[_Key]) -> Sequence[_Row | None]:
        """Return one entry for each key, in the order asked; None where there is no such row."""
        ...

    async def list(
        self, *, limit: int = 20, cursor: str | None = None, where: Mapping[str, Any] | None = None
    ) -> Page[_Row]:
        """Return a page of rows in the order of their keys.

        Parameters:
            limit: most rows of the page, 1 to 1000.
            cursor: the ``next_cursor`` of the page before; the first page when left out.
            where: fields that rows must have these values in.

        Raises:
            ValidationError: the cursor was not issued by this list.
            ValueError: the limit is out of its range.
        """
        ...

    async def insert(self, values: Mapping[str, Any]) -> _Row:
        """Store a new row.

        Raises:
            ConflictError: another row has a value that has to be unique; the message names the field.
            NotFoundError: a field names a row that is not there.
            TransactionError: this is no unit of work.
        """
        ...

    async def update(self, key: _Key, values: Mapping[str, Any], *, version: int | None = None) -> _Row:
        """Change fields of a row.

        Parameters:
            key: which row.
            values: the new values.
            version: the version that the caller has read; change nothing if the row has another by now.

        Raises:
            NotFoundError: there is no such row, or a field names a missing row.
            VersionConflictError: the row has another version.
            ConflictError: another row has a value that has to be unique; the message names the field.
            TransactionError: this is no unit of work.
        """
        ...

    async def delete(self, key: _Key, *, version: int | None = None) -> None:
        """Remove a row.

        Raises:
            NotFoundError: there is no such row.
            VersionConflictError: the row has another version.
            ConflictError: other rows still name it.
            TransactionError: this is no unit of work.
        """
        ...


def not_found(label: str) -> NotFoundError:
    """Return the error of a row that is not there; ``label`` is what a client calls such a row."""
    return NotFoundError(f"{label} not found")


def existing(row: _Row | None, label: str) -> _Row:
    """Return ``row``, what was found where a row had to be.

    Raises:
        NotFoundError: it is None.
    """
    if row is None:
        raise not_found(label)
    return row


def already_in_use(fields: Sequence[str], code: str | None = None) -> ConflictError:
    """Return the error of a value that another row has."""
    named = " and ".join(field.replace("_", " ") for field in fields)
    return ConflictError(f"{named[:1].upper()}{named[1:]} is already in use", code=code)


def still_in_use(label: str) -> ConflictError:
    """Return the error of a row that others name."""
    return ConflictError(f"{label} is still in use")


def check_limit(limit: int) -> int:
    """Return ``limit``.

    Raises:
        ValueError: it is not between 1 and 1000: a mistake of the service, which bounds what clients ask for.
    """
    if not 1 <= limit <= _MAX_LIMIT:
        raise ValueError(f"limit is between 1 and {_MAX_LIMIT}, not {limit}")
    return limit


def encode_cursor(key: object) -> str:
    """Return the cursor behind the row with this key."""
    return urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, kind: type[_Kind]) -> _Kind:
    """Return the key of the row that a cursor stands behind.

    Parameters:
        cursor: what a client sent.
        kind: the type of the keys: int, str, UUID, or any that reads its own ``str()``.

    Raises:
        ValidationError: no :func:`encode_cursor` gave it out; it is not repeated.
    """
    try:
        if not 0 < len(cursor) <= _LONGEST_CURSOR:
            raise ValueError
        key = kind(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())  # type: ignore[call-arg]
        # Encoded again, because the decoder skips what is not in its alphabet, and int() reads "1_0".
        if encode_cursor(key) != cursor or (isinstance(key, int) and abs(key) > LARGEST_KEY):
            raise ValueError
    except (ValueError, BinasciiError):
        message = "Input should be a next_cursor of this list"
        raise ValidationError(errors=[FieldError("query/cursor", message, "cursor")]) from None
    return key
