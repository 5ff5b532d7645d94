"""Repositories in memory: the second implementation of the face, for tests and for a first draft of a
service.

Units of work hold for it as for a database: all or nothing, one writer at a time, nobody sees what is not
committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar, cast

from ..idempotency import Answer
from ..repository import (
    Page,
    VersionConflictError,
    already_in_use,
    check_limit,
    decode_cursor,
    encode_cursor,
    existing,
)
from ..transactions import current_unit
from . import Rules, Savepoint, TransactionError
from .rows import maker

__all__ = ("MemoryAnswers", "MemoryRepository", "MemoryStore", "MemoryTransaction", "Rows", "Values")

_Row = TypeVar("_Row")
_Key = TypeVar("_Key")

Values: TypeAlias = dict[str, Any]
Rows: TypeAlias = dict[Any, Values]


class MemoryStore:
    """What several repositories in memory share, so that one unit of work can span them.

    Parameters:
        name: for messages.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.committed: dict[object, Rows] = {}
        """The committed rows of each repository."""
        self._turn = asyncio.Lock()

    async def begin(self, rules: Rules) -> MemoryTransaction:
        """Begin a transaction; one that may write waits for the one before it."""
        if not rules.read_only:
            await self._turn.acquire()
        return MemoryTransaction(self, rules)

    def is_passing(self, error: Exception) -> bool:
        """Return False: nothing in memory fails in passing."""
        return False

    def translate(self, error: Exception) -> Exception | None:
        """Return None: its errors are raised unchanged."""
        return None

    def end(self, rules: Rules) -> None:
        """Let the next writer in."""
        if not rules.read_only:
            self._turn.release()

    async def rows(self, owner: object) -> Rows:
        """Return what ``owner`` may read now: the unit's own rows inside one, else the committed ones."""
        unit = current_unit()
        if unit is None:
            return self.committed.get(owner, {})
        async with unit.use(self) as transaction:
            return transaction.seen.get(owner, {})

    async def writable(self, owner: object) -> Rows:
        """Return the rows of ``owner`` in this unit of work, to be changed.

        Raises:
            TransactionError: this is no unit of work, or one that is ``read_only``.
        """
        unit = current_unit()
        if unit is None:
            raise TransactionError("a write was refused: put @transactional on the method that does it")
        if unit.rules.read_only:
            raise TransactionError("a write was refused: this unit of work is read_only")
        async with unit.use(self) as transaction:
            return transaction.changed(owner)


