"""What a service writes, read as records, one a line, under whatever names its fields have.

A record is a JSON object, or, where the manifest declares ``logs.format = "logfmt"``, ``key=value`` pairs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from ..service.process import Line

__all__ = ("Record", "parse_record", "records")

# Names that loggers of the seven stacks and common collectors give to the same thing.
_ALIASES: dict[str, tuple[str, ...]] = {
    "time": ("time", "timestamp", "ts", "@timestamp", "datetime", "asctime", "t", "@t", "start_time"),
    "level": ("level", "severity", "levelname", "log.level", "lvl", "loglevel", "severity_text", "@l"),
    "message": ("message", "msg", "event", "body", "@m"),
    "method": (
        *("method", "http.method", "http.request.method", "request.method", "req.method", "http_method"),
        *("request_method", "requestmethod", "verb"),
    ),
    "path": (
        "path",
        "route",
        "url",
        "http.route",
        "http.target",
        "url.path",
        "uri",
        "request.path",
        "req.url",
        *(
            "request.uri",
            "request.url",
            "req.path",
            "request_uri",
            "request_path",
            "requestpath",
            "requesturi",
        ),
        *("http.url", "http.path", "url.original", "url.full", "request.originalurl", "req.originalurl"),
        "requested_uri",
    ),
    "status": (
        *("status", "status_code", "http.status_code", "http.response.status_code", "statuscode", "code"),
        *("response.status", "res.statuscode", "response.status_code", "res.status", "response_code"),
        *("downstreamstatus", "originstatus", "response.statuscode"),
    ),
    "duration": (
        *("duration", "duration_ms", "duration_s", "elapsed", "elapsed_ms", "latency", "latency_ms", "took"),
        *("responsetime", "response_time", "request_time", "seconds", "http.duration", "elapsedmilliseconds"),
        *("event.duration", "time_taken", "timetaken", "latency_human", "duration_us", "duration_ns"),
        *("elapsed_time", "response.latency"),
    ),
    "request_id": (
        *("request_id", "requestid", "req_id", "reqid", "correlation_id", "correlationid", "x-request-id"),
        *("x_request_id", "http.request.id", "trace_id", "traceid", "req.id", "id"),
    ),
    "error": ("error", "err", "exception", "exc_info", "stack", "stack_trace", "stacktrace", "traceback"),
}
_WRAPPERS = ("meta", "properties", "attributes", "fields", "data", "context", "extra", "mdc")
"""Objects that loggers put around what a service says (winston, Serilog, OpenTelemetry, Monolog, MDC)."""
# No name that is looked for is longer; names of what is nested have those around it in front.
_LONGEST_NAME = 256
_PAIR = re.compile(r'([A-Za-z_@][\w.@-]*+)=(?:"((?:[^"\\]++|\\.)*+)"|([^\s"]*+))(?:\s++|$)')
# pino and bunyan number their levels.
_NUMBERS = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
_RANKS = {
    **dict.fromkeys(("trace", "debug", "verbose", "fine"), 10),
    **dict.fromkeys(("info", "information", "notice", "informational"), 20),
    **dict.fromkeys(("warn", "warning"), 30),
    **dict.fromkeys(("error", "err", "severe"), 40),
    **dict.fromkeys(("critical", "fatal", "panic", "alert", "emergency"), 50),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One line of output that is a record; nested keys are joined by dots, all in lower case."""

    line: Line
    fields: dict[str, Any]

    def get(self, name: str) -> Any:
        """Return a field by its meaning: ``time``, ``level``, ``message``, … (the keys of ``_ALIASES``)."""
        for alias in _ALIASES[name]:
            # Only an error is itself an object; around others, as ``url``, stands what is looked for.
            if alias in self.fields and (name == "error" or not isinstance(self.fields[alias], dict)):
                return self.fields[alias]
        wrapped = (f"{wrapper}.{alias}" for wrapper in _WRAPPERS for alias in _ALIASES[name])
        return next((self.fields[each] for each in wrapped if each in self.fields), None)

    @property
    def rank(self) -> int:
        """The level as a number: 10 debug, 20 info, 30 warning, 40 error, 50 critical; 0 when none."""
        level = self.get("level")
        if isinstance(level, int):
            level = _NUMBERS.get(level, "")
        return _RANKS.get(str(level).strip().lower(), 0)

    def mentions(self, text: str) -> bool:
        """Tell whether the line holds this text."""
        return text in self.line.text


def parse_record(line: Line, form: str = "json") -> Record | None:
    """Return the line as a record, or None when it is not one.

    Parameters:
        form: what a record is: ``logfmt`` for pairs, anything else for a JSON object.
    """
    text = line.text.strip()
    if form == "logfmt":
        pairs = dict(_pairs(text))
        return Record(line, pairs) if pairs else None
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return Record(line, dict(_flat(cast("dict[str, Any]", value), ""))) if isinstance(value, dict) else None


def records(lines: Iterable[Line], since: float = 0.0, form: str = "json") -> list[Record]:
    """Return the records among the lines that were received since a monotonic time."""
    found = (parse_record(line, form) for line in lines if line.at >= since)
    return [record for record in found if record is not None]


def _flat(value: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, entry in value.items():
        if len(prefix) + len(key) > _LONGEST_NAME:
            continue
        name = f"{prefix}{key}".lower()
        yield name, entry
        if isinstance(entry, dict):
            yield from _flat(cast("dict[str, Any]", entry), f"{name}.")


def _pairs(text: str) -> Iterator[tuple[str, Any]]:
    """Read ``level=info msg="a b" status=200``; a line with anything else in it has no pairs at all."""
    at, found = 0, list[tuple[str, Any]]()
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            return
        name, quoted, plain = match.groups()
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        found.append((name.lower(), int(value) if re.fullmatch(r"[0-9]{1,15}", value) else value))
        at = match.end()
    yield from found
