"""What a check leaves behind: nothing, in whatever store the service keeps its data."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from roadworthy.checker import Options, Run, Verdict, parse_manifest, run_check
from roadworthy.checker.store.kinds import USUAL_PORTS
from tests.free_port import free_port
from tests.mariadb_server import MariadbServer
from tests.patience import DEADLINE, until
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer

_SERVICE = Path(__file__).with_name("notes.py")
_MANIFEST = """
[start]
command = [{python!r}, "notes.py"]
{start}
[listen]
port_env = "PORT"
[health]
ready = "/healthz"
[env.set]
{env}
[routes]
create = {{ path = "/notes", body = {{ text = "note {{unique}}" }} }}
read = {{ path = "/notes/{{id}}" }}
list = {{ path = "/notes" }}
delete = {{ path = "/notes/{{id}}" }}
[database]
{database}
"""
_ONLY = ("CTL-3", "CTL-4", "CTL-5")
"""What creates, reads and is refused, on one process and without load."""


def _check(folder: Path, *, env: str, database: str = "", start: str = "", allow_writes: bool = False) -> Run:
    """Check the service of notes in a folder of its own."""
    if not (folder / "notes.py").exists():
        shutil.copy(_SERVICE, folder)
    text = _MANIFEST.format(python=sys.executable, env=env, database=database, start=start)
    options = Options(only=_ONLY, calibrated=False, second_try=False, allow_writes=allow_writes)
    return asyncio.run(run_check(parse_manifest(text, folder=folder), options))


def _tried(run: Run) -> bool:
    """Tell whether anything was created; what is not tried says so, and is no failure."""
    untried = {result.id for result in run.results if "nothing is written" in result.reason}
    assert untried in (set(), set(_ONLY)), run.results
    for result in run.results:
        assert result.left_out == bool(untried)
        assert not untried or result.verdict is Verdict.INCONCLUSIVE
    assert bool(untried) == any("--allow-writes" in text for text in run.limits)
    return not untried


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a JSON file and an SQLite file in which there is something already."""
    shutil.copy(_SERVICE, tmp_path)
    (tmp_path / "db.json").write_text('{"1": {"text": "mine"}}')
    with closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)")
        connection.execute("""INSERT INTO notes (note) VALUES ('{"text": "mine"}')""")
        connection.commit()
    return tmp_path


@pytest.mark.parametrize(
    ("env", "database", "start"),
    [
        ("NOTES = 'json:db.json'", "", "data = ['db.json']"),
        ("NOTES = 'json:db.json'", "", ""),
        ("NOTES = 'json:new.json'", "", "data = ['new.json']"),
        ("NOTES = 'json:{folder}/db.json'", "", "data = ['db.json']"),
        ("NOTES = 'sqlite:notes.db'", "kind = 'sqlite'\nfile = 'notes.db'", ""),
        ("NOTES = 'sqlite:notes.db'", "", ""),
        ("NOTES_TABLES = 'no'", "kind = 'sqlite'\nenv = 'NOTES'\nurl = 'sqlite:///notes.db'", ""),
        ("", "env = 'NOTES'\nurl = 'sqlite:///notes.db'", ""),
    ],
)
def test_files_are_as_they_were(folder: Path, env: str, database: str, start: str) -> None:
    """Data files are copied, whether a variable, a path or only their place leads the service to them."""
    before = _files(folder)
    run = _check(folder, env=env.format(folder=folder), database=database, start=start)
    assert _tried(run)
    assert {result.verdict for result in run.results} != {Verdict.ERROR}
    assert _files(folder) == before


def test_what_is_beside_the_folder_is_there(tmp_path: Path) -> None:
    """A service that reads a file of its parent folder finds it, and what it writes there is not left."""
    folder = tmp_path / "service"
    folder.mkdir()
    (tmp_path / "shared.json").write_text("{}")
    (tmp_path / "words.txt").write_text("{}")
    (folder / "db.json").write_text("{}")
    code = "import notes; open('../words.txt').close(); notes.main('json:../shared.json')"
    before = _files(tmp_path)
    shutil.copy(_SERVICE, folder)
    text = _MANIFEST.format(python=sys.executable, env="", database="", start="")
    text = text.replace('"notes.py"]', f'"-c", "{code}"]')
    run = asyncio.run(run_check(parse_manifest(text, folder=folder), Options(only=_ONLY, calibrated=False)))
    assert _tried(run)
    assert {result.verdict for result in run.results} != {Verdict.ERROR}
    (folder / "notes.py").unlink()
    assert _files(tmp_path) == before


