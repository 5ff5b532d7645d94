"""What only PostgreSQL does: its isolation, its errors, its start, its ends, and PgBouncer before it."""

import asyncio
import builtins
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, func, insert, select, text, update

from roadworthy import ConflictError, UnavailableError
from roadworthy.errors import OutcomeUnknownError, TimeoutError
from roadworthy.patterns import Database, Statement, TransactionError, transactional, unit_of_work
from roadworthy.patterns.stores import Isolation, postgres_start
from roadworthy.settings import SettingsError
from tests.patience import DEADLINE
from tests.postgres_server import PASSWORD, PostgresServer, account

from .accounts import Accounts, Entries, accounts, emptied, later
from .cutting import cutting

pytestmark = pytest.mark.anyio

_LEVELS: list[Isolation | None] = [None, "read committed", "repeatable read", "serializable"]


@pytest.fixture
async def url(postgres: PostgresServer) -> str:
    """The URL of a database with the tables and nothing in them."""
    return await emptied(postgres.url)


@asynccontextmanager
async def _opened(url: str, **options: Any) -> AsyncIterator[Database]:
    database = Database(url, **{"wait": DEADLINE, "size": 5, **options})
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


async def _add(database: Database, email: str = "a@b.c") -> None:
    async with unit_of_work(), database.connection() as connection:
        await connection.execute(insert(accounts).values(email=email))


async def _asked(database: Database, question: str) -> Any:
    async with database.connection() as connection:
        return (await connection.execute(text(question))).scalar_one()


# -- transactions


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.proof)])
@pytest.mark.parametrize("level", _LEVELS)
async def test_increments_are_exact(database: Database, level: Isolation | None, rounds: int) -> None:
    """Of 50 concurrent increments of one row none is lost, in every level of isolation."""

    @transactional(isolation=level, retries=10)
    async def increment() -> None:
        async with database.connection() as connection:
            asked = select(accounts.c.balance).where(accounts.c.id == 1).with_for_update()
            before = int((await connection.execute(asked)).scalar_one())
            await connection.execute(update(accounts).where(accounts.c.id == 1).values(balance=before + 1))

    await _add(database)
    done = 0
    for _ in range(rounds):
        ends = await asyncio.gather(*(increment() for _ in range(50)), return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), UnavailableError}
        done += ends.count(None)
        assert await _asked(database, "SELECT balance FROM accounts") == done
    assert done > 45 * rounds, "nearly all get their turn"


@pytest.mark.parametrize("level", _LEVELS)
async def test_a_unit_has_the_isolation_it_asks_for(database: Database, level: Isolation | None) -> None:
    """PostgreSQL runs the unit at the level that was asked for, READ COMMITTED by default."""
    async with unit_of_work(isolation=level):
        assert await _asked(database, "SHOW transaction_isolation") == (level or "read committed")
    async with unit_of_work(isolation=level, read_only=True):
        at_least = "serializable" if level == "serializable" else "repeatable read"
        assert await _asked(database, "SHOW transaction_isolation") == at_least
        assert await _asked(database, "SHOW transaction_read_only") == "on"


async def test_deadlock(database: Database) -> None:
    """Two units that wait for each other both end well: one of them runs again."""
    await _add(database)
    await _add(database, "b@b.c")
    both, attempts = asyncio.Barrier(2), 0

    async def change(number: int) -> None:
        async with database.connection() as connection:
            await connection.execute(update(accounts).where(accounts.c.id == number).values(balance=1))

    @transactional
    async def change_both(first: int, second: int) -> None:
        nonlocal attempts
        attempts += 1
        await change(first)
        if attempts <= 2:
            await both.wait()
        await change(second)

    await asyncio.gather(change_both(1, 2), change_both(2, 1))
    assert attempts == 3
    assert await _asked(database, "SELECT sum(balance) FROM accounts") == 2


