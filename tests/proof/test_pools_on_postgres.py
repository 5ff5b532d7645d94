"""Pools of real drivers on a real PostgreSQL: the good ones pass, and each fault is seen by its probe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from roadworthy.checker import Run, Verdict
from roadworthy.checker.store.postgres_client import AskFailed, ask
from tests.postgres_server import PASSWORD, running_postgres
from tests.zoo.harness import Twin, check_zoo, described, running_store

pytestmark = pytest.mark.proof

_FILE_ONLY = {"POOL-9"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Run a server that admits 60 connections, three of them reserved."""
    with running_postgres(max_connections=60) as url:
        yield url


def _check(postgres: str, driver: str, fault: str = "", pool: int = 4) -> Run:
    replace = (
        ('kind = "tcp"', 'kind = "postgres"'),
        ('url = "tcp://zoo:{password}@127.0.0.1:{store}/{space}"', f'url = "{postgres}"'),
        ("max_connections = 40\n", ""),
        ("pool_max = 4", f"pool_max = {pool}"),
        ("[env.set]", f'[env.set]\nZOO_DRIVER = "{driver}"'),
    )

    async def run() -> Run:
        async with running_store() as store:
            return await check_zoo(store, ["POOL"], fault, replace)

    return asyncio.run(run())


@pytest.mark.parametrize(("driver", "pool"), [("asyncpg", 4), ("psycopg", 5), ("sqlalchemy", 15)])
def test_good_pools_pass(
    postgres: str, driver: str, pool: int, record_property: Callable[[str, object], None]
) -> None:
    """asyncpg's pool of 4, psycopg's of 5 and SQLAlchemy's of 5 and 10 more are proved."""
    run = _check(postgres, driver, pool=pool)
    rest = [result for result in run.results if result.verdict is not Verdict.PASS]
    record_property("seconds", round(run.seconds, 1))
    assert {result.id for result in rest} == _FILE_ONLY, described(rest)


# Which driver, how large its pool is declared, and what has to see the fault.
TWINS = [
    ("asyncpg", 4, Twin("pool-1-per-request", "POOL-1", frozenset({"POOL-2"}))),
    ("asyncpg", 4, Twin("pool-3-stays-in-transaction", "POOL-3", frozenset({"POOL-2", "POOL-4", "POOL-8"}))),
    ("asyncpg", 4, Twin("pool-4-leaks-on-error", "POOL-4")),
    ("asyncpg", 4, Twin("pool-5-waits-forever", "POOL-5")),
    ("psycopg", 5, Twin("pool-5-waits-forever", "POOL-5")),
    ("sqlalchemy", 15, Twin("pool-5-waits-forever", "POOL-5")),
    ("psycopg", 57, Twin("pool-7-declared-larger-than-the-server", "POOL-7")),
    ("asyncpg", 4, Twin("pool-8-just-ends", "POOL-8")),
    ("psycopg", 5, Twin("pool-8-just-ends", "POOL-8")),
]


@pytest.mark.parametrize(
    ("driver", "pool", "twin"), TWINS, ids=[f"{driver} {twin.fault}" for driver, _, twin in TWINS]
)
def test_each_fault_is_seen(postgres: str, driver: str, pool: int, twin: Twin) -> None:
    """A fault of a pool fails its assertion, and nothing that it does not entail."""
    results = _check(postgres, driver, twin.fault, pool).results
    failed = {result.id for result in results if result.verdict in {Verdict.FAIL, Verdict.WARN}}
    assert twin.fails in failed, described(results)
    assert failed <= {twin.fails} | twin.entails, described(results)


def test_the_server_is_asked(postgres: str) -> None:
    """Rows come back, and a refusal is reported with its SQLSTATE and without the password."""
    statement = "SELECT 1 AS a, NULL, 'ä', current_setting('application_name')"
    rows = [(1, None, "ä", "roadworthy-check")]
    assert asyncio.run(ask(postgres, statement)) == rows
    service = postgres.replace("postgresql:", "postgresql+psycopg:")
    assert asyncio.run(ask(f"{service}?sslmode=disable&pool_size=5", statement)) == rows
    with pytest.raises(AskFailed, match="SSL"):
        asyncio.run(ask(f"{postgres}?sslmode=require", statement))
    with pytest.raises(AskFailed, match="28P01") as refused:
        asyncio.run(ask(postgres.replace(f":{PASSWORD}@", ":guess-5d1f@"), "SELECT 1"))
    assert "guess" not in str(refused.value)
    with pytest.raises(AskFailed, match="42703"):
        asyncio.run(ask(postgres, "SELECT nothing"))
