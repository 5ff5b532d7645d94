"""The request id, one record for each request, and what may be wrong with either."""

from __future__ import annotations

import atexit
import json
import os
import tempfile
import traceback
from typing import Any
from urllib.parse import unquote

from ..http import Request, Response
from ..service import Part, Zoo, faulty, named


class Logs(Part):
    """The request id and the access record."""

    def __init__(self) -> None:
        self._held: list[str] = []
        atexit.register(lambda: print("\n".join(self._held), flush=True) if self._held else None)

    async def start(self, zoo: Zoo) -> None:
        """Put the faults in the way of records."""
        if faulty("log-7-ignored"):
            zoo.rank = 20
        if zoo.rank >= 40 and faulty("log-7-mute"):
            zoo.rank = 50
        self._bend_writing(zoo)
        self._bend_records(zoo)
        if faulty("log-5-dsn"):
            zoo.log("debug", "the store", url=os.environ.get("DATABASE_URL"))

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Take over an id of the client, where a fault says so."""
        named = request.fields.get("x-request-id")
        if faulty("log-4-same"):
            request.id = "0123456789abcdef"
        if named and faulty("log-4-echo"):
            request.id = named
        if named and faulty("log-4-injects"):
            request.id = unquote(named)
        return None

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Say the request's id."""
        if response.status < 400 and faulty("log-4-none"):
            return
        if response.status == 500 and faulty("log-4-not-on-500"):
            response.body = response.body.replace(request.id.encode(), b"")
            return
        response.set("X-Request-Id", request.id)

    def done(self, zoo: Zoo, request: Request, response: Response, seconds: float) -> None:
        """Write the record."""
        if request.path in {"/livez", "/readyz", "/metrics"} or faulty("log-1-none"):
            return
        record: dict[str, Any] = {
            "method": request.method,
            "path": _path(request),
            "status": response.status,
            "duration_ms": round(seconds * 1000, 3),
            "request_id": request.id[::-1] if faulty("log-4-other") else request.id,
        }
        if faulty("log-5-authorization"):
            record["headers"] = {"authorization": request.fields.get("authorization")}
        if faulty("log-5-cookie"):
            zoo.log("debug", "fields", cookie=request.fields.get("cookie"))
        if response.status in {400, 415, 422} and faulty("log-5-body"):
            record["body"] = request.body.decode("utf-8", "replace")
        level = "error" if response.status >= 400 and faulty("log-8-404-error") else "info"
        for _ in range(2 if faulty("log-1-twice") else 1):
            zoo.log(level, "request", **record)

    def _bend_writing(self, zoo: Zoo) -> None:
        """Replace how a record becomes a line."""
        if named("log-9-file"):
            # Kept open as long as the process lives.
            self._file = tempfile.NamedTemporaryFile("w", prefix="zoo-", suffix=".log")  # noqa: SIM115
        plain = zoo.write

        def write(record: dict[str, Any]) -> None:
            if faulty("log-1-buffered"):
                self._held.append(json.dumps(record, default=repr))
            elif faulty("log-2-text"):
                rest = " ".join(f"{key}={value}" for key, value in record.items())
                print(f"INFO: {rest}", flush=True)
            elif faulty("log-6-raw"):
                pairs = ",".join(f'"{key}":"{value}"' for key, value in record.items())
                print(f"{{{pairs}}}", flush=True)
            elif faulty("log-6-escape"):
                print(json.dumps(record, default=repr).replace("\\u001b", "\x1b"), flush=True)
            elif faulty("log-6-separator"):
                print(json.dumps(record, default=repr, ensure_ascii=False), flush=True)
            else:
                plain(record)
            if faulty("log-9-file"):
                self._file.write(json.dumps(record, default=repr) + "\n")
                self._file.flush()

        zoo.write = write  # type: ignore[method-assign]

    def _bend_records(self, zoo: Zoo) -> None:
        """Replace what a record says, and what is recorded at all."""
        written, broken = zoo.write, zoo.broken

        def write(record: dict[str, Any]) -> None:
            if faulty("log-3-no-offset"):
                record["time"] = record["time"].removesuffix("Z")
            if faulty("log-3-no-duration"):
                record.pop("duration_ms", None)
            if "status" in record and faulty("log-3-wrong-status"):
                record["status"] = "ok"
            if record["message"] == "unhandled exception" and faulty("log-8-500-info"):
                record["level"] = "info"
            words = record["message"].split()
            if words[-1] in {"opened", "serving"} and faulty("log-8-silent-start"):
                return
            if (words[0] == "shutdown" or words[-1] == "closed") and faulty("log-8-silent-stop"):
                return
            written(record)

        def failing(request: Request, error: Exception) -> Response:
            if faulty("log-2-stack"):
                traceback.print_exc()
            return broken(request, error)

        zoo.write = write  # type: ignore[method-assign]
        zoo.broken = failing  # type: ignore[method-assign]


def _path(request: Request) -> str:
    if faulty("log-5-query"):
        return request.target
    if any(faulty(name) for name in ("log-6-raw", "log-6-escape", "log-6-separator")):
        return unquote(request.path)
    return request.path
