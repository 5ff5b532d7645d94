"""Logging: one record per request, and every other record of the process beside it, as lines on stdout.

A record has who asked what, and how it ended; never what was sent. There is no query string, no body, no
header field in it (OWASP Logging Cheat Sheet, "Data to exclude"). Failures (5xx) stand at ``error`` with the
stack inside the record; everything else at ``info``, probes at ``debug``.
"""

from __future__ import annotations

import asyncio
import json
import logging as stdlib_logging
import os
from collections.abc import Iterable
from functools import cache
from time import time_ns
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import APIError
from ..settings import PREFIX
from .logs.redaction import Redactor
from .logs.routing import RecordHandler, Routing, already_recorded
from .logs.text import Clock, Fields, Render, console, describe, json_line, quote
from .logs.writer import LINE_LIMIT, LogWriter

if TYPE_CHECKING:
    from ..settings import Settings
    from .exchange import Exchange

__all__ = ("PROBE_PATHS", "Level", "Logging", "configure")

Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]

PROBE_PATHS = ("/livez", "/readyz", "/startupz", "/metrics")
"""Paths that machines ask every few seconds; their records stand at ``debug``, and they have no spans."""

_NAME = "roadworthy.access"
_OWN_NAME = "roadworthy.logging"
_LEFT_ALONE = (
    "the app has set up logging, so records keep the form that it gives them, but for access records; "
    "ROADWORTHY_LOG_FORMAT=json or console gives all of them one form"
)
_CACHED = 4096
_COMPACT = (",", ":")
_LONGEST_METHOD = 32
# A record holds 4,000 bytes; the rest of a longer path would be cut anyway, and has been looked at by then.
_LONGEST_PATH = 2_000


@cache
def _standard_output() -> LogWriter:
    """Return the process's one writer: two queues on one stream would only shuffle it."""
    return LogWriter(1)


