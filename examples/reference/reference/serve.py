"""The service for a person who wants to look at it: ``python -m reference.serve``, or ``make serve``.

An empty database gets twenty users with three posts each; then ``roadworthy run reference.main:app`` takes
over this process. On a terminal the addresses and three requests to try come first, and records are text.
Elsewhere the output is that of ``roadworthy run``, and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from contextlib import suppress
from ipaddress import ip_address

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from roadworthy import patterns
from roadworthy.errors import UnavailableError
from roadworthy.settings import Settings, SettingsError, load_settings

from .migrate import MigrationError
from .schema import users
from .seed import SeedError, seed, shown

__all__ = ("banner", "main")

_USERS, _POSTS = 20, 3


def main() -> None:
    """Seed the database, greet a person, and become the service."""
    # What is wrong with the settings or the database is reported by the service itself, all of it at once.
    with suppress(SettingsError, MigrationError, UnavailableError, ValueError, SQLAlchemyError, ImportError):
        settings = load_settings()
        url = settings.database_url.get_secret_value()
        with suppress(SeedError):
            seed(url, _USERS, _POSTS)
        if sys.stdout.isatty() and sys.stderr.isatty():
            os.environ.setdefault("ROADWORTHY_LOG_FORMAT", "console")
            print(banner(settings, url), flush=True)
    command = [sys.executable, "-m", "roadworthy", "run", "reference.main:app"]
    os.execv(command[0], command)


def banner(settings: Settings, url: str) -> str:
    """Return what a person reads first: where the service is, what is in it, and three requests to try.

    Parameters:
        settings: those that the service will start with. Where they name no port (a Unix socket, or port 0),
            the record ``listening`` has the address, and no requests are shown.
        url: of the database, which has been seeded.

    Raises:
        SQLAlchemyError: the database cannot be read.
    """
    count, first = asyncio.run(_counted(url))
    lines = ["", "Users and posts: a FastAPI service with the whole checklist.", ""]
    listens = settings.uds is None and settings.port != 0
    operations = (
        None if settings.ops_port in ("off", 0) else _url("http", settings.ops_host, settings.ops_port)
    )
    if listens:
        lines.append(f"  service     {_service(settings)}  (API documentation: /docs)")
    if operations:
        lines.append(f"  operations  {operations}  (/metrics, /livez, /readyz)")
    lines += [f"  data        {count} users in {shown(url)}", ""]
    if listens:
        lines += ["Try in another terminal:", "", *_requests(_service(settings), operations, first), ""]
    return "\n".join([*lines, "Ctrl-C stops.", ""])


async def _counted(url: str) -> tuple[int, int | None]:
    database = patterns.Database(url)
    try:
        async with database.connection() as connection:
            row = (await connection.execute(select(func.count(), func.min(users.c.id)))).one()
            return int(row[0]), row[1]
    finally:
        await database.stop()


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
