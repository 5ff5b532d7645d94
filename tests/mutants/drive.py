"""Asks a service for everything in every way, to learn which faults can show under which conditions.

A mutant whose fault no request can bring about is none: it is told from one that a probe has not found.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.free_port import free_port
from tests.patience import until
from tests.zoo.harness import ROOT, running_store

from .languages import Language

__all__ = ("reachable",)

_ITEM = json.dumps({"name": "item", "qty": 1}).encode()
_USER = '{{"name": "Ada", "email": "ada{}@example.com"}}'
_BODIES_OF = {
    "posts": b'{"title": "Title", "body": "Text"}',
    "batch": b'{"ids": [1, 2, 999]}',
    "transfers": b'{"from_user": 1, "to_user": 2, "post_ids": [1]}',
}
_PATHS = (
    *("/api/items", "/api/items?limit=2", "/api/items/{item}", "/api/items/x", "/api/large", "/api/page"),
    *("/api/image", "/api/fails", "/api/login", "/livez", "/readyz", "/metrics", "/nothing"),
    *("/api/users", "/api/users?limit=1000", "/api/users/{user}", "/api/users/{user}/posts"),
    *("/api/users/{user}/overview", "/api/users/batch", "/api/transfers", "/api/primes/7"),
    *("/api/users/999", "/api/users/999/overview"),
)
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE")
_ORIGINS = (
    *("", "https://app.example", "https://admin.example:8443", "https://evil.example", "null"),
    *("https://app.example.evil.example", "https://evilapp.example", "https://evil.app.example"),
)
_FIELDS: tuple[dict[str, str], ...] = (
    {},
    {"Accept": "text/html", "Accept-Encoding": "gzip"},
    {"Accept": "application/json", "Accept-Encoding": "br;q=1, gzip;q=0.5", "X-Forwarded-Proto": "https"},
    {"Accept-Encoding": "identity", "X-Request-Id": "a b", "X-Forwarded-For": "10.0.0.1, 10.0.0.2"},
    {"Accept-Encoding": "gzip;q=0, *;q=0", "Idempotency-Key": "one", "Authorization": "Bearer x"},
    {"If-None-Match": '"x"', "Range": "bytes=0-99", "Accept-Encoding": "GZIP"},
)
_BODIES = (b"", _ITEM, b'{"a": ', b"[]", b'{"name": null, "qty": "x"}', b'{"name": "' + b"n" * 3000 + b'"}')
_TYPES = ("application/json", "application/json; charset=utf-8", "text/plain")


@dataclass(frozen=True, slots=True)
class _Run:
    more: tuple[str, ...] = ()
    workers: int = 1
    limit: str = ""
    store_is_down: bool = False


_RUNS = (_Run(), _Run(("production",)), _Run(workers=2), _Run(limit="20/0.2"), _Run(store_is_down=True))


async def reachable(language: Language) -> set[tuple[str, str]]:
    """Return each fault and each condition under which it could show, as a service without faults reports."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace")
        command = await asyncio.to_thread(language.command)
        async with running_store() as store:
            for run in _RUNS:
                if run.workers == 1 or not language.one_process:
                    # Nothing listens on the port that no service may have.
                    port = 1 if run.store_is_down else store.port
                    await asyncio.to_thread(_drive, trace, port, command, run)
        lines = (await asyncio.to_thread(trace.read_text)).splitlines()
    return {(fault, condition) for fault, _, condition in (line.partition(" ") for line in lines)}


def _drive(trace: Path, store: int, command: list[str], run: _Run) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "PORT": str(port),
        "ZOO_TRACE": str(trace),
        "PYTHONPATH": str(ROOT),
        "CORS_ORIGINS": "https://app.example,https://admin.example:8443",
        "DATABASE_URL": f"tcp://zoo:x@127.0.0.1:{store}/drive{run.workers}",
        "WEB_CONCURRENCY": str(run.workers),
        "ITEMS_KEY": "drive-drive-0123456789",
        "DRAIN_DELAY": "1",
        "ZOO_RATE_LIMIT": run.limit,
    }
    service = subprocess.Popen([*command, *run.more], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), "the service listens")
        _ask_all(port)
        threads = [threading.Thread(target=_ask_all, args=(port, 40)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        slow = threading.Thread(target=_ask, args=(port, [("GET", "/api/slow", b"", {}, 11)] * 2))
        slow.start()
        service.send_signal(signal.SIGTERM)
        _ask_all(port, 30)
        slow.join()
        service.wait(30)
    finally:
        service.kill()
        service.wait()


_Request = tuple[str, str, bytes, dict[str, str], int]


def _listens(port: int) -> bool:
    try:
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/livez")
    except OSError:
        return False
    return True


def _requests() -> Iterator[_Request]:
    """Yield requests in which each two of what is varied meet."""
    origins, fields, bodies = itertools.cycle(_ORIGINS), itertools.cycle(_FIELDS), itertools.cycle(_BODIES)
    types, versions = itertools.cycle(_TYPES), itertools.cycle((11, 11, 11, 10))
    for turn in range(12):
        for path, method in itertools.product(_PATHS, _METHODS):
            body = next(bodies) if method in {"POST", "PUT"} else b""
            if body == _ITEM and path.startswith(("/api/users", "/api/transfers")):
                number = f"{os.getpid()}-{threading.get_ident()}-{turn}-{method}"
                body = _BODIES_OF.get(path.rpartition("/")[2]) or _USER.format(number).encode()
            sent = {"Content-Type": next(types)} if body else {}
            origin = next(origins)
            given = {"Origin": origin, "Access-Control-Request-Method": "POST"} if origin else {}
            yield method, path, body, {**next(fields), **sent, **given}, next(versions)
        next(origins), next(fields), next(bodies), next(types)


def _ask_all(port: int, most: int = 1_000_000) -> None:
    _ask(port, list(itertools.islice(_requests(), most)))


def _ask(port: int, requests: list[_Request]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    ids = {"{item}": "1", "{user}": "1"}
    for number, (method, path, body, fields, version) in enumerate(requests):
        if number % 5 == 4:
            connection.close()
        connection._http_vsn = version  # type: ignore[attr-defined] # the client offers no other way
        connection._http_vsn_str = f"HTTP/{version // 10}.{version % 10}"  # type: ignore[attr-defined]
        try:
            for name, value in ids.items():
                path = path.replace(name, value)
            connection.request(method, path, body or None, fields)
            response = connection.getresponse()
            text = response.read()
            if response.status == 201 and path in {"/api/items", "/api/users"}:
                ids[f"{{{path.split('/')[2].rstrip('s')}}}"] = str(json.loads(text)["id"])
        except (OSError, http.client.HTTPException):
            connection.close()
    connection.close()
