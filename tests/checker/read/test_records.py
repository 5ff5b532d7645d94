"""Lines of output as records: what is one, and what its fields mean under whatever name."""

from __future__ import annotations

import json

import pytest

from roadworthy.checker.read.records import parse_record, records
from roadworthy.checker.service.process import Line


def line(text: str, at: float = 1.0) -> Line:
    """Return a line of standard output."""
    return Line(at, "stdout", text)


@pytest.mark.parametrize(
    "text", ["", "started", "[1, 2]", "3", '"a"', "{", '{"a": ', "{} {}", "null", "[" * 5000, '{"a":' * 5000]
)
def test_what_is_no_record(text: str) -> None:
    """Anything but one whole JSON object is no record, and nothing raises."""
    assert parse_record(line(text)) is None


@pytest.mark.parametrize(
    ("told", "name", "value"),
    [
        ({"time": "x"}, "time", "x"),
        ({"@timestamp": "x"}, "time", "x"),
        ({"ts": 1.5}, "time", 1.5),
        ({"severity": "ERROR"}, "level", "ERROR"),
        ({"log": {"level": "warn"}}, "level", "warn"),
        ({"log.level": "warn"}, "level", "warn"),
        ({"msg": "x"}, "message", "x"),
        ({"event": "x"}, "message", "x"),
        ({"req": {"method": "GET", "url": "/a"}}, "method", "GET"),
        ({"req": {"method": "GET", "url": "/a"}}, "path", "/a"),
        ({"http": {"request": {"method": "GET"}, "response": {"status_code": 404}}}, "status", 404),
        ({"res": {"statusCode": 404}, "responseTime": 3}, "status", 404),
        ({"res": {"statusCode": 404}, "responseTime": 3}, "duration", 3),
        ({"duration_ms": 0}, "duration", 0),
        ({"X-Request-Id": "a"}, "request_id", "a"),
        ({"req": {"id": "a"}}, "request_id", "a"),
        ({"exc_info": "Traceback"}, "error", "Traceback"),
        ({"path": None, "url": "/a"}, "path", None),
        ({"other": 1}, "status", None),
    ],
)
def test_fields_by_their_meaning(told: dict[str, object], name: str, value: object) -> None:
    """A field is found under the names that loggers of many stacks give it, nested or joined by dots."""
    record = parse_record(line(json.dumps(told)))
    assert record is not None
    assert record.get(name) == value


@pytest.mark.parametrize(
    ("level", "rank"),
    [
        *(("debug", 10), ("INFO", 20), ("Information", 20), ("notice", 20), ("warn", 30), ("WARNING", 30)),
        *(
            ("error", 40),
            ("SEVERE", 40),
            ("critical", 50),
            ("fatal", 50),
            (10, 10),
            (30, 20),
            (50, 40),
            (60, 50),
        ),
        *(("loud", 0), (35, 0), (None, 0), ("", 0)),
    ],
)
def test_levels_have_an_order(level: object, rank: int) -> None:
    """Names of any spelling and the numbers of pino and bunyan become one scale; what is unknown is 0."""
    record = parse_record(line(json.dumps({"level": level})))
    assert record is not None
    assert record.rank == rank


def test_only_lines_since_then() -> None:
    """Records are those of lines that came at or after a moment; other lines are passed over."""
    lines = [line('{"a": 1}', 1.0), line("text", 2.0), line('{"a": 2}', 2.0), line(' {"a": 3} ', 3.0)]
    assert [record.fields["a"] for record in records(lines, 2.0)] == [2, 3]


def test_logfmt() -> None:
    """Pairs are a record where the manifest declares so: quotes, escapes, numbers, names with dots."""
    record = parse_record(
        line(r'time=2026-01-01T00:00:00Z level=info msg="said \"hi\"" http.status_code=404 took=1.5ms'),
        "logfmt",
    )
    assert record is not None
    assert (record.get("message"), record.get("status"), record.rank) == ('said "hi"', 404, 20)
    assert record.get("duration") == "1.5ms"


@pytest.mark.parametrize("text", ["", "started", "level=info and more", 'msg="open', '{"a": "b=c"}'])
def test_what_is_no_logfmt(text: str) -> None:
    """A line with anything beside pairs is none, so that a stack trace never passes for records."""
    assert parse_record(line(text), "logfmt") is None