class Logging:
    """Writes the access record of each exchange and routes the process's other records beside it.

    The root logger is taken over only when it has no handlers yet, or when ``log_format`` is set: a service
    that configured its logging itself keeps it, and gets the access records on standard output besides.

    Parameters:
        settings: ``log_level``, ``log_format`` (None: console on a terminal in development, JSON elsewhere)
            and ``log_redact`` (further secret names).
        writer: where lines go; the process's standard output when left out.
        probes: paths whose records stand at ``debug``.
        shared: other workers write to the same output; on pipes that is taken for granted.

    Raises:
        ValueError: a name in ``log_redact`` has no letter or digit.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        writer: LogWriter | None = None,
        probes: Iterable[str] = PROBE_PATHS,
        shared: bool = False,
    ) -> None:
        self.writer = writer or _standard_output()
        self.writer.shared |= shared
        terminal = _is_terminal(self.writer.fd)
        self._json = settings.log_format == "json" or (
            settings.log_format is None and not (settings.env == "development" and terminal)
        )
        # An empty NO_COLOR does not count (no-color.org).
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._render: Render = json_line if self._json else console(colour)
        self._redactor = Redactor(settings.log_redact)
        self._clock = Clock()
        self._probes = frozenset(probes)
        self._take_over = settings.log_format is not None
        self._in_production = settings.env == "production"
        self._routing: Routing | None = None
        self._write = self.writer.write
        self._heads: dict[tuple[str, str | None], str] = {}
        self._clients: dict[str, str] = {}
        self.writer.note = self._dropped_note
        self.set_level(settings.log_level)

    def configure(self) -> None:
        """Route the standard library's loggers, structlog's and the server's to this item's writer.

        Safe to call again; the server may have set up its own loggers in between.
        """
        if self._routing is None:
            handler = RecordHandler(self._write, self._render, self._redactor)
            self._routing = Routing(handler, self._threshold, take_over=self._take_over)
        else:
            self._routing.install()

    def restore(self) -> None:
        """Undo :meth:`configure`."""
        if self._routing is not None:
            self._routing.restore()
            self._routing = None

    def set_level(self, level: Level) -> None:
        """Change the lowest level that is written, from the next record on."""
        self._threshold = stdlib_logging.getLevelNamesMapping()[level.upper()]
        self._debug = self._threshold <= stdlib_logging.DEBUG
        self._info = self._threshold <= stdlib_logging.INFO
        self._error = self._threshold <= stdlib_logging.ERROR
        if self._routing is not None:
            self._routing.set_level(self._threshold)

    async def start(self) -> None:
        """Configure again: servers set up their loggers between the app's construction and its start."""
        self.writer.direct = False
        self.configure()
        if self._in_production and self._routing is not None and not self._routing.active:
            stdlib_logging.getLogger(_OWN_NAME).info(_LEFT_ALONE)

    async def stop(self) -> None:
        """Wait until the lines so far are written, at most two seconds; write later ones at once.

        uvicorn ends by the signal that it got, so nothing runs after its last record.
        """
        await asyncio.to_thread(self.writer.flush, 2.0)
        self.writer.direct = True

    def finish(self, exchange: Exchange) -> None:
        """Write the exchange's one record."""
        try:
            path = exchange.path
            if exchange.status >= 500 or exchange.exception is not None:
                self._finish_failed(exchange)
            elif exchange.route_path in self._probes:
                if self._debug:
                    self._write(self._render(self._fields(exchange, "debug")))
            elif not self._info:
                return
            elif not self._json or len(path) > 512:
                self._write(self._render(self._fields(exchange, "info")))
            else:
                self._finish_served(exchange, path)
        except Exception as problem:
            # An item must not raise, and what fails here is a value of an unforeseen type: report that.
            fields: Fields = {
                "time": self._clock.at(time_ns() // 1_000_000),
                "level": "error",
                "logger": _NAME,
                "message": f"the record of a request could not be made ({type(problem).__name__})",
            }
            self._write(self._render(fields))

    def _finish_served(self, exchange: Exchange, path: str) -> None:
        """Write the record that ``_fields`` describes by formatting alone, in an eighth of the time."""
        key = (exchange.method, exchange.route)
        head = self._heads.get(key) or self._head(*key)
        client = self._clients.get(exchange.client) or self._client(exchange.client)
        request_id = exchange.request_id
        # Ids of our own making are hexadecimal digits; those of clients are whatever RequestId let pass.
        plain = request_id.isalnum() and request_id.isascii()
        quoted_id = f'"{request_id}"' if plain else quote(request_id)
        moment = self._clock.at(time_ns() // 1_000_000)
        end = "}\n"
        if exchange.trace_id:
            end = f',"trace_id":{quote(exchange.trace_id)},"span_id":{quote(exchange.span_id)}}}\n'
        if exchange.error is not None:
            end = f",{json.dumps(_reason(exchange.error), separators=_COMPACT)[1:-1]}{end}"
        line = (
            f'{{"time":"{moment}{head}{quote(path)},"status":{exchange.status},'
            f'"duration_ms":{exchange.duration * 1000:.3f},"bytes":{exchange.bytes_sent},'
            f'"client":{client},"request_id":{quoted_id}{end}'
        ).encode("ascii")
        self._write(line if len(line) <= LINE_LIMIT else json_line(self._fields(exchange, "info")))

    def _finish_failed(self, exchange: Exchange) -> None:
        exception = exchange.exception
        # An exception behind a complete response below 500 is one that the app has an answer for.
        failed = exchange.status >= 500 or not (exchange.ended or _is_harmless(exception))
        probe = exchange.route_path in self._probes
        if not failed or (probe and exception is None):
            # A probe that answers 503 does its work; what made it answer so has records of its own.
            if self._debug if probe else self._info:
                self._write(self._render(self._fields(exchange, "debug" if probe else "info")))
            return
        if not self._error:
            return
        fields = self._fields(exchange, "error")
        if exception is not None and not exchange.logged and not already_recorded(exception, exchange):
            fields["exception"] = describe(exception, self._redactor)
        exchange.logged = True
        self._write(self._render(fields))

    def failed_late(self, exchange: Exchange, exception: BaseException) -> None:
        """Record an exception that came after the whole response, as that of a background task does."""
        if self._error and not already_recorded(exception, exchange):
            fields = self._fields(exchange, "error")
            fields["message"] = "failed after the response"
            fields["exception"] = describe(exception, self._redactor)
            self._write(self._render(fields))

    def _fields(self, exchange: Exchange, level: Level) -> Fields:
        text = self._redactor.text
        fields: Fields = {
            "time": self._clock.at(time_ns() // 1_000_000),
            "level": level,
            "logger": _NAME,
            "message": "request",
            "method": exchange.method,
            "route": exchange.route,
            "path": text(_short(exchange.path)),
            "status": exchange.status,
            "duration_ms": round(exchange.duration * 1000, 3),
            "bytes": exchange.bytes_sent,
            "client": exchange.client,
            "request_id": exchange.request_id,
        }
        if exchange.error is not None:
            fields |= _reason(exchange.error)
        if exchange.trace_id:
            fields["trace_id"] = exchange.trace_id
            fields["span_id"] = exchange.span_id
        return fields

    def _head(self, method: str, route: str | None) -> str:
        head = (
            f'","level":"info","logger":"{_NAME}","message":"request","method":{quote(method)},'
            f'"route":{"null" if route is None else quote(route)},"path":'
        )
        # Methods are the client's to choose, so the cache is bounded, in bytes as well.
        if len(self._heads) < _CACHED and len(method) <= _LONGEST_METHOD:
            self._heads[(method, route)] = head
        return head

    def _client(self, client: str) -> str:
        quoted = quote(client)
        if len(self._clients) >= _CACHED:
            self._clients.clear()
        self._clients[client] = quoted
        return quoted

    def _dropped_note(self, lost: int) -> bytes:
        return self._render(
            {
                "time": self._clock.at(time_ns() // 1_000_000),
                "level": "warning",
                "logger": "roadworthy.logging",
                "message": f"dropped {lost} records: whoever reads standard output was too slow",
                "dropped": lost,
            }
        )


def configure(settings: Settings) -> Logging:
    """Make a logging item and route the process's records to it, for a process without an app (a command)."""
    item = Logging(settings)
    item.configure()
    return item


def _reason(error: APIError) -> Fields:
    """Return what a record has of an error: its code, and the limit behind it with what changes that."""
    fields: Fields = {"code": error.code}
    limit = error.limit
    if limit is not None:
        if limit.value is not None:
            fields["limit"] = limit.value
            fields["unit"] = limit.unit
        if not limit.ruled:
            fields["setting"] = PREFIX + limit.setting
        if limit.rule:
            fields["rule"] = limit.rule
    return fields


def _is_harmless(exception: BaseException | None) -> bool:
    """Return whether an unfinished response has a cause outside the service: a refusal, a lost client."""
    return (
        exception is None
        or isinstance(exception, ConnectionError)
        or (isinstance(exception, APIError) and exception.status < 500)
        # Starlette's and Django's words for it.
        or type(exception).__name__ in ("ClientDisconnect", "RequestAborted")
    )


def _short(path: str) -> str:
    if len(path) <= _LONGEST_PATH:
        return path
    return f"{path[:_LONGEST_PATH]} [… {len(path) - _LONGEST_PATH} characters cut …]"


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
