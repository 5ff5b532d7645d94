"""A declared statement gives what SQLAlchemy gives, on both databases, and refuses what it cannot give."""

import asyncio
import enum
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.schema import ForeignKey

from roadworthy import ConflictError, NotFoundError
from roadworthy.patterns import (
    Database,
    RefusedStatementError,
    Statement,
    TransactionError,
    transactional,
    unit_of_work,
)

from .accounts import Account, accounts, entries

pytestmark = pytest.mark.anyio

metadata = MetaData()


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Minutes(TypeDecorator[timedelta]):
    """A length of time, kept as whole minutes."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: object) -> int | None:
        return None if value is None else round(value.total_seconds() / 60)

    def process_result_value(self, value: Any, dialect: object) -> timedelta | None:
        return None if value is None else timedelta(minutes=value)


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, kept without its zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: object) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


_MOMENT = datetime(2026, 11, 30, 12, 30, 15, 123456, tzinfo=UTC)

TYPES: dict[str, tuple[Any, Any]] = {
    "an_integer": (Integer(), 7),
    "a_big_integer": (BigInteger(), 2**40),
    "a_text": (Text(), "ä 'quoted' text"),
    "a_string": (String(50), "x" * 50),
    "a_boolean": (Boolean(), True),
    "a_float": (Float(), 0.1),
    "a_number": (Numeric(12, 3), Decimal("12.340")),
    "a_number_as_float": (Numeric(12, 3, asdecimal=False), 12.34),
    "a_date": (Date(), date(2026, 2, 28)),
    "a_time": (Time(), time(1, 2, 3)),
    "a_datetime": (DateTime(), datetime(2026, 2, 28, 1, 2, 3, 4)),
    "an_interval": (Interval(), timedelta(days=2, seconds=3)),
    "some_bytes": (LargeBinary(), b"\0\xff"),
    "some_json": (JSON(), {"a": [1, None, "ü"]}),
    "an_enum": (Enum(Colour), Colour.BLUE),
    "a_uuid": (Uuid(), uuid.UUID(int=5)),
    "a_uuid_as_text": (Uuid(as_uuid=False), str(uuid.UUID(int=6))),
    "some_minutes": (Minutes(), timedelta(minutes=90)),
    "a_moment": (UTCDateTime(), _MOMENT),
}

typed = Table(
    "typed",
    metadata,
    Column("id", Integer, primary_key=True),
    *(Column(name, kind) for name, (kind, _) in TYPES.items()),
)


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owners"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("owner_name")


class Pet(Base):
    __tablename__ = "pets"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id"))
    owner: Mapped[Owner] = relationship(lazy="joined")


class AccountBase(DeclarativeBase):
    pass


class MappedAccount(AccountBase):
    __table__ = accounts


@pytest.fixture
async def with_tables(url: str, database: Database) -> AsyncIterator[Database]:
    """The open database, with the tables of this module."""
    engine = create_async_engine(
        url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")
    )
    async with engine.begin() as connection:
        for tables in (metadata, Base.metadata):
            await connection.run_sync(tables.drop_all)
            await connection.run_sync(tables.create_all)
    yield database
    async with engine.begin() as connection:
        for tables in (metadata, Base.metadata):
            await connection.run_sync(tables.drop_all)
    await engine.dispose()


@transactional
async def _add(database: Database, *emails: str) -> None:
    await Statement(database, insert(accounts)).many([{"email": email} for email in emails])


def _by_email(database: Database, kind: Any = Account) -> Statement[Any]:
    return Statement(database, select(accounts).where(accounts.c.email == bindparam("email")), kind)


async def test_types_are_those_of_sqlalchemy(with_tables: Database) -> None:
    """Each type does its work both ways as on SQLAlchemy's connection, for a value and for none."""
    database = with_tables
    values = {name: value for name, (_, value) in TYPES.items()}
    add = Statement(database, insert(typed).returning(*typed.c), dict)
    read = Statement(database, select(typed).where(typed.c.id == bindparam("id")), dict)
    async with unit_of_work():
        given = await add.one(id=1, **values)
        await add.one(id=2, **dict.fromkeys(values))
        async with database.connection() as connection:
            await connection.execute(insert(typed), {"id": 3, **values})
    async with database.connection() as connection:
        theirs = {row["id"]: dict(row) for row in (await connection.execute(select(typed))).mappings()}
    assert given == theirs[1]
    for key in (1, 2, 3, 1):
        ours = await read.one(id=key)
        assert ours == theirs[key]
        assert list(map(type, ours.values())) == list(map(type, theirs[key].values()))
    assert {**theirs[3], "id": 1} == theirs[1]