async def test_a_swallowed_error_does_not_commit(database: Database) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK after an error; nobody takes that for a success."""
    repository = Accounts(database)

    async def unit(nested: bool) -> None:
        async with unit_of_work():
            await repository.insert({"email": "a@b.c"})
            try:
                if nested:
                    async with unit_of_work(nested=True):
                        await repository.insert({"email": "a@b.c"})
                else:
                    await repository.insert({"email": "a@b.c"})
            except ConflictError:
                pass

    with pytest.raises(TransactionError, match="nested=True"):
        await unit(nested=False)
    assert (await repository.list()).items == []
    await unit(nested=True)
    assert len((await repository.list()).items) == 1


async def test_going_on_after_an_error(database: Database) -> None:
    """A statement after one that failed is refused with what to do."""
    repository = Accounts(database)

    async def unit() -> None:
        async with unit_of_work():
            await repository.insert({"email": "a@b.c"})
            with pytest.raises(ConflictError):
                await repository.insert({"email": "a@b.c"})
            await repository.list()

    with pytest.raises(TransactionError, match="nested=True"):
        await unit()


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.proof)])
async def test_a_commit_that_fails_leaves_nothing(database: Database, count: int) -> None:
    """A constraint that is looked at by COMMIT is a conflict, and no row stays."""

    async def once(number: int) -> None:
        async with unit_of_work(), database.connection() as connection:
            await connection.execute(insert(accounts).values(email=f"{number}@b.c"))
            await connection.execute(insert(later).values(account_id=-1))

    for start in range(0, count, 50):
        units = (once(start + number) for number in range(50))
        ends = await asyncio.gather(*units, return_exceptions=True)
        assert {type(end) for end in ends} == {ConflictError}
    assert await _asked(database, "SELECT count(*) FROM accounts") == 0


async def test_statements_are_bounded(url: str) -> None:
    """A statement that takes longer than it may is ended by the server, and the client gets 504."""
    async with _opened(url, timeout=0.2) as database:
        with pytest.raises(TimeoutError):
            await _asked(database, "SELECT pg_sleep(60)")
        with pytest.raises(TimeoutError):
            async with unit_of_work():
                await _asked(database, "SELECT pg_sleep(60)")
        assert await _asked(database, "SELECT 1") == 1


async def test_sessions_say_who_they_are(database: Database) -> None:
    """The server's list of sessions shows the worker."""
    assert await _asked(database, "SHOW application_name") == f"roadworthy worker {os.getpid()}"


async def test_errors_repeat_no_value(database: Database) -> None:
    """Neither the error nor what it was raised from shows what a client sent."""
    repository, entries = Accounts(database), Entries(database)
    await _add(database, "canary@b.c")
    for work in (
        lambda: repository.insert({"email": "canary@b.c"}),
        lambda: entries.insert({"account_id": 4711_4711, "text": "canary"}),
        lambda: entries.insert({"account_id": 1, "text": None, "id": 4711_4711}),
        lambda: entries.insert({"account_id": "canary", "text": "x"}),
    ):
        with pytest.raises(Exception, match=r".") as caught:
            async with unit_of_work():
                await work()
        error: BaseException | None = caught.value
        while error is not None:
            assert "canary" not in f"{error!s} {error!r}"
            assert "47114711" not in f"{error!s} {error!r}"
            error = error.__cause__ or error.__context__


# -- the pool


async def test_many_clients_on_a_small_pool(url: str) -> None:
    """64 clients share five connections: nobody waits for ever, the server never sees a sixth."""
    async with _opened(url, size=5) as database:
        most = 0

        async def client(number: int) -> None:
            nonlocal most
            await _add(database, f"{number}@b.c")
            seen = await _asked(database, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'zoo'")
            most = max(most, int(seen))

        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(client(number) for number in range(64)))
        assert most <= 5
        stats = database.stats()
        assert stats is not None
        assert (stats.size, stats.in_use, stats.waiting, stats.max) == (5, 0, 0, 5)


async def test_who_waits_in_vain_is_refused(url: str) -> None:
    """A full pool answers 503 with Retry-After once the wait is over."""
    async with _opened(url, size=1, wait=0.1) as database, database.connection():
        with pytest.raises(UnavailableError) as caught:
            await _asked(database, "SELECT 1")
    assert caught.value.headers == {"Retry-After": "1"}


async def test_what_holds_a_transaction_is_not_lent_again(url: str) -> None:
    """A connection on which somebody began a transaction by hand is replaced when it comes back."""
    async with _opened(url, size=1) as database:
        async with database.connection() as connection:
            await connection.exec_driver_sql("BEGIN")
            first = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        assert await _asked(database, "SELECT pg_backend_pid()") != first


