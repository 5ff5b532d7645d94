"""A PostgreSQL server of one's own: a cluster in a temporary folder, on a free port, for one test."""

from __future__ import annotations

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
from typing import Any

__all__ = ("PASSWORD", "found_postgres", "running_postgres")

PASSWORD = "zoo"


def found_postgres() -> Path | None:
    """Return the folder of the server's programs, where Debian or the search path has them."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    found = shutil.which("initdb")
    return debian[-1].parent if debian else Path(found).resolve().parent if found else None


@contextmanager
def running_postgres(*, max_connections: int = 60) -> Iterator[str]:
    """Run a server and yield its URL; the user ``zoo`` has a password and is no superuser."""
    programs = found_postgres()
    assert programs is not None, "needs PostgreSQL: apt-get install postgresql"
    # The server refuses to run as root, so it runs as whoever Debian's package made, or as nobody.
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="zoo-postgres-"))
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        data = folder / "data"
        options = {"cwd": folder, "env": {**os.environ, "LC_ALL": "C"}, **account}
        flags: list[str | Path] = [
            "-D",
            data,
            "-U",
            "admin",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--no-sync",
            "--pwfile",
            folder / "password",
        ]
        _run([programs / "initdb", *flags], options).check_returncode()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "max_connections": max_connections,
            "fsync": "off",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *words], stdout=log, stderr=log, **options
            )
        try:
            _make_user(programs, port, options)
            yield f"postgresql://zoo:{PASSWORD}@127.0.0.1:{port}/zoo"
        finally:
            # Immediate: whatever a test left connected must not hold up the end.
            server.send_signal(signal.SIGQUIT)
            server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_user(programs: Path, port: int, options: dict[str, Any]) -> None:
    options = {**options, "env": {**options["env"], "PGPASSWORD": PASSWORD}}
    command: list[str | Path] = [
        programs / "psql",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-U",
        "admin",
        "-d",
        "postgres",
        "-q",
    ]
    deadline = time.monotonic() + 30
    while subprocess.run(
        [*command, "-c", "SELECT 1"], capture_output=True, check=False, **options
    ).returncode:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.1)
    for statement in (f"CREATE ROLE zoo LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE zoo OWNER zoo"):
        _run([*command, "-c", statement], options).check_returncode()


def _run(command: list[str | Path], options: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, check=False, capture_output=True, **options)
