"""The checker on the reference service: every item proved, and the same verdicts again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.patience import DEADLINE
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.proof
REFERENCE = Path(__file__).parents[2] / "examples" / "reference"
RUNS = 10
ON_POSTGRES = ("SVC-4", "POOL-7")
"""What does not apply to SQLite: there is no other store to compare with, and no limit of connections."""


def _check(report: Path, *options: str, **env: str) -> dict[str, Any]:
    """Run the checker on the reference service; return its report, which tells what stayed without proof."""
    command = [
        str(Path(sys.executable).with_name("roadworthy")),
        "check",
        "--report",
        f"json={report}",
        *options,
    ]
    environment = {**os.environ, **env}
    if not env:
        environment.pop("DATABASE_URL", None)
    done = subprocess.run(
        command, cwd=REFERENCE, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert report.exists(), done.stdout + done.stderr
    return dict(json.loads(report.read_text()))


def _verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {result["id"]: result["verdict"] for result in report["assertions"]}


def _check_with(change: tuple[str, str], report: Path, *options: str, **env: str) -> dict[str, Any]:
    """Run the checker with a manifest that differs in one line from the service's own.

    It waits longer for a start as well: nothing is judged by that, and other work may slow this machine down.
    """
    text = (REFERENCE / "roadworthy.toml").read_text()
    changes = (change, ("[ready]\n", f'[ready]\ntimeout = "{DEADLINE:g}s"\n'))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    # Beside the service's own: paths in a manifest are seen from its folder.
    with tempfile.NamedTemporaryFile("w", dir=REFERENCE, prefix=".roadworthy-", suffix=".toml") as manifest:
        manifest.write(text)
        manifest.flush()
        return _check(report, "--manifest", Path(manifest.name).name, *options, **env)


def _judge(
    workers: int, report_to: Path, record_property: Callable[[str, object], None], **env: str
) -> set[str]:
    """Demand that every item and every pattern is proved, and return the verdicts of :data:`ON_POSTGRES`."""
    change = ("[check.env]\n", f'[check.env]\nWEB_CONCURRENCY = "{workers}"\n')
    report = _check_with(change, report_to, **env)
    record_property("seconds", round(report["run"]["seconds"]))
    record_property("requests", report["run"]["requests"])
    lacking = {item["id"]: item["counts"] for item in report["items"] if item["state"] != "proved"}
    told = [
        (result["id"], result["verdict"], result["reason"] or [each["title"] for each in result["findings"]])
        for result in report["assertions"]
        if result["verdict"] not in {"pass", "n/a"}
    ]
    assert lacking == {}, told
    assert len(report["items"]) == 20
    assert report["run"]["exit_code"] == 0
    return {_verdicts(report)[name] for name in ON_POSTGRES}


@pytest.mark.parametrize("workers", [1, 4])
def test_the_reference_service_is_proved(
    workers: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Twelve of twelve items and eight of eight patterns, with one worker and with four."""
    assert _judge(workers, tmp_path / "report.json", record_property) == {"n/a"}


@pytest.mark.parametrize("workers", [1, 4])
def test_the_reference_service_is_proved_on_postgresql(
    workers: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The same on PostgreSQL, where also SQLite is seen to answer alike and the pools to fit the server."""
    with PostgresServer(max_connections=100) as server:
        verdicts = _judge(workers, tmp_path / "report.json", record_property, DATABASE_URL=server.url)
        databases = server.psql("SELECT datname FROM pg_database").stdout.decode().split()
        tables = server.psql(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database="zoo"
        ).stdout
    assert verdicts == {"pass"}
    assert set(databases) == {"postgres", "template0", "template1", "zoo"}, "a database was left"
    assert int(tables) == 0, "the declared database was written to"


def test_postgresql_answers_as_sqlite_does(tmp_path: Path) -> None:
    """A check on SQLite compares the service with itself on PostgreSQL, where the manifest names that."""
    with PostgresServer() as server:
        change = ("also = [", f'also = ["{server.url}", ')
        report = _check_with(change, tmp_path / "report.json", "--only", "SVC-4")
    assert _verdicts(report) == {"SVC-4": "pass"}


@contextmanager
def _busy_core() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("around", [nullcontext, _busy_core], ids=["quiet", "one core busy"])
def test_ten_runs_say_the_same(
    around: Any, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Ten runs in a row of the quick profile give the same verdicts."""
    seen: list[dict[str, str]] = []
    seconds: list[float] = []
    with around():
        for number in range(RUNS):
            report = _check(tmp_path / f"{number}.json", "--profile", "quick")
            seen.append(_verdicts(report))
            seconds.append(report["run"]["seconds"])
    record_property("median seconds", round(sorted(seconds)[RUNS // 2]))
    changed = {
        name: [run.get(name) for run in seen] for name in seen[0] if len({run.get(name) for run in seen}) > 1
    }
    assert changed == {}
