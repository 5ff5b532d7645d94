"""A PostgreSQL server of one's own: a cluster in a temporary folder, on a free port, not as root."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

__all__ = ("PASSWORD", "PostgresServer", "StandbyServer", "account", "found_postgres", "running_postgres")

PASSWORD = "zoo"
_PATIENCE = 30.0

_STOPS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
"""The three ways to stop it (PostgreSQL, chapter "Shutting Down the Server")."""


def found_postgres() -> Path | None:
    """Return the folder of the server's programs, where Debian or the search path has them."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    found = shutil.which("initdb")
    return debian[-1].parent if debian else Path(found).resolve().parent if found else None


def account() -> dict[str, Any]:
    """Return who servers that refuse to run as root run as: whom Debian's package made, or nobody."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class PostgresServer:
    """Starts with the ``with`` block and is gone after it. Its user ``zoo`` may make databases, and no more.

    Parameters:
        network: from where clients may come, besides this machine; ``listen_addresses`` has to fit.
        settings: of postgresql.conf.
    """

    def __init__(self, network: str | None = None, **settings: object) -> None:
        programs = found_postgres()
        assert programs is not None, "needs PostgreSQL: apt-get install postgresql"
        self._programs = programs
        self._network = network
        self.folder = Path(tempfile.mkdtemp(prefix="zoo-postgres-"))
        who = account()
        self._options: dict[str, Any] = {"cwd": self.folder, "env": {**os.environ, "LC_ALL": "C"}, **who}
        if who:
            os.chown(self.folder, who["user"], who["group"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "max_connections": 60,
            "fsync": "off",
            **settings,
        }
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its database ``zoo``, for the user ``zoo``, who owns it."""
        return self.url_of("zoo")

    def url_of(self, database: str, user: str = "zoo") -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def fresh_url(self) -> str:
        """Make a database and return its URL."""
        name = f"zoo{next(self._numbers)}"
        self.psql(f"CREATE DATABASE {name} OWNER zoo")
        return self.url_of(name)

    @property
    def socket_url(self) -> str:
        """The URL of ``zoo`` by its Unix socket."""
        return f"postgresql://zoo:{PASSWORD}@/zoo?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Start it, or start it again on the same port, and wait until it answers."""
        words = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), *words],
                stdout=log,
                stderr=log,
                **self._options,
            )
        deadline = time.monotonic() + _PATIENCE
        while self.psql("SELECT 1", check=False).returncode:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)

    def stop(self, how: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop it and wait for its end."""
        if self._process is not None:
            self._process.send_signal(_STOPS[how])
            self._process.wait(_PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to all that work for it."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in (self._process.pid, *map(int, children)):
            os.kill(pid, number)

    def psql(
        self, statement: str, *, database: str = "postgres", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Carry a statement out as the superuser."""
        environment = {**self._options["env"], "PGPASSWORD": PASSWORD}
        command = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "admin", "-d", database, "-qtA"]
        options = {**self._options, "env": environment}
        done = _run([self._programs / "psql", *command, "-c", statement], options)
        if check:
            done.check_returncode()
        return done

    def __enter__(self) -> Self:
        try:
            self._make()
            if self._network is not None:
                with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
                    rules.write(f"host all all {self._network} scram-sha-256\n")
            self.start()
            self._fill()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _fill(self) -> None:
        self.psql(f"CREATE ROLE zoo LOGIN CREATEDB PASSWORD '{PASSWORD}'")
        self.psql("CREATE DATABASE zoo OWNER zoo")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            # Immediate: whatever a test left connected must not hold up the end.
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        flags: list[str | Path] = [
            "-U",
            "admin",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--no-sync",
            "--pwfile",
            password,
        ]
        _run(
            [self._programs / "initdb", "-D", self.folder / "data", *flags], self._options
        ).check_returncode()


class StandbyServer(PostgresServer):
    """A copy of another server that follows it, until it is promoted.

    Parameters:
        primary: the other, which runs.
        network, settings: as for a server.
        synchronous: every COMMIT there waits for it.
    """

    def __init__(
        self,
        primary: PostgresServer,
        network: str | None = None,
        *,
        synchronous: bool = True,
        **settings: object,
    ) -> None:
        super().__init__(network, **settings)
        self._primary = primary
        self._is_synchronous = synchronous

    def fall_behind(self) -> None:
        """Carry out nothing more of what the primary writes: return when it does so."""
        self.psql("SELECT pg_wal_replay_pause()")
        self._until("SELECT pg_get_wal_replay_pause_state()", b"paused")

    def catch_up(self) -> None:
        """Carry out all that the primary has written by now."""
        position = self._primary.psql("SELECT pg_current_wal_insert_lsn()").stdout.strip().decode()
        self.psql("SELECT pg_wal_replay_resume()")
        self._until(f"SELECT pg_last_wal_replay_lsn() >= '{position}'", b"t")

    def promote(self) -> None:
        """Make it the primary: return when it takes writes."""
        self.psql("SELECT pg_promote(true)")

    def _make(self) -> None:
        flags = ["-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "admin", "-c", "fast", "-N", "-R"]
        options = {**self._options, "env": {**self._options["env"], "PGPASSWORD": PASSWORD}}
        _run(
            [self._programs / "pg_basebackup", *flags, "-D", self.folder / "data"], options
        ).check_returncode()

    def _until(self, question: str, answer: bytes) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self.psql(question).stdout.strip() != answer:
            assert time.monotonic() < deadline, f"the standby does not follow: {question}"
            time.sleep(0.05)

    def _fill(self) -> None:
        if not self._is_synchronous:
            return
        self._primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._primary.psql("SELECT pg_reload_conf()")
        synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        deadline = time.monotonic() + _PATIENCE
        while self._primary.psql(synchronous).stdout.strip() != b"1":
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.05)


@contextmanager
def running_postgres(*, max_connections: int = 60) -> Iterator[str]:
    """Run a server and yield the URL of its database."""
    with PostgresServer(max_connections=max_connections) as server:
        yield server.url


def _run(command: list[str | Path], options: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, check=False, capture_output=True, **options)
