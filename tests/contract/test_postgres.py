"""The reference service on PostgreSQL: migrated by one of many, seeded, served, and refused in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.patience import DEADLINE
from tests.postgres_server import PASSWORD, PostgresServer
from tests.reference_service import REFERENCE, reference_service


def _command(*words: str, url: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=REFERENCE,
        env={**os.environ, "DATABASE_URL": url, "PORT": "0", "ROADWORTHY_OPS_PORT": "0", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _said(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = process.communicate(timeout=3 * DEADLINE)[0]
    return process.returncode, said


def test_four_migrate_at_once(postgres: PostgresServer) -> None:
    """Four processes that start on an empty database at the same time all succeed."""
    url = postgres.fresh_url()
    processes = [_command("-m", "reference.migrate", url=url) for _ in range(4)]
    assert [_said(process) for process in processes] == [(0, "the database is at migration 0002\n")] * 4


def test_seeded_and_served(postgres: PostgresServer, tmp_path: Path) -> None:
    """A seeded database is served, a new user gets the next id, and a second seed changes nothing."""
    url = postgres.fresh_url()
    code, said = _said(_command("-m", "reference.seed", "--users", "7", "--posts", "3", url=url))
    assert (code, said) == (0, f"7 users with 3 posts each in 127.0.0.1/{url.rpartition('/')[2]}\n")
    code, said = _said(_command("-m", "reference.seed", "--users", "7", "--posts", "3", url=url))
    assert (code, PASSWORD in said.replace("127.0.0.1/zoo", "")) == (1, False)
    with reference_service(tmp_path, DATABASE_URL=url, ROADWORTHY_WORKERS="2") as running:
        with urllib.request.urlopen(f"{running.url}/api/users/7") as answer:
            assert json.load(answer)["created_at"].startswith("2026-01-01T00:00:06")
        body = json.dumps({"name": "Ada", "email": "ada@b.c"}).encode()
        asked = urllib.request.Request(f"{running.url}/api/users", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            assert json.load(answer)["id"] == 8


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("fault", ["password", "database", "schema", "capacity"])
def test_what_is_wrong_is_said_at_the_start(postgres: PostgresServer, fault: str, workers: str) -> None:
    """A service that cannot use its database ends with code 2 and one message, without the password."""
    url, more, says = postgres.url, {}, ""
    if fault == "password":
        url, says = url.replace(f":{PASSWORD}@", ":canary@"), "the server refuses the password"
    elif fault == "database":
        url, says = f"{url}canary", "no database of this name"
    elif fault == "capacity":
        more, says = {"ROADWORTHY_POOL_SIZE": "58"}, "and PostgreSQL gives 57"
    else:
        url, says = postgres.fresh_url(), "run the release that migrated it"
        assert _said(_command("-m", "reference.migrate", url=url))[0] == 0
        newer = "UPDATE alembic_version SET version_num = '9999'"
        postgres.psql(newer, database=url.rpartition("/")[2])
    run = ("-m", "roadworthy", "run", "reference.main:app")
    code, said = _said(_command(*run, url=url, ROADWORTHY_WORKERS=workers, **more))
    assert code == 2, said
    assert said.count(says) == 1, said
    assert "startup failed" not in said
    assert "canary" not in said
    assert "Traceback" not in said
