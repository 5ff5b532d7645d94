"""A repository behaves alike whatever keeps its rows; errors name the field, never the statement."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from roadworthy import ConflictError, NotFoundError, ValidationError
from roadworthy.patterns import (
    Database,
    MemoryRepository,
    MemoryStore,
    Repository,
    TableRepository,
    TransactionError,
    VersionConflictError,
    transactional,
    unit_of_work,
)
from roadworthy.patterns.repository import decode_cursor, encode_cursor
from tests.patience import DEADLINE

from .accounts import Account, Accounts, Entries, accounts, create, emptied

pytestmark = pytest.mark.anyio


class MemoryAccounts(MemoryRepository[Account, int]):
    def __init__(self, store: MemoryStore) -> None:
        super().__init__(
            store, Account, int, label="Account", unique={"email": "EMAIL_TAKEN"}, version="version"
        )


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def repository(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Repository[Account, int]]:
    """Accounts in memory, and in a table of each kind of database."""
    if request.param == "memory":
        yield MemoryAccounts(MemoryStore())
        return
    if request.param == "sqlite":
        create(tmp_path / "accounts.db")
        url = f"sqlite:///{tmp_path / 'accounts.db'}"
    else:
        url = await emptied(request.getfixturevalue("postgres").url)
    database = Database(url, wait=DEADLINE)
    await database.start()
    yield Accounts(database)
    await database.stop()


Accounts_ = Repository[Account, int]


@transactional
async def _insert(repository: Accounts_, *emails: str, balance: int = 0) -> list[Account]:
    return [await repository.insert({"email": email, "balance": balance}) for email in emails]


async def test_insert_and_get(repository: Accounts_) -> None:
    """A row that was stored is found by its key, alone and among many, in the order asked."""
    first, second = await _insert(repository, "a@b.c", "b@b.c")
    assert await repository.get(first.id) == first
    assert await repository.find(99) is None
    assert await repository.get_many([second.id, 99, first.id, second.id]) == [second, None, first, second]
    assert await repository.get_many([]) == []


async def test_missing(repository: Accounts_) -> None:
    """A row that is not there is named as clients call it."""
    with pytest.raises(NotFoundError, match=r"^Account not found$"):
        await repository.get(1)
    for change in (repository.update(1, {"balance": 1}), repository.delete(1), repository.update(1, {})):
        with pytest.raises(NotFoundError, match=r"^Account not found$"):
            async with unit_of_work():
                await change


@pytest.mark.parametrize("key", [2**63, -(2**63) - 1, 10**40])
async def test_a_key_beyond_any_column(repository: Accounts_, key: int) -> None:
    """A number that no column holds is the key of no row: a client can ask for it by a path."""
    (row,) = await _insert(repository, "a@b.c")
    assert await repository.find(key) is None
    assert await repository.get_many([key, row.id]) == [None, row]
    assert (await repository.list(where={"balance": key})).items == []
    for call in (repository.get(key), repository.update(key, {"balance": 1}), repository.delete(key)):
        with pytest.raises(NotFoundError, match=r"^Account not found$"):
            async with unit_of_work():
                await call


async def test_pages(repository: Accounts_) -> None:
    """A walk by cursor meets every row once, in the order of keys, whatever is deleted meanwhile."""
    rows = await _insert(repository, *(f"{n}@b.c" for n in range(7)))
    seen: list[Account] = []
    cursor: str | None = None
    while True:
        page = await repository.list(limit=3, cursor=cursor)
        seen += page.items
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        async with unit_of_work():
            await repository.delete(seen[0].id) if len(seen) == 3 else None
    assert seen == rows
    assert len((await repository.list(limit=6)).items) == 6
    assert (await repository.list(limit=6)).next_cursor is None


async def test_filter(repository: Accounts_) -> None:
    """A list can be that of the rows with certain values."""
    await _insert(repository, "a@b.c", balance=1)
    (rich,) = await _insert(repository, "b@b.c", balance=9)
    assert (await repository.list(where={"balance": 9})).items == [rich]


@pytest.mark.parametrize(
    "cursor", ["", "!", "MQ==", "M Q", "LTE1Y", "é", "A" * 5000, "MV8w", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"]
)
async def test_bad_cursor(repository: Accounts_, cursor: str) -> None:
    """A cursor that was never given out is a 422 that does not repeat it."""
    with pytest.raises(ValidationError) as caught:
        await repository.list(cursor=cursor)
    (told,) = caught.value.errors
    assert (told.pointer, told.code) == ("query/cursor", "cursor")


@pytest.mark.parametrize("key", [1, -5, 2**63 - 1, "text", "mit Umlaut é", "/"])
def test_cursor(key: int | str) -> None:
    """A cursor leads back to its key."""
    assert decode_cursor(encode_cursor(key), type(key)) == key


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_bad_limit(repository: Accounts_, limit: int) -> None:
    """A limit out of its range is a mistake of the service."""
    with pytest.raises(ValueError, match="between 1 and 1000"):
        await repository.list(limit=limit)


async def test_conflict_names_the_field(repository: Accounts_) -> None:
    """A value that another row has is a conflict with the field's name and code, without the value."""
    (row, _) = await _insert(repository, "a@b.c", "b@b.c")
    with pytest.raises(ConflictError) as caught:
        await _insert(repository, "a@b.c")
    assert (caught.value.message, caught.value.code) == ("Email is already in use", "EMAIL_TAKEN")
    with pytest.raises(ConflictError, match=r"^Email is already in use$"):
        async with unit_of_work():
            await repository.update(row.id, {"email": "b@b.c"})
    with pytest.raises(ConflictError, match=r"^Id is already in use$"):
        async with unit_of_work():
            await repository.insert({"id": row.id, "email": "c@b.c", "balance": 0})