@pytest.mark.parametrize("name", TYPES)
async def test_a_type_finds_its_values(with_tables: Database, name: str) -> None:
    """A value that was stored is found by a parameter of its type, alone and in a list."""
    kind, value = TYPES[name]
    if isinstance(kind, JSON):
        pytest.skip("PostgreSQL has no = for json")
    column = typed.c[name]
    async with unit_of_work():
        await Statement(with_tables, insert(typed)).execute(id=1, **{name: value})
    one = Statement(with_tables, select(typed.c.id).where(column == bindparam("value")), int)
    many = Statement(with_tables, select(typed.c.id).where(column.in_(bindparam("values"))), int)
    if name != "a_float":
        assert await one.all(value=value) == [1]
    assert len(await many.all(values=[value, value, value])) == len(await one.all(value=value))
    assert await many.all(values=[]) == []


class Model(BaseModel):
    id: int
    email: str


class Named(NamedTuple):
    email: str
    id: int


@dataclass
class Data:
    id: int
    email: str
    note: str = "none"


@pytest.mark.parametrize("kind", [Model, Named, Data])
async def test_rows_become_what_was_asked_for(database: Database, kind: type[Any]) -> None:
    """Models, named tuples and dataclasses get the columns that they name."""
    await _add(database, "a@b.c")
    statement = _by_email(database, kind)
    for _ in range(3):
        row = await statement.one(email="a@b.c")
        assert (type(row), row.email) == (kind, "a@b.c")


async def test_structs_of_msgspec(database: Database) -> None:
    """Structs get the columns that they name."""
    msgspec = pytest.importorskip("msgspec")
    await _add(database, "a@b.c")
    kind = msgspec.defstruct("kind", [("id", int), ("email", str)])
    assert (await _by_email(database, kind).one(email="a@b.c")).email == "a@b.c"


async def test_plain_rows(database: Database) -> None:
    """Tuples, mappings and single values need no class."""
    await _add(database, "a@b.c", "d@e.f")
    emails = select(accounts.c.email).order_by(accounts.c.email)
    assert await Statement(database, emails).all() == [("a@b.c",), ("d@e.f",)]
    assert await Statement(database, emails, dict).all() == [{"email": "a@b.c"}, {"email": "d@e.f"}]
    assert await Statement(database, emails, str).all() == ["a@b.c", "d@e.f"]
    count = Statement(database, select(func.count()).select_from(accounts), int)
    assert (await count.one(), await count.scalar()) == (2, 2)


async def test_one_and_first(database: Database) -> None:
    """``first`` gives None and ``one`` 404 for no row; ``one`` refuses two."""
    await _add(database, "a@b.c", "d@e.f")
    every = Statement(database, select(accounts).order_by(accounts.c.email), Account, label="Account")
    first = await every.first()
    assert first is not None
    assert first.email == "a@b.c"
    with pytest.raises(MultipleResultsFound):
        await every.one()
    none = Statement(database, select(accounts).where(accounts.c.id < 0), Account, label="Account")
    assert await none.first() is None
    assert await none.scalar() is None
    with pytest.raises(NotFoundError, match="Account not found"):
        await none.one()


async def test_names_are_checked(database: Database) -> None:
    """A wrong name is refused with the nearest one, a missing one by its name."""
    statement = _by_email(database)
    with pytest.raises(TypeError, match="no parameter 'emial'; did you mean email"):
        await statement.first(emial="x")
    with pytest.raises(TypeError, match="needs a value for 'email'"):
        await statement.first()
    with pytest.raises(TypeError, match="no parameter 'colour'"):
        async with unit_of_work():
            await Statement(database, insert(accounts)).execute(email="a", colour="red")