# -- the start


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda url: url.replace(PASSWORD, "canary"), "refuses the password"),
        (lambda url: url.replace("zoo:", "canary:"), "refuses"),
        (lambda url: f"{url[:-3]}canary", "no database of this name"),
        (lambda url: f"{url}?canary=1", "does not know a parameter"),
        (lambda url: f"{url}?target_session_attrs=canary", "not the URL of a database"),
        (lambda url: url.replace("127.0.0.1", "canary.invalid"), "does not resolve"),
        (lambda url: f"{url[:-4]}canary/zoo", "not the URL of a database"),
    ],
)
async def test_wrong_urls(url: str, change: Any, says: str) -> None:
    """What is wrong with a URL is said in words at the start, without the URL."""
    database = Database(change(url), wait=1.0)
    for ask in (database.prepare, database.start):
        with pytest.raises(SettingsError, match=says) as caught:
            await ask()
        assert "canary" not in str(caught.value)
        assert str(caught.value).startswith("1 setting is wrong:\n  DATABASE_URL: ")


@pytest.mark.parametrize("url", ["postgresql://a@[canary/x", "postgresql://a@b/x?canary"])
def test_urls_that_are_none(url: str) -> None:
    """What cannot be read as a URL is refused when the database is declared."""
    with pytest.raises(ValueError, match="not the URL of a database") as caught:
        Database(url)
    assert "canary" not in str(caught.value)


async def test_nobody_answers() -> None:
    """Where nobody listens the start is refused after the wait."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        database = Database(f"postgresql://zoo:canary@127.0.0.1:{probe.getsockname()[1]}/zoo", wait=0.5)
        for ask in (database.prepare, database.start):
            with pytest.raises(UnavailableError, match="Nobody answers"):
                await ask()


async def test_too_old(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is too old is refused with the version that is needed."""
    monkeypatch.setattr(postgres_start, "_OLDEST", 99)
    with pytest.raises(SettingsError, match=r"is PostgreSQL \d+; 99 or newer is needed"):
        await Database(url).prepare()


