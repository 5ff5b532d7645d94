"""Transactions on a real PostgreSQL, by asyncpg and psycopg: what is right passes, and each fault is seen."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest

from roadworthy.checker import Options, Profile, Run, Verdict, parse_manifest, run_check
from tests.postgres_server import running_postgres
from tests.zoo.harness import ROOT, Twin, described

pytestmark = pytest.mark.proof

_ONLY = ("TXN-1", "TXN-2", "TXN-3", "TXN-4", "TXN-5")
_MANIFEST = """
openapi = ""

[start]
command = [
    "{python}", "-m", "uvicorn", "tests.zoo.contract_on_postgres:app", "--port", "{port}", "--no-access-log",
]

[health]
ready = "/readyz"

[env.set]
PYTHONPATH = "{root}"
ZOO_DRIVER = "{driver}"
ZOO_FAULT = "{fault}"

[routes]
create = { path = "/api/users", status = 201, body = { name = "{unique}" } }
read = { path = "/api/users/{id}" }
delete = { path = "/api/users/{id}", status = 204 }
child_create = { path = "/api/users/{id}/posts", body = { title = "Title {unique}" } }
child_list = { path = "/api/users/{id}/posts" }
transfers = { path = "/api/transfers" }

[database]
kind = "postgres"
env = "DATABASE_URL"
url = "{url}"
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Run a server."""
    with running_postgres() as url:
        yield url


def _check(postgres: str, driver: str, fault: str = "") -> Run:
    fills = {"python": sys.executable, "root": str(ROOT), "driver": driver, "fault": fault, "url": postgres}
    text = _MANIFEST
    for name, value in fills.items():
        text = text.replace(f"{{{name}}}", value)
    manifest = parse_manifest(text, folder=ROOT)
    return asyncio.run(run_check(manifest, Options(only=_ONLY, profile=Profile.FULL, calibrated=False)))


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_transactions_that_are_right_pass(postgres: str, driver: str) -> None:
    """Commits cut on the way, kills and races leave nothing half-done and no success without its rows."""
    run = _check(postgres, driver)
    assert {result.id: result.verdict for result in run.results} == dict.fromkeys(_ONLY, Verdict.PASS), (
        described(run.results)
    )


TWINS = [
    Twin("txn-1-many-commits", "TXN-1", frozenset({"TXN-4"})),
    Twin("txn-2-answers-first", "TXN-2", frozenset({"TXN-1", "TXN-3", "TXN-4", "TXN-5"})),
    # The same commit is swallowed when a parent is deleted.
    Twin("txn-2-swallows", "TXN-2", frozenset({"TXN-5"})),
    Twin("txn-4-unlocked", "TXN-4"),
]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("twin", TWINS, ids=[twin.fault for twin in TWINS])
def test_each_fault_is_seen(postgres: str, driver: str, twin: Twin) -> None:
    """A fault of transactions fails its assertion, and nothing that it does not entail."""
    results = _check(postgres, driver, twin.fault).results
    failed = {result.id for result in results if result.verdict in {Verdict.FAIL, Verdict.WARN}}
    assert twin.fails in failed, described(results)
    assert failed <= {twin.fails} | twin.entails, described(results)