class MemoryTransaction:
    """The rows as one unit of work sees them."""

    def __init__(self, store: MemoryStore, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        self.seen: dict[object, Rows] = dict(store.committed)

    def changed(self, owner: object) -> Rows:
        """Return rows that nobody else sees."""
        rows = self.seen[owner] = dict(self.seen.get(owner, {}))
        return rows

    async def commit(self) -> None:
        """Show the rows to everybody."""
        if not self._rules.read_only:
            self._store.committed = self.seen
        self._store.end(self._rules)

    async def rollback(self) -> None:
        """Forget them."""
        self._store.end(self._rules)

    async def savepoint(self) -> Savepoint:
        """Remember them as they are."""
        return _MemorySavepoint(self, dict(self.seen))


class _MemorySavepoint:
    def __init__(self, transaction: MemoryTransaction, kept: dict[object, Rows]) -> None:
        self._transaction = transaction
        self._kept = kept

    async def release(self) -> None:
        pass

    async def rollback(self) -> None:
        self._transaction.seen = self._kept


class MemoryRepository(Generic[_Row, _Key]):
    """A :class:`~roadworthy.patterns.repository.Repository` whose rows are in memory.

    Parameters:
        store: shared with the repositories that units of work change together.
        row: what a row becomes.
        kind: the type of its key.
        label: what clients call such a row, for messages.
        key: the field that holds the key.
        next_key: makes the key of a new row that comes without one; counts from 1 when left out.
        unique: fields whose values differ from row to row, with the error code of a repetition.
        version: the field that counts the changes of a row.
    """

    def __init__(
        self,
        store: MemoryStore,
        row: type[_Row],
        kind: type[_Key],
        *,
        label: str,
        key: str = "id",
        next_key: Callable[[], _Key] | None = None,
        unique: Mapping[str, str | None] | None = None,
        version: str | None = None,
    ) -> None:
        self.store = store
        self.label = label
        self._make = maker(row)
        self._kind = cast("type[Any]", kind)
        self._key = key
        self._next_key = next_key or self._count
        self._last = 0
        self._unique = dict(unique or {})
        self._version = version

    async def get(self, key: _Key) -> _Row:
        """Return a row; see :class:`~roadworthy.patterns.repository.Repository` for all that it may raise."""
        return existing(await self.find(key), self.label)

    async def find(self, key: _Key) -> _Row | None:
        """Return a row, or None if it does not exist."""
        values = (await self.store.rows(self)).get(key)
        return None if values is None else self._shown(values)

    async def get_many(self, keys: Sequence[_Key]) -> Sequence[_Row | None]:
        """Return one entry for each key, in the order asked; None where there is no such row."""
        return [await self.find(key) for key in keys]

    async def list(
        self, *, limit: int = 20, cursor: str | None = None, where: Mapping[str, Any] | None = None
    ) -> Page[_Row]:
        """Return a page of rows in the order of their keys."""
        rows = await self.store.rows(self)
        wanted = (where or {}).items()
        keys = sorted(key for key, values in rows.items() if wanted <= values.items())
        if cursor is not None:
            after: Any = decode_cursor(cursor, self._kind)
            keys = [key for key in keys if key > after]
        chosen = keys[: check_limit(limit)]
        more = len(keys) > limit
        return Page([self._shown(rows[key]) for key in chosen], encode_cursor(chosen[-1]) if more else None)

    async def insert(self, values: Mapping[str, Any]) -> _Row:
        """Store a new row."""
        rows = await self.store.writable(self)
        key = values[self._key] if self._key in values else self._next_key()
        if key in rows:
            raise already_in_use((self._key,))
        new = {**values, self._key: key, **({self._version: 1} if self._version else {})}
        self._refuse_repeats(new, rows.values())
        rows[key] = new
        return self._shown(new)

    async def update(self, key: _Key, values: Mapping[str, Any], *, version: int | None = None) -> _Row:
        """Change fields of a row, of the given version only."""
        rows = await self.store.writable(self)
        old = self._of(rows, key, version)
        new = {**old, **values, **({self._version: old[self._version] + 1} if self._version else {})}
        self._refuse_repeats(new, (other for number, other in rows.items() if number != key))
        rows[key] = new
        return self._shown(new)

    async def delete(self, key: _Key, *, version: int | None = None) -> None:
        """Remove a row, of the given version only."""
        rows = await self.store.writable(self)
        self._of(rows, key, version)
        del rows[key]

    def _count(self) -> _Key:
        self._last += 1
        return cast("_Key", self._last)

    def _shown(self, values: Values) -> _Row:
        return self._make(values)

    def _of(self, rows: Rows, key: _Key, version: int | None) -> Values:
        values = existing(rows.get(key), self.label)
        if version is not None:
            if self._version is None:
                raise ValueError("this repository was given no version field")
            if values[self._version] != version:
                raise VersionConflictError
        return values

    def _refuse_repeats(self, new: Values, others: Iterable[Values]) -> None:
        others = tuple(others)
        for field, code in self._unique.items():
            if any(other[field] == new[field] for other in others):
                raise already_in_use((field,), code)


class MemoryAnswers:
    """Answers in memory, beside the rows of :class:`MemoryRepository`.

    Parameters:
        store: of the rows.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def find(self, principal: str, key: str, now: float) -> Answer | None:
        """Return the unexpired answer, or None."""
        row = (await self._store.rows(self)).get((principal, key))
        answer: Answer | None = None if row is None else row["answer"]
        return answer if answer is not None and answer.expires > now else None

    async def add(self, principal: str, key: str, answer: Answer, now: float) -> None:
        """Keep an answer, inside the current unit of work, and forget what has expired."""
        rows = await self._store.writable(self)
        for expired in [key for key, row in rows.items() if row["answer"].expires <= now]:
            del rows[expired]
        rows[(principal, key)] = {"answer": answer}
