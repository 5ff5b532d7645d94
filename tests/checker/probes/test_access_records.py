"""The access records of well-known loggers and servers, as they write them when nobody has set them up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.response import Head
from roadworthy.checker.http.wire import Answer, Ending
from roadworthy.checker.probes.logging.traffic import Sent, access_lines, is_split
from roadworthy.checker.read.records import parse_record
from roadworthy.checker.service.process import Line

_PATH = "/rw-0f3c9a"
_REQUEST = Request("GET", f"{_PATH}?page=2", Address("127.0.0.1", 1))
_SENT = Sent("rw-0f3c9a", Answer(_REQUEST, Ending.COMPLETE, Head("1.1", 404, "", (), b"")))
_CLF = f'127.0.0.1 - - [30/Nov/2026:20:00:00 +0000] "GET {_PATH}?page=2 HTTP/1.1" 404'
_MOMENT = "2026-11-30T20:00:00.000Z"

_TEXTS = {
    "nginx, Apache": f'{_CLF} 153 "-" "curl/8.5.0"',
    "Tomcat": f"{_CLF} 153",
    "Traefik": f'{_CLF} 19 "-" "-" 1 "-" "-" 0ms',
    "Envoy": f'[{_MOMENT}] "GET {_PATH} HTTP/1.1" 404 - 0 5 1 0 "-" "curl" "7f1c" "localhost" "10.0.0.1:80"',
    "uvicorn": f'INFO:     127.0.0.1:50000 - "GET {_PATH} HTTP/1.1" 404 Not Found',
    "uvicorn on a terminal": (
        f'\x1b[32mINFO\x1b[0m:     127.0.0.1:5 - "\x1b[1mGET {_PATH} HTTP/1.1\x1b[0m" '
        "\x1b[31m404 Not Found\x1b[0m"
    ),
    "hypercorn": f"[2026-11-30 20:00:00 +0000] [7] [INFO] 127.0.0.1:5 - - [30/Nov] GET {_PATH} 1.1 404 5 1",
    "gunicorn": f'{_CLF} 179 "-" "curl/8.5.0"',
    "werkzeug": f"{_CLF} -",
    "runserver": f'[30/Nov/2026 20:00:00] "GET {_PATH} HTTP/1.1" 404 179',
    "morgan": f"\x1b[0mGET {_PATH} \x1b[33m404\x1b[0m 1.234 ms - 5\x1b[0m",
    "koa-logger": f"  \x1b[90m-->\x1b[39m \x1b[1mGET\x1b[22m \x1b[90m{_PATH}\x1b[39m \x1b[33m404\x1b[39m 2ms",
    "gin": f'[GIN] 2026/11/30 - 20:00:00 | 404 |       1.2µs |       127.0.0.1 | GET      "{_PATH}"',
    "echo": f'time="{_MOMENT}" method=GET uri={_PATH} status=404 latency=1ms',
    "chi": f'2026/11/30 20:00:00 "GET http://localhost{_PATH} HTTP/1.1" from 127.0.0.1:5 - 404 19B in 1.2µs',
    "lograge": f"method=GET path={_PATH} format=html controller=Items action=show status=404 duration=1.23",
    "Serilog": f"[20:00:00 INF] HTTP GET {_PATH} responded 404 in 1.2345 ms",
    "ASP.NET": f"      Request finished HTTP/1.1 GET http://localhost:5000{_PATH} - 404 0 - 2.1ms",
    "Caddy on a terminal": (
        f'2026/11/30 20:00:00.000\tINFO\thttp.log.access\thandled request\t{{"request": {{"method": "GET", '
        f'"uri": "{_PATH}"}}, "duration": 0.0001, "status": 404}}'
    ),
}

_OBJECTS: dict[str, dict[str, Any]] = {
    "pino-http": {
        "level": 30,
        "time": 1796068800000,
        "req": {"id": 1, "method": "GET", "url": _PATH, "headers": {}},
        "res": {"statusCode": 404, "headers": {}},
        "responseTime": 3,
        "msg": "request completed",
    },
    "express-winston": {
        "level": "info",
        "message": f"HTTP GET {_PATH}",
        "meta": {"req": {"url": _PATH, "method": "GET"}, "res": {"statusCode": 404}, "responseTime": 3},
    },
    "bunyan": {
        "name": "app",
        "level": 30,
        "req": {"method": "GET", "url": _PATH},
        "res": {"statusCode": 404},
        "latency": 3,
        "msg": "handled: 404",
        "time": _MOMENT,
    },
    "zap": {
        "level": "info",
        "ts": 1796068800.1,
        "status": 404,
        "method": "GET",
        "path": _PATH,
        "latency": 0.001,
    },
    "zerolog": {
        "level": "info",
        "method": "GET",
        "url": _PATH,
        "status": 404,
        "duration": 0.1,
        "time": _MOMENT,
    },
    "slog-http": {
        "time": _MOMENT,
        "level": "WARN",
        "msg": "404: Not Found",
        "request": {"method": "GET", "path": _PATH},
        "response": {"latency": 1000, "status": 404},
        "id": "7f1c",
    },
    "logback-access": {
        "@timestamp": _MOMENT,
        "method": "GET",
        "requested_uri": _PATH,
        "status_code": 404,
        "elapsed_time": 3,
    },
    "log4j": {"instant": {"epochSecond": 1796068800}, "level": "INFO", "message": f"GET {_PATH} 404 3ms"},
    "Elastic": {
        "@timestamp": _MOMENT,
        "log.level": "INFO",
        "http": {"request": {"method": "GET"}, "response": {"status_code": 404}},
        "url": {"path": _PATH},
        "event": {"duration": 3000000},
    },
    "Serilog": {
        "@t": _MOMENT,
        "@mt": "HTTP {RequestMethod} {RequestPath} responded {StatusCode} in {Elapsed:0.0000} ms",
        "RequestMethod": "GET",
        "RequestPath": _PATH,
        "StatusCode": 404,
        "Elapsed": 1.2,
    },
    "Serilog, wrapped": {
        "Timestamp": _MOMENT,
        "Level": "Information",
        "Properties": {"RequestMethod": "GET", "RequestPath": _PATH, "StatusCode": 404, "Elapsed": 1.2},
    },
    "Caddy": {
        "level": "info",
        "ts": 1796068800.1,
        "request": {"method": "GET", "host": "localhost", "uri": _PATH},
        "duration": 0.001,
        "status": 404,
    },
    "nginx": {"time": _MOMENT, "request": f"GET {_PATH} HTTP/1.1", "status": "404", "request_time": "0.001"},
    "nginx, apart": {"time": _MOMENT, "request_method": "GET", "request_uri": _PATH, "status": "404"},
    "Envoy": {"start_time": _MOMENT, "method": "GET", "path": _PATH, "response_code": 404, "duration": 1},
    "Traefik": {"RequestMethod": "GET", "RequestPath": _PATH, "DownstreamStatus": 404, "Duration": 1000},
}


def _lines(*texts: str) -> list[Line]:
    return [Line(1.0, "stdout", text) for text in texts]


@pytest.mark.parametrize("name", _TEXTS)
def test_a_line_is_known(name: str) -> None:
    """What a server writes for people, coloured or not, is the one record of its request."""
    lines = _lines("starting", _TEXTS[name], _TEXTS[name].replace("rw-0f3c9a", "rw-another"))
    assert access_lines(lines, _SENT) == lines[1:2]


@pytest.mark.parametrize("name", _OBJECTS)
def test_an_object_is_known(name: str) -> None:
    """What a logger writes for machines is the one record of its request."""
    text = json.dumps(_OBJECTS[name])
    lines = _lines("{}", text, text.replace("rw-0f3c9a", "rw-another"))
    assert access_lines(lines, _SENT) == lines[1:2]


@pytest.mark.parametrize("name", sorted(set(_OBJECTS) - {"log4j", "nginx"}))
def test_its_fields_are_known(name: str) -> None:
    """Method, path and status are found under the names that the logger gives them."""
    record = parse_record(_lines(json.dumps(_OBJECTS[name]))[0])
    assert record is not None
    assert (record.get("method"), record.get("path"), str(record.get("status"))) == ("GET", _PATH, "404")


def test_arrival_and_answer_are_joined_by_the_id() -> None:
    """Where the record of the answer has only an id, it is that of the request which arrived with it."""
    arrived = {"reqId": "req-1", "req": {"method": "GET", "url": _PATH}, "msg": "incoming request"}
    answered = {"reqId": "req-1", "res": {"statusCode": 404}, "responseTime": 2.3, "msg": "request completed"}
    another = {**answered, "reqId": "req-10"}
    lines = _lines(*(json.dumps(one) for one in (arrived, another, answered)))
    assert access_lines(lines, _SENT) == lines[2:]


@pytest.mark.parametrize(
    ("texts", "split"),
    [
        (("{", f'  "path": "{_PATH}",', '  "method": "GET",', '  "status": 404', "}"), True),
        ((f"[info] GET {_PATH}", "[info] Sent 404 in 1ms"), True),
        ((f"looking for {_PATH}", "nothing"), False),
        (("started",), False),
    ],
)
def test_a_record_over_several_lines_is_told_from_none(texts: tuple[str, ...], split: bool) -> None:
    """A record that is printed for people is there; it is just not one line."""
    lines = _lines(*texts)
    assert access_lines(lines, _SENT) == []
    assert is_split(lines, _SENT) is split