async def test_capacity(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """More connections than the server gives are refused with the sum; of all instances, warned about."""
    await Database(url, size=19, workers=3, instances=1).prepare()
    assert caplog.text == ""
    await Database(url, size=19, workers=3, instances=2).prepare()
    assert "2 instances x 3 workers x 19 connections = 114 connections" in caplog.text
    assert "57 (max_connections 60 - 3 reserved)" in caplog.text
    with pytest.raises(SettingsError, match=r"3 workers x 20 connections = 60, and PostgreSQL gives 57"):
        await Database(url, size=20, workers=3).prepare()


async def test_unix_socket_and_several_hosts(postgres: PostgresServer, url: str) -> None:
    """What libpq takes is taken: a Unix socket, several hosts of which one is the primary."""
    for other in (
        postgres.socket_url,
        f"{url.replace('@127', '@127.0.0.1:1,127')}?target_session_attrs=primary",
        f"{url}?target_session_attrs=read-write",
        url.replace("postgresql:", "postgres:"),
        url.replace("postgresql:", "postgresql+asyncpg:"),
    ):
        async with _opened(other) as database:
            assert await _asked(database, "SELECT 1") == 1
    async with _opened(url, wait=1000.0) as database:  # longer than TCP counts its probes
        assert await _asked(database, "SELECT 1") == 1


async def test_a_silent_host_does_not_keep_from_the_other(url: str) -> None:
    """A host that takes the connection and never answers has its share of the time, once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        both = url.replace("@127", f"@127.0.0.1:{silent.getsockname()[1]},127")
        async with _opened(both, wait=4.0) as database:
            began = time.monotonic()
            assert await _asked(database, "SELECT 1") == 1
            assert time.monotonic() - began < 2.0, "the one that answered is asked first"


# -- PgBouncer


@contextmanager
def _pgbouncer(server: PostgresServer) -> Iterator[str]:
    """Run PgBouncer in transaction mode with two connections to the server; yield the URL of it."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(program).exists():
        pytest.skip("needs pgbouncer: apt-get install pgbouncer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = server.folder
    (folder / "users.txt").write_text(f'"zoo" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"""
[databases]
zoo = host=127.0.0.1 port={server.port} dbname=zoo
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 2
"""
    )
    for name in ("users.txt", "pgbouncer.ini"):
        (folder / name).chmod(0o644)
    process = subprocess.Popen([program, "-q", folder / "pgbouncer.ini"], cwd=folder, **account())
    try:
        yield f"postgresql://zoo:{PASSWORD}@127.0.0.1:{port}/zoo?pgbouncer=true"
    finally:
        process.kill()
        process.wait()


async def test_pgbouncer(postgres: PostgresServer, url: str) -> None:
    """Ten clients work through two connections of PgBouncer in transaction mode, and no promise is less."""
    with _pgbouncer(postgres) as through:
        async with _opened(through, size=10, timeout=5.0) as database:
            repository = Accounts(database)

            async def client(number: int) -> None:
                for turn in range(5):
                    async with unit_of_work():
                        row = await repository.insert({"email": f"{number}.{turn}@b.c", "balance": 0})
                        await repository.update(row.id, {"balance": number})
                    assert (await repository.get(row.id)).balance == number
                    assert len(await repository.get_many([row.id, 99999])) == 2

            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*(client(number) for number in range(10)))
            assert await _asked(database, "SELECT count(*) FROM accounts") == 50
            with pytest.raises(TransactionError, match="put @transactional"):
                await repository.insert({"email": "outside@b.c"})
            with pytest.raises(TransactionError, match="read_only"):
                async with unit_of_work(read_only=True):
                    await repository.insert({"email": "outside@b.c"})
            assert await _asked(database, "SHOW statement_timeout") == "5s"
            async with unit_of_work():
                assert await _asked(database, "SHOW idle_in_transaction_session_timeout") == "5s"
    async with _opened(url) as database:
        assert await _asked(database, "SHOW default_transaction_read_only") == "on"


# -- the ends


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_restart_costs_no_request_that_may_be_repeated(how: Any) -> None:
    """After a restart of the server the pool's connections are replaced, and nobody notices."""
    with PostgresServer() as server:
        await emptied(server.url)
        async with _opened(server.url, size=5) as database:
            await asyncio.gather(*(_asked(database, "SELECT pg_sleep(0.05)::text") for _ in range(5)))
            server.stop(how)
            with pytest.raises(UnavailableError):
                await _asked(database, "SELECT 1")
            with pytest.raises(UnavailableError):
                await _add(database)
            server.start()
            await asyncio.gather(
                *(_asked(database, "SELECT 1") for _ in range(10)),
                *(_add(database, f"{number}@b.c") for number in range(10)),
            )
            assert await _asked(database, "SELECT count(*) FROM accounts") == 10


async def test_a_session_that_is_ended_between_statements(postgres: PostgresServer, url: str) -> None:
    """A unit whose connection breaks before COMMIT runs again; what had been done is undone."""
    async with _opened(url) as database:
        attempts = 0

        @transactional
        async def work() -> None:
            nonlocal attempts
            attempts += 1
            await _add_inside(database, f"{attempts}@b.c")
            if attempts == 1:
                pid = await _asked(database, "SELECT pg_backend_pid()")
                await asyncio.to_thread(postgres.psql, f"SELECT pg_terminate_backend({pid})")
            await _add_inside(database, "b@b.c")

        await work()
        assert attempts == 2
        assert await _asked(database, "SELECT string_agg(email, ' ' ORDER BY email) FROM accounts") == (
            "2@b.c b@b.c"
        )


async def _add_inside(database: Database, email: str) -> None:
    async with database.connection() as connection:
        await connection.execute(insert(accounts).values(email=email))


@pytest.mark.parametrize("before", [True, False])
async def test_a_commit_without_an_answer_is_not_repeated(
    postgres: PostgresServer, url: str, before: bool
) -> None:
    """Whether COMMIT was lost or its answer, the error says that nobody knows, and a key settles it."""
    rounds = 20
    async with cutting(postgres.port, before=before) as port:
        through = f"{url.replace(f':{postgres.port}/', f':{port}/')}?sslmode=disable"
        async with _opened(through) as database, _opened(url) as direct:
            attempts = 0

            @transactional
            async def add(number: int, to: Database) -> None:
                nonlocal attempts
                attempts += 1
                await Accounts(to).insert({"email": f"{number}@b.c", "balance": 0})

            ends = await asyncio.gather(
                *(add(number, database) for number in range(rounds)), return_exceptions=True
            )
            assert {type(end) for end in ends} == {OutcomeUnknownError}
            assert {tuple(end.headers) for end in ends if isinstance(end, OutcomeUnknownError)} == {()}
            assert attempts == rounds
            assert await _asked(direct, "SELECT count(*) FROM accounts") == (0 if before else rounds)


@pytest.mark.parametrize("by", ["connection", "statement"])
async def test_a_commit_without_an_answer_is_bounded(by: str) -> None:
    """A server that falls silent at COMMIT costs its unit of work some seconds, and a named error."""
    with PostgresServer() as server:
        await emptied(server.url)
        async with _opened(server.url, size=1) as database:
            add = Statement(database, insert(accounts))
            begun = time.monotonic()

            @transactional
            async def silenced() -> None:
                if by == "connection":
                    await _add_inside(database, "a@b.c")
                else:
                    await add.execute(email="a@b.c")
                server.signal(signal.SIGSTOP)

            try:
                with pytest.raises(OutcomeUnknownError):
                    await silenced()
                assert 4 < time.monotonic() - begun < DEADLINE
            finally:
                server.signal(signal.SIGCONT)
            assert await _asked(database, "SELECT 1") == 1


async def test_a_connection_that_is_held_is_reported(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who holds a connection for too long is named, once, when it is asked for or when it comes back."""

    def named(name: str) -> int:
        return sum(name in record.getMessage() for record in caplog.records)

    async with _opened(url, longest=0.5) as database:
        slow = Statement(database, select(func.pg_sleep(0.6).cast(String)), str)

        async def while_it_is_held() -> None:
            async with database.connection():
                await asyncio.sleep(0.6)
                await database.ping()
                assert named("while_it_is_held") == 1

        async def when_it_comes_back() -> None:
            async with unit_of_work(), database.connection():
                await asyncio.sleep(0.6)

        async def in_a_unit() -> None:
            async with unit_of_work():
                await slow.one()

        async def of_one_statement() -> None:
            await slow.one()

        @transactional
        async def in_a_method() -> None:
            await of_one_statement()

        holders = (while_it_is_held, when_it_comes_back, in_a_unit, of_one_statement, in_a_method)
        for hold in holders:
            await hold()
    assert [named(hold.__name__) for hold in holders] == [1] * len(holders), "a unit by its method"


async def test_a_read_on_a_broken_connection_is_repeated(postgres: PostgresServer, url: str) -> None:
    """A statement that reads outside a unit of work goes to another connection when its own was ended."""
    async with _opened(url, size=1) as database:
        pid = Statement(database, select(func.pg_backend_pid()), int)
        for _ in range(3):
            before = await pid.one()
            await asyncio.to_thread(postgres.psql, f"SELECT pg_terminate_backend({before})")
            assert await pid.one() != before


async def test_a_read_is_repeated_once(url: str) -> None:
    """A statement that ends its own session each time is refused after two of them."""
    ended = text("SELECT sessions_killed FROM pg_stat_database WHERE datname = current_database()")
    ending = select(func.pg_terminate_backend(func.pg_backend_pid()))
    async with _opened(url) as database:
        before = await _asked(database, ended.text)
        with pytest.raises(UnavailableError):
            await Statement(database, ending, bool).one()
        async with asyncio.timeout(DEADLINE):  # they count themselves when they are gone
            while await _asked(database, ended.text) < before + 2:
                await asyncio.sleep(0.01)
        assert await _asked(database, ended.text) == before + 2


@pytest.mark.parametrize("error", [OSError, ConnectionResetError, builtins.TimeoutError])
async def test_the_services_own_failures_are_no_outage(database: Database, error: type[Exception]) -> None:
    """What looks like a lost connection and is not the database's is raised as it is, and not repeated."""
    attempts = 0

    @transactional
    async def work() -> None:
        nonlocal attempts
        attempts += 1
        await _add_inside(database, "a@b.c")
        raise error

    with pytest.raises(error):
        await work()
    assert attempts == 1
    with pytest.raises(error):
        async with database.connection():
            raise error
