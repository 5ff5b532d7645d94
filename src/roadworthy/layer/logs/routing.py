"""Brings the service's own records into one stream: the standard library's loggers, structlog, the server's.

A record of ``logging.getLogger(__name__).info("x", extra={"key": 1})`` and one of
``structlog.get_logger().info("x", key=1)`` come out alike, with the ids of the exchange they belong to.
"""

from __future__ import annotations

import logging as stdlib_logging
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

import structlog

from ..exchange import Exchange, ResponseAborted, current_exchange
from ..spans import current_ids
from .redaction import Redactor
from .text import Clock, Fields, Render, describe

__all__ = ("RecordHandler", "Routing", "already_recorded", "forget_record", "handshake_answered")

handshake_answered: ContextVar[bool] = ContextVar("roadworthy_handshake_answered", default=False)
"""The running task has answered the handshake of its WebSocket with a response."""

_EVENT = "_roadworthy_event"
_RECORDED = "__roadworthy_recorded__"
_PLAIN = len(stdlib_logging.makeLogRecord({}).__dict__)
_STANDARD = frozenset(stdlib_logging.makeLogRecord({}).__dict__) | {
    "message", "asctime", "taskName", "color_message", "websocket", _EVENT,
}  # fmt: skip
_OWN = frozenset({"time", "level", "logger", "message", "exception", "stack"})

_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "hypercorn.error", "_granian")
_ACCESS_LOGGERS = ("uvicorn.access", "hypercorn.access", "granian.access")
_SERVERS = ("uvicorn", "hypercorn", "_granian", "granian")
_UNANSWERED = "without completing handshake"
_QUERY = re.compile(r"\?[^\s\"']*")


def already_recorded(exception: BaseException, exchange: Exchange | None) -> bool:
    """Return whether a record written for this exchange, or outside of any, holds this exception."""
    return getattr(exception, _RECORDED, None) == _owner(exchange)


def forget_record(exception: BaseException) -> None:
    """Have the exception recorded again when it is raised again: some are made once and raised often."""
    setattr(exception, _RECORDED, None)


def _owner(exchange: Exchange | None) -> str:
    return "" if exchange is None else exchange.request_id


class _NoRepeats(stdlib_logging.Filter):
    """Drops what a server or framework records a second time about an exchange."""

    def filter(self, record: stdlib_logging.LogRecord) -> bool:
        # Set by the adapters of frameworks that record what the exchange's own record says as well.
        if getattr(record, "roadworthy_recorded", False):
            return False
        if record.exc_info and isinstance(record.exc_info[1], ResponseAborted):
            return False
        if handshake_answered.get() and record.name.startswith("uvicorn") and _UNANSWERED in str(record.msg):
            # The server takes every response but 101 for none (uvicorn 0.54 with websockets).
            return False
        # granian renders the exception into the message.
        return not (record.name.startswith("_granian") and ResponseAborted.__name__ in record.getMessage())


class _Silence(stdlib_logging.Filter):
    """Drops everything: our access record has it all."""

    def filter(self, record: stdlib_logging.LogRecord) -> bool:
        return False


class _Reroute(stdlib_logging.Filter):
    """Sends a server's records our way, even when it adds its own handlers late, as hypercorn does."""

    def __init__(self, logger: stdlib_logging.Logger) -> None:
        super().__init__()
        self._logger = logger

    def filter(self, record: stdlib_logging.LogRecord) -> bool:
        if self._logger.handlers:
            self._logger.handlers[:] = _kept(self._logger)
        return True