async def test_lists_of_any_length(database: Database) -> None:
    """``IN`` takes lists of any length, an empty one too, and tells NOT IN apart."""
    await _add(database, *(f"{number}@b.c" for number in range(20)))
    within = accounts.c.id.in_(bindparam("ids"))
    inside = Statement(database, select(accounts.c.id).where(within), int)
    outside = Statement(database, select(accounts.c.id).where(~within), int)
    ids = await Statement(database, select(accounts.c.id).order_by(accounts.c.id), int).all()
    for length in (0, 1, 2, 3, 7, 20):
        assert sorted(await inside.all(ids=ids[:length])) == ids[:length]
        assert sorted(await outside.all(ids=ids[:length])) == ids[length:]
    with pytest.raises(TypeError, match="is a list"):
        await inside.all(ids="12")


@pytest.mark.parametrize(
    ("construct", "kind", "reason"),
    [
        (text("SELECT 1"), dict, "no select"),
        (select(text("id")).select_from(accounts), dict, "has a type and a name"),
        (select(Pet), dict, "lazy='joined'"),
        (select(accounts.c.id), Account, "needs 'balance', 'email', 'version'"),
        (select(accounts), int, "cannot become a int"),
    ],
)
async def test_what_cannot_be_compiled_is_refused(
    database: Database, construct: Any, kind: type[Any], reason: str
) -> None:
    """It is refused when it is declared, with the reason."""
    with pytest.raises(RefusedStatementError, match=reason):
        Statement(database, construct, kind)


async def test_mapped_classes(with_tables: Database) -> None:
    """A mapped class is selected and changed by the names of its attributes."""
    async with unit_of_work():
        await Statement(with_tables, insert(Owner)).execute(id=1, name="Ada")
        rename = Statement(with_tables, update(Owner).where(Owner.id == bindparam("which")))
        assert await rename.execute(which=1, name="Eda") == 1
    assert await Statement(with_tables, select(Owner), dict).all() == [{"id": 1, "name": "Eda"}]


async def test_writes_need_a_unit(database: Database) -> None:
    """A write outside a unit of work, or in one that only reads, is refused on this way as well."""
    add = Statement(database, insert(accounts).returning(accounts.c.id), int)
    with pytest.raises(TransactionError, match="put @transactional"):
        await add.one(email="a@b.c")
    with pytest.raises(TransactionError, match="read_only"):
        async with unit_of_work(read_only=True):
            await add.one(email="a@b.c")


async def test_errors_name_the_field(database: Database) -> None:
    """What a constraint refuses is 409 or 404 with the field, as of a repository."""
    await _add(database, "a@b.c")
    codes = {"email": "EMAIL_TAKEN"}
    add = Statement(database, insert(accounts), codes=codes)
    with pytest.raises(ConflictError, match="Email is already in use") as caught:
        async with unit_of_work():
            await add.execute(email="a@b.c")
    assert caught.value.code == "EMAIL_TAKEN"
    with pytest.raises(NotFoundError, match="Account not found"):
        async with unit_of_work():
            await Statement(database, insert(entries)).execute(account_id=99, text="x")
    key = await Statement(database, select(accounts.c.id), int).one()
    async with unit_of_work():
        await Statement(database, insert(entries)).execute(account_id=key, text="x")
    with pytest.raises(ConflictError):
        async with unit_of_work():
            await Statement(database, delete(accounts)).execute()


async def test_a_session_of_the_same_unit(database: Database) -> None:
    """A statement sees what the session holds unflushed, and the session what a statement wrote."""
    count = Statement(database, select(func.count()).select_from(accounts), int)
    async with unit_of_work():
        async with database.session() as session:
            session.add(MappedAccount(email="a@b.c", balance=0, version=1))
            assert await count.one() == 1
        await Statement(database, insert(accounts)).execute(email="d@e.f")
        async with database.session() as session:
            found = await session.scalars(select(accounts.c.email).order_by(accounts.c.id))
            assert found.all() == ["a@b.c", "d@e.f"]
    assert await count.one() == 2