def _dump(server: PostgresServer, database: str = "zoo") -> bytes:
    """Return what a database holds and which databases there are."""
    tables = server.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=database)
    names = tables.stdout.decode().split()
    rows = [server.psql(f"SELECT * FROM {name} ORDER BY 1", database=database).stdout for name in names]
    return b"".join([server.psql("SELECT datname FROM pg_database ORDER BY 1").stdout, tables.stdout, *rows])


def _rows(server: PostgresServer, database: str) -> int:
    return int(server.psql("SELECT count(*) FROM notes", database=database).stdout)


_ON_POSTGRES = "env = 'NOTES'\nurl = '{url}'"


def _with_notes(server: PostgresServer, *, may_create: bool = True) -> str:
    """Make a database with one note in it, and return its URL."""
    url = server.fresh_url()
    name = url.rpartition("/")[2]
    server.psql(f"ALTER ROLE zoo {'CREATEDB' if may_create else 'NOCREATEDB'}")
    server.psql(
        "SET ROLE zoo; CREATE TABLE notes (id serial PRIMARY KEY, note text);"
        """ INSERT INTO notes (note) VALUES ('{"text": "mine"}')""",
        database=name,
    )
    return url


@pytest.mark.parametrize("tables", ["yes", "no"])
def test_postgresql_is_as_it_was(
    postgres: PostgresServer, tmp_path: Path, tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start gets a copy of the declared database, no standby of the declared one; all are dropped."""
    url = _with_notes(postgres)
    monkeypatch.setenv("NOTES_REPLICA_URLS", f"{url}?one,{url}?two")
    name = url.rpartition("/")[2]
    before = _dump(postgres, name)
    run = _check(tmp_path, env=f"NOTES_TABLES = '{tables}'", database=_ON_POSTGRES.format(url=url))
    assert _tried(run)
    assert {result.verdict for result in run.results} != {Verdict.ERROR}
    assert _dump(postgres, name) == before


@pytest.mark.parametrize("dumps", [True, False], ids=["with pg_dump", "without"])
@pytest.mark.parametrize("tables", ["yes", "no"])
def test_a_database_that_others_use(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: str, dumps: bool
) -> None:
    """It cannot be a template: it is dumped, or the service makes its tables, or nothing is written."""
    url = _with_notes(postgres)
    name = url.rpartition("/")[2]
    before = _dump(postgres, name)
    if not dumps:
        monkeypatch.setenv("PATH", "")

    async def check() -> Run:
        import asyncpg

        other = await asyncpg.connect(url)
        try:
            env, database = f"NOTES_TABLES = '{tables}'", _ON_POSTGRES.format(url=url)
            return await asyncio.to_thread(_check, tmp_path, env=env, database=database)
        finally:
            await other.close()

    run = asyncio.run(check())
    assert _tried(run) == (dumps or tables == "yes")
    assert {result.verdict for result in run.results} != {Verdict.ERROR}
    assert _dump(postgres, name) == before


def test_a_user_who_may_not_create_databases(postgres: PostgresServer, tmp_path: Path) -> None:
    """Nothing is written then, and the report says so first; with leave, what was created is deleted."""
    url = _with_notes(postgres, may_create=False)
    name = url.rpartition("/")[2]
    before = _dump(postgres, name)
    database = _ON_POSTGRES.format(url=url)
    run = _check(tmp_path, env="", database=database)
    assert not _tried(run)
    assert "CREATEDB" in run.limits[0]
    assert _dump(postgres, name) == before
    run = _check(tmp_path, env="", database=database, allow_writes=True)
    assert all("nothing is written" not in result.reason for result in run.results)
    assert int(postgres.psql("SELECT last_value FROM notes_id_seq", database=name).stdout) > 3
    assert _dump(postgres, name) == before


@pytest.mark.proof
@pytest.mark.parametrize("tables", ["yes", "no"])
def test_mariadb_is_as_it_was(tmp_path: Path, tables: str) -> None:
    """Each start gets a database with what the declared one holds; all are dropped."""
    with MariadbServer() as server:
        server.sql("CREATE DATABASE zoo")
        server.sql("CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, note TEXT)", "zoo")
        server.sql("""INSERT INTO notes (note) VALUES ('{"text": "mine"}')""", "zoo")

        def dump() -> str:
            names = server.sql("SHOW DATABASES")
            return names + server.sql("SHOW CREATE TABLE notes; SELECT * FROM notes", "zoo")

        before = dump()
        database = f"env = 'NOTES'\nurl = '{server.url_of('zoo')}'"
        run = _check(tmp_path, env=f"NOTES_TABLES = '{tables}'", database=database)
        assert _tried(run)
        assert {result.verdict for result in run.results} != {Verdict.ERROR}
        assert dump() == before


def test_redis_is_as_it_was(tmp_path: Path) -> None:
    """Each start gets a numbered database that was empty; where none is, nothing is written."""
    with RedisServer() as server:

        def dump() -> dict[int, list[object]]:
            found: dict[int, list[object]] = {}
            for number in range(16):
                with server.client(db=number) as client:
                    found[number] = [(str(key), client.type(key)) for key in client.scan_iter()]
                    found[number] += [client.hgetall("notes")] if number == 0 else []
            return found

        with server.client() as client:
            client.hset("notes", "1", '{"text": "mine"}')
        before = dump()
        env, database = "", f"env = 'NOTES'\nurl = '{server.url}'"
        assert _tried(_check(tmp_path, env=env, database=database))
        assert dump() == before
        variable = f"NOTES = '{server.url}'"
        assert _tried(_check(tmp_path, env=variable))
        assert dump() == before
        for number in range(1, 16):
            with server.client(db=number) as client:
                client.set("others", "data")
        before = dump()
        assert not _tried(_check(tmp_path, env=variable))
        assert dump() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_before_the_end(postgres: PostgresServer, tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted or told to stop, a check drops its databases; killed, it leaves that to the next one."""
    url = _with_notes(postgres)
    name = url.rpartition("/")[2]
    before = _dump(postgres, name)
    shutil.copy(_SERVICE, tmp_path)
    text = _MANIFEST.format(python=sys.executable, env="", database=_ON_POSTGRES.format(url=url), start="")
    (tmp_path / "roadworthy.toml").write_text(text)
    command = [sys.executable, "-m", "roadworthy", "check", "--only", "CTL,VAL,ERR"]
    check = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # The copy that the others are made from, and that of the first start.
        until(lambda: _dump(postgres, name).count(b"roadworthy_check_") >= 2)
        check.send_signal(number)
        check.wait(DEADLINE)
    finally:
        check.kill()
        check.wait()
    if number is signal.SIGKILL:
        assert _dump(postgres, name) != before
        assert _tried(_check(tmp_path, env="", database=_ON_POSTGRES.format(url=url)))
    assert _dump(postgres, name) == before


def test_a_file_that_the_service_finds_by_itself(folder: Path) -> None:
    """Where a copy has no effect nothing is written, if the file is declared; if not, no more than once."""
    shutil.copy(folder / "db.json", folder / "beside.json")
    before = _files(folder)
    assert not _tried(_check(folder, env="NOTES = 'json:beside.json'", start="data = ['beside.json']"))
    assert _files(folder) == before
    run = _check(folder, env="NOTES = 'json:beside.json'")
    assert any("writes beside.json" in text for text in run.notices)
    assert any("nothing is written" in result.reason for result in run.results)
    assert json.loads((folder / "beside.json").read_text()) == json.loads(before["beside.json"])
    run = _check(folder, env="NOTES = 'json:beside.json'", start="data = ['beside.json']", allow_writes=True)
    assert all("nothing is written" not in result.reason for result in run.results)
    assert _files(folder) == before


def test_a_store_that_nothing_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection of a service to a server by its usual port is seen: nothing is written."""
    with RedisServer() as server, server.client() as client:
        monkeypatch.setenv("NOTES", server.url)
        monkeypatch.setitem(USUAL_PORTS, server.port, "redis")
        run = _check(tmp_path, env="")
        assert any("is connected to redis" in text for text in run.notices)
        assert any("nothing is written" in result.reason for result in run.results)
        assert client.hgetall("notes") == {}
        # The same URL under a name by which services are led to a store.
        client.flushall()
        monkeypatch.delenv("NOTES")
        monkeypatch.setenv("REDIS_URL", server.url)
        assert _tried(_check(tmp_path, env="NOTES = '${REDIS_URL}'"))
        assert client.keys() == []


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_service_that_runs_already(folder: Path) -> None:
    """Nothing is written to it without leave; with it, what was created is deleted again."""
    port = free_port()
    environment = {**os.environ, "NOTES": "json:db.json", "PORT": str(port)}
    service = subprocess.Popen([sys.executable, "notes.py"], cwd=folder, env=environment)
    try:
        text = _MANIFEST.format(python="x", env="", database="", start="")
        manifest = parse_manifest(
            text.replace("command = ['x', \"notes.py\"]", f"url = 'http://127.0.0.1:{port}'")
        )
        before = _files(folder)

        until(lambda: _listens(port))

        def check(*, allow_writes: bool) -> Run:
            options = Options(only=_ONLY, calibrated=False, second_try=False, allow_writes=allow_writes)
            return asyncio.run(run_check(manifest, options))

        assert not _tried(check(allow_writes=False))
        assert _files(folder) == before
        run = check(allow_writes=True)
        assert all("nothing is written" not in result.reason for result in run.results)
        assert _files(folder) == before
    finally:
        service.kill()
        service.wait()
