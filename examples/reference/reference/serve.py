"""The service for a person who wants to look at it: ``python -m reference.serve``, or ``make serve``.

An empty database gets twenty users with three posts each; then ``roadworthy run reference.main:app`` takes
over this process. On a terminal the addresses and three requests to try come first, and records are text.
Elsewhere the output is that of ``roadworthy run``, and nothing else.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
from contextlib import closing, suppress
from ipaddress import ip_address
from pathlib import Path

from roadworthy.settings import Settings, SettingsError, load_settings

from .database import database_path
from .migrate import MigrationError
from .seed import SeedError, seed

__all__ = ("banner", "main")

_USERS, _POSTS = 20, 3


def main() -> None:
    """Seed the database, greet a person, and become the service."""
    # What is wrong with the settings or the database is reported by the service itself, all of it at once.
    with suppress(SettingsError, MigrationError, sqlite3.Error):
        settings = load_settings()
        path = database_path(settings.database_url.get_secret_value())
        with suppress(SeedError):
            seed(path, _USERS, _POSTS)
        if sys.stdout.isatty() and sys.stderr.isatty():
            os.environ.setdefault("ROADWORTHY_LOG_FORMAT", "console")
            print(banner(settings, path), flush=True)
    command = [sys.executable, "-m", "roadworthy", "run", "reference.main:app"]
    os.execv(command[0], command)


def banner(settings: Settings, path: Path) -> str:
    """Return what a person reads first: where the service is, what is in it, and three requests to try.

    Parameters:
        settings: those that the service will start with. Where they name no port (a Unix socket, or port 0),
            the record ``listening`` has the address, and no requests are shown.
        path: the database, which has been seeded.

    Raises:
        sqlite3.Error: the database cannot be read.
    """
    with closing(sqlite3.connect(path, timeout=30.0)) as connection:
        count, first = connection.execute("SELECT count(*), min(id) FROM users").fetchone()
    lines = ["", "Users and posts: a FastAPI service with the whole checklist.", ""]
    listens = settings.uds is None and settings.port != 0
    operations = (
        None if settings.ops_port in ("off", 0) else _url("http", settings.ops_host, settings.ops_port)
    )
    if listens:
        lines.append(f"  service     {_service(settings)}  (API documentation: /docs)")
    if operations:
        lines.append(f"  operations  {operations}  (/metrics, /livez, /readyz)")
    lines += [f"  data        {count} users in {path}", ""]
    if listens:
        lines += ["Try in another terminal:", "", *_requests(_service(settings), operations, first), ""]
    return "\n".join([*lines, "Ctrl-C stops.", ""])


def _requests(service: str, operations: str | None, user: int | None) -> list[str]:
    one = f"/api/users/{user}" if user else "/api/users"
    address = f"ada-{secrets.token_hex(3)}@example.com"  # an address can be taken once only
    body = f"""-d '{{"name": "Ada", "email": "{address}"}}'"""
    return [
        f"curl -i {service}{one}",
        f"curl -i {service}/api/users -H 'Content-Type: application/json' {body}",
        f"curl -i {operations}/metrics" if operations else f"curl -i {service}/readyz",
    ]


def _service(settings: Settings) -> str:
    return _url("https" if settings.tls_cert else "http", settings.host, settings.port)


def _url(scheme: str, host: str, port: int | str) -> str:
    """Return a URL for clients on this machine; loopback stands in for 0.0.0.0 and ::."""
    with suppress(ValueError):
        address = ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


if __name__ == "__main__":
    main()