async def test_a_unit_is_undone(database: Database) -> None:
    """What statements wrote goes with the unit that failed."""

    @transactional
    async def fail() -> None:
        await Statement(database, insert(accounts)).execute(email="a@b.c")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await Statement(database, select(accounts.c.id), int).all() == []


async def test_streams(database: Database) -> None:
    """A stream gives all rows in order, inside and outside a unit, and may be left early."""
    await _add(database, *(f"{number:04}@b.c" for number in range(1200)))
    statement = Statement(database, select(accounts.c.email).order_by(accounts.c.email), str)
    async with statement.stream() as rows:
        found = [row async for row in rows]
    assert found == [f"{number:04}@b.c" for number in range(1200)]
    async with unit_of_work(), statement.stream() as rows:
        assert await anext(rows) == "0000@b.c"
    async with statement.stream() as rows:
        assert await anext(rows) == "0000@b.c"
    assert len(await statement.all()) == 1200


async def test_many_takes_equal_names_only(database: Database) -> None:
    """Rows of other names are refused, and nothing is written."""
    add = Statement(database, insert(accounts))
    async with unit_of_work():
        with pytest.raises(TypeError):
            await add.many([{"email": "a"}, {"email": "b", "balance": 1}])
    assert await Statement(database, select(accounts.c.id), int).all() == []


async def test_many_with_returning_gives_the_rows_in_order(database: Database) -> None:
    """A bulk insert returns a row for each, a bulk update or delete those that it met."""
    add = Statement(database, insert(accounts).returning(*accounts.c), Account)
    gone = delete(accounts).where(accounts.c.email == bindparam("which")).returning(accounts.c.email)
    remove = Statement(database, gone, str)
    emails = [f"{number}@b.c" for number in (3, 1, 2)]
    async with unit_of_work():
        added = await add.returning({"email": email, "balance": 7} for email in emails)
        assert await add.returning([]) == []
    assert [row.email for row in added] == emails
    assert {(type(row), row.balance, row.version) for row in added} == {(Account, 7, 1)}
    assert [row.id for row in added] == sorted({row.id for row in added})
    async with unit_of_work():
        removed = await remove.returning([{"which": which} for which in (emails[2], "none", emails[0])])
    assert removed == [emails[2], emails[0]]


async def test_a_bulk_change_is_one_or_nothing(database: Database) -> None:
    """A row that is refused undoes all of the unit; the wrong method of the two names the right one."""
    add = Statement(database, insert(accounts).returning(accounts.c.id), int)
    plain = Statement(database, insert(accounts))
    with pytest.raises(ConflictError):
        async with unit_of_work():
            await add.returning([{"email": "a@b.c"}, {"email": "a@b.c"}])
    async with unit_of_work():
        with pytest.raises(TypeError, match=r"returning\(\)"):
            await add.many([{"email": "a@b.c"}])
        with pytest.raises(TypeError):
            await plain.returning([{"email": "a@b.c"}])
        with pytest.raises(TypeError):
            await add.returning([{"email": "a"}, {"email": "b", "balance": 1}])
    with pytest.raises(TransactionError):
        await add.returning([{"email": "a@b.c"}])
    assert await Statement(database, select(accounts.c.id), int).all() == []


async def test_defaults_of_columns(database: Database) -> None:
    """Defaults that Python makes are written, as SQLAlchemy does."""
    async with unit_of_work():
        row = await Statement(database, insert(accounts).returning(*accounts.c), Account).one(email="a@b.c")
    assert (row.balance, row.version) == (0, 1)


async def test_reads_at_once_do_not_disturb_each_other(database: Database) -> None:
    """Fifty reads at once, by key and of lists, give each its own rows."""
    await _add(database, *(f"{number}@b.c" for number in range(50)))
    one = _by_email(database)
    many = Statement(database, select(accounts.c.email).where(accounts.c.id <= bindparam("to")), str)
    found = await asyncio.gather(*(one.one(email=f"{number}@b.c") for number in range(50)))
    assert [row.email for row in found] == [f"{number}@b.c" for number in range(50)]
    lists = await asyncio.gather(*(many.all(to=found[number].id) for number in range(50)))
    assert [len(rows) for rows in lists] == list(range(1, 51))
