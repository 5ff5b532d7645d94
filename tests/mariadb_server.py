"""A MariaDB server of one's own: its data in a temporary folder, on a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.patience import DEADLINE, until

__all__ = ("PASSWORD", "MariadbServer")

PASSWORD = "zoo"
_RIGHTS = "CREATE, DROP, ALTER, INDEX, REFERENCES, SELECT, INSERT, UPDATE, DELETE, LOCK TABLES, TRIGGER"
_USERS = (
    "CREATE USER admin@localhost;",
    "GRANT ALL ON *.* TO admin@localhost WITH GRANT OPTION;",
    f"CREATE USER zoo@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';",
    f"GRANT {_RIGHTS} ON *.* TO zoo@'127.0.0.1';",
    f"CREATE USER poor@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';",
)


class MariadbServer:
    """Starts with the ``with`` block and is gone after it. Its user ``zoo`` may do everything with databases.

    Raises:
        RuntimeError: it is not installed on this machine.
    """

    def __init__(self) -> None:
        if not all(map(shutil.which, ("mariadbd", "mariadb-install-db", "mariadb"))):
            raise RuntimeError("these tests need MariaDB: apt-get install mariadb-server")
        self.folder = Path(tempfile.mkdtemp(prefix="zoo-mariadb-"))
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            user = pwd.getpwnam("mysql" if "mysql" in names else "nobody")
            self._who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def url_of(self, database: str, user: str = "zoo") -> str:
        """Return the URL of a database."""
        return f"mysql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "") -> str:
        """Carry statements out as the administrator and return the rows."""
        command = ["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=admin", "-N", "-B"]
        done = subprocess.run(
            [*command, *([database] if database else [])], input=statement, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        command = ["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=admin", "-e", "SELECT 1"]
        return subprocess.run(command, capture_output=True).returncode == 0

    def __enter__(self) -> Self:
        try:
            data = f"--datadir={self.folder / 'data'}"
            make = [
                "mariadb-install-db",
                "--no-defaults",
                data,
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ]
            subprocess.run(make, check=True, capture_output=True, cwd=self.folder, **self._who)
            start = self.folder / "start.sql"
            # One statement a line: that is all that init-file takes.
            start.write_text("\n".join(_USERS) + "\n")
            start.chmod(0o644)
            with (self.folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    ["mariadbd", "--no-defaults", data, f"--port={self.port}", "--bind-address=127.0.0.1",
                     f"--socket={self._socket}", "--skip-name-resolve", f"--init-file={start}",
                     "--innodb-flush-log-at-trx-commit=0", f"--pid-file={self.folder / 'pid'}"],
                    stdout=log, stderr=log, cwd=self.folder, **self._who,
                )  # fmt: skip
            until(self._answers, "MariaDB answers")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
        shutil.rmtree(self.folder, ignore_errors=True)