async def test_versions(repository: Accounts_) -> None:
    """A change of a version that is no more changes nothing; each change makes a new version."""
    (row,) = await _insert(repository, "a@b.c")
    async with unit_of_work():
        changed = await repository.update(row.id, {"balance": 5}, version=row.version)
    assert (changed.balance, changed.version) == (5, row.version + 1)
    for change in (
        repository.update(row.id, {"balance": 7}, version=row.version),
        repository.delete(row.id, version=row.version),
    ):
        with pytest.raises(VersionConflictError) as caught:
            async with unit_of_work():
                await change
        assert (caught.value.status, caught.value.code) == (409, "VERSION_CONFLICT")
    assert await repository.get(row.id) == changed
    async with unit_of_work():
        await repository.delete(row.id, version=changed.version)
    assert await repository.find(row.id) is None


async def test_writes_belong_to_a_unit(repository: Accounts_) -> None:
    """Outside a unit of work nothing is written, and the mistake is told with its remedy."""
    for change in (
        repository.insert({"email": "a@b.c", "balance": 0}),
        repository.update(1, {"balance": 1}),
        repository.delete(1),
    ):
        with pytest.raises(TransactionError, match="@transactional"):
            await change
    with pytest.raises(TransactionError, match="read_only"):
        async with unit_of_work(read_only=True):
            await repository.insert({"email": "a@b.c", "balance": 0})
    assert (await repository.list()).items == []


async def test_nobody_sees_what_is_not_committed(repository: Accounts_) -> None:
    """Until a unit ends only itself sees what it has done."""
    written, go_on = asyncio.Event(), asyncio.Event()

    @transactional
    async def unit() -> None:
        await repository.insert({"email": "a@b.c", "balance": 0})
        assert len((await repository.list()).items) == 1
        written.set()
        await go_on.wait()

    task = asyncio.create_task(unit())
    await written.wait()
    assert (await repository.list()).items == []
    go_on.set()
    await task
    assert len((await repository.list()).items) == 1


async def test_concurrent_increments(repository: Accounts_) -> None:
    """Fifty concurrent increments of one row are fifty, for five rounds."""
    (row,) = await _insert(repository, "a@b.c")

    # Where it is not the only one that writes, the level makes the unit run again when another was first.
    @transactional(isolation="repeatable read", retries=10)
    async def add_one() -> None:
        before = await repository.get(row.id)
        await asyncio.sleep(0)
        await repository.update(row.id, {"balance": before.balance + 1}, version=before.version)

    for round_ in range(1, 6):
        await asyncio.gather(*(add_one() for _ in range(50)))
        assert (await repository.get(row.id)).balance == 50 * round_


async def test_foreign_keys(database: Database) -> None:
    """A row that names one which is not there, and one that others name, are told as clients call them."""
    accounts_, entries = Accounts(database), Entries(database)
    with pytest.raises(NotFoundError, match=r"^Account not found$"):
        async with unit_of_work():
            await entries.insert({"account_id": 5, "text": "x"})
    (row,) = await _insert(accounts_, "a@b.c")
    async with unit_of_work():
        await entries.insert({"account_id": row.id, "text": "x"})
    with pytest.raises(ConflictError, match=r"^Account is still in use$"):
        async with unit_of_work():
            await accounts_.delete(row.id)


async def test_columns_that_a_row_does_not_name(database: Database) -> None:
    """A row has the fields of its type, whatever else the table has."""

    class Short(BaseModel):
        id: int
        email: str

    repository = TableRepository[Short, int](database, accounts, Short, label="Account")
    async with unit_of_work():
        assert await repository.insert({"email": "a@b.c"}) == Short(id=1, email="a@b.c")
    assert (await repository.list()).items == [Short(id=1, email="a@b.c")]


async def test_many_keys(database: Database) -> None:
    """More keys than one statement takes are asked for in several."""
    repository = Accounts(database)
    rows = await _insert(repository, *(f"{n}@b.c" for n in range(1201)))
    assert await repository.get_many([row.id for row in rows]) == rows


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"version": "revision"}, "no column 'revision'"),
        ({"codes": {"mail": "X"}}, "no column 'mail'"),
        ({"parents": {"user_id": "User"}}, "no column 'user_id'"),
    ],
)
async def test_mistakes_in_a_repository(database: Database, options: dict[str, Any], told: str) -> None:
    """A name that the table does not have is refused when the repository is made."""
    with pytest.raises(ValueError, match=told):
        TableRepository(database, accounts, Account, label="Account", **options)


async def test_a_version_that_nobody_keeps(database: Database) -> None:
    """To ask for a version where none is kept is a mistake, not a change without one."""
    repository = TableRepository[Account, int](database, accounts, Account, label="Account")
    (row,) = await _insert(repository, "a@b.c")
    with pytest.raises(ValueError, match="no version column"):
        async with unit_of_work():
            await repository.update(row.id, {"balance": 1}, version=1)


def test_base64_is_read_in_one_way_only() -> None:
    """The last bits of a cursor that stand for nothing are not free to be anything (RFC 4648 §3.5)."""
    cursor = encode_cursor(12345)
    twin = cursor[:-1] + chr(ord(cursor[-1]) + 1)
    assert base64.urlsafe_b64decode(twin + "=") == b"12345"
    with pytest.raises(ValidationError):
        decode_cursor(twin, int)