class RecordHandler(stdlib_logging.Handler):
    """Makes a line of each record of the standard library and hands it over. It never waits and never raises.

    Parameters:
        write: takes the finished line.
        render: makes the line from the fields.
        redactor: masks secrets in messages and fields.
    """

    def __init__(self, write: Callable[[bytes], None], render: Render, redactor: Redactor) -> None:
        super().__init__()
        self._write = write
        self._render = render
        self._redactor = redactor
        self._clock = Clock()
        self.addFilter(_NoRepeats())

    def handle(self, record: stdlib_logging.LogRecord) -> bool:
        """Write the record without the lock of the base class: the queue behind it needs none."""
        if passed := bool(self.filter(record)):
            self.emit(record)
        return passed

    def emit(self, record: stdlib_logging.LogRecord) -> None:
        """Write the record; one that cannot be made into a line leaves a line that reports it."""
        try:
            line = self._render(self._fields(record))
        except Exception as problem:
            line = self._render(
                {
                    "time": self._clock.at(int(record.created * 1000)),
                    "level": "error",
                    "logger": record.name,
                    "message": f"a record could not be written ({type(problem).__name__})",
                }
            )
        self._write(line)

    def _fields(self, record: stdlib_logging.LogRecord) -> Fields:
        redactor = self._redactor
        fields: Fields = {
            "time": self._clock.at(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redactor.text(_message(record)),
        }
        exchange = current_exchange.get()
        if exchange is not None:
            fields["request_id"] = exchange.request_id
        # The innermost span that is exported; without OpenTelemetry the exchange's record is the span.
        ids = current_ids() or (exchange is not None and (exchange.trace_id, exchange.span_id))
        if ids and ids[0]:
            fields["trace_id"], fields["span_id"] = ids
        values = record.__dict__
        event = values.get(_EVENT)
        if isinstance(event, Mapping):
            self._add(fields, cast("Mapping[str, Any]", event))
        if len(values) > _PLAIN:
            self._add(fields, {name: value for name, value in values.items() if name not in _STANDARD})
        exception = record.exc_info[1] if record.exc_info else None
        if exception is not None:
            fields["exception"] = describe(exception, redactor)
            if record.levelno >= stdlib_logging.ERROR:
                setattr(exception, _RECORDED, _owner(exchange))
        elif record.exc_text:
            fields["exception"] = {"type": "", "stack": redactor.text(record.exc_text)}
        if record.stack_info:
            fields["stack"] = redactor.text(record.stack_info)
        return fields

    def _add(self, fields: Fields, more: Mapping[str, Any]) -> None:
        for name, value in more.items():
            # A field of the record itself is never replaced; a service's own "level" becomes "level_".
            key = f"{name}_" if name in _OWN else self._redactor.text(str(name))
            fields[key] = self._redactor.field(str(name), value)


def _message(record: stdlib_logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:
        # "%d" with a word: the template is worth more than the standard library's complaint on stderr.
        text = f"{record.msg} (its arguments do not fit)"
    # Servers write the request target of a WebSocket with its query string.
    return _QUERY.sub("", text) if record.name.startswith(_SERVERS) else text


def _hand_to_stdlib(logger: Any, method: str, event: structlog.typing.EventDict) -> dict[str, Any]:
    """Turn a structlog event into the arguments of a standard library call: the last processor."""
    call: dict[str, Any] = {"msg": event.pop("event", "")}
    for name in ("exc_info", "stack_info"):
        if name in event:
            call[name] = event.pop(name)
    event.pop("stacklevel", None)
    call["extra"] = {_EVENT: event}
    return call


class Routing:
    """What of the process's logging leads to our handler; undone by :meth:`restore`.

    Parameters:
        handler: where records go.
        level: lowest level of the root logger.
        take_over: replace handlers of the root logger that write to the standard streams. Otherwise a root
            logger with handlers stays as its owner configured it, and only repeats of our own records are
            dropped.
    """

    def __init__(self, handler: RecordHandler, level: int, *, take_over: bool) -> None:
        self._handler = handler
        self._level = level
        self._undo: list[Callable[[], None]] = []
        root = stdlib_logging.getLogger()
        self.active = take_over or not root.handlers
        """Whether the root logger is ours."""
        self.install()

    def install(self) -> None:
        """Set everything up; called again, repair what a server changed by setting up its own loggers."""
        for name in _SERVER_LOGGERS:
            self._filter(stdlib_logging.getLogger(name), _NoRepeats())
        if not self.active:
            return
        root = stdlib_logging.getLogger()
        self._change(root, [*_kept(root), self._handler], self._level, propagate=True)
        for name in _SERVER_LOGGERS:
            logger = stdlib_logging.getLogger(name)
            # Without a level of their own, because the root's level is the one that the settings name.
            self._change(logger, _kept(logger), stdlib_logging.NOTSET, propagate=True)
            self._filter(logger, _Reroute(logger))
        for name in _ACCESS_LOGGERS:
            # uvicorn asks whether this logger has handlers, and saves itself the line when it has none.
            logger = stdlib_logging.getLogger(name)
            self._change(logger, [], stdlib_logging.NOTSET, propagate=False)
            self._filter(logger, _Silence())
        if sys.modules["warnings"].showwarning.__module__ != "logging":
            stdlib_logging.captureWarnings(True)
            self._undo.append(lambda: stdlib_logging.captureWarnings(False))
        if threading.excepthook is not _thread_failed:
            before = threading.excepthook
            threading.excepthook = _thread_failed
            self._undo.append(lambda: setattr(threading, "excepthook", before))
        if not structlog.is_configured():
            _configure_structlog()
            self._undo.append(structlog.reset_defaults)

    def set_level(self, level: int) -> None:
        """Change the lowest level of the root logger."""
        self._level = level
        if self.active:
            stdlib_logging.getLogger().setLevel(level)

    def restore(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()

    def _filter(self, logger: stdlib_logging.Logger, added: stdlib_logging.Filter) -> None:
        if not any(isinstance(known, type(added)) for known in logger.filters):
            logger.addFilter(added)
            self._undo.append(partial(logger.removeFilter, added))

    def _change(
        self,
        logger: stdlib_logging.Logger,
        handlers: list[stdlib_logging.Handler],
        level: int,
        *,
        propagate: bool,
    ) -> None:
        removed = [handler for handler in logger.handlers if handler not in handlers]
        added = [handler for handler in handlers if handler not in logger.handlers]
        before = (logger.level, logger.propagate)
        if not removed and not added and before == (level, propagate):
            return

        def undo() -> None:
            # Handler by handler, because others may have come and gone in between.
            for handler in added:
                logger.removeHandler(handler)
            for handler in removed:
                logger.addHandler(handler)
            logger.setLevel(before[0])
            logger.propagate = before[1]

        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
        self._undo.append(undo)


def _kept(logger: stdlib_logging.Logger) -> list[stdlib_logging.Handler]:
    """Return the handlers that stay: files, error trackers, all but the standard streams and our own."""
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return [
        handler
        for handler in logger.handlers
        if not isinstance(handler, RecordHandler) and not _is_plain(handler, streams)
    ]


def _is_plain(handler: Any, streams: tuple[object, ...]) -> bool:
    if handler.__class__ is stdlib_logging.StreamHandler:
        return handler.stream in streams
    # Rich's handler writes to a console; the SDK of MCP sets the root logger up with one.
    file = getattr(getattr(handler, "console", None), "file", None)
    return file is not None and file in streams


def _configure_structlog() -> None:
    logger_class = stdlib_logging.getLoggerClass()
    factory = structlog.stdlib.LoggerFactory()
    # The factory replaces the class of every later logger, for a feature that these records do not use.
    stdlib_logging.setLoggerClass(logger_class)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            _hand_to_stdlib,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Record what ended a thread; the standard library would print several bare lines."""
    if failure.exc_value is None or failure.exc_type is SystemExit:
        return
    stdlib_logging.getLogger("threading").error(
        "a thread ended with an exception",
        exc_info=failure.exc_value,
        extra={"thread_name": failure.thread.name if failure.thread else None},
    )
