"""What a service under check may send: each reader takes it for what it is, and stops if there is no end."""

from __future__ import annotations

import pytest

from roadworthy.checker.bench.json_example import example
from roadworthy.checker.http.response import ResponseParser
from roadworthy.checker.read.leaks import internals
from roadworthy.checker.read.masking import Masker
from roadworthy.checker.read.openapi import OpenApi
from roadworthy.checker.read.records import parse_record
from roadworthy.checker.service.process import Line
from roadworthy.checker.store.postgres import has_commit

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 200, "interim"),
        (_CHUNKED + b"a: b\r\n" * 200_000, "trailers"),
        (_CHUNKED + b"a" * (2 << 20), "trailers"),
    ],
)
def test_an_endless_answer_is_malformed(data: bytes, problem: str) -> None:
    """A number of 5,000 digits, and parts without end, are named instead of being read on."""
    parser = ResponseParser("GET")
    for at in range(0, len(data), 65_536):
        parser.feed(data[at : at + 65_536])
    assert problem in (parser.malformed or "")


def test_trailers_are_kept() -> None:
    """The trailers of a response are there as they came."""
    parser = ResponseParser("GET")
    parser.feed(_CHUNKED + b"a: b\r\nc: d\r\n\r\n")
    assert parser.done
    assert parser.trailers == b"a: b\r\nc: d\r\n"


@pytest.mark.parametrize(
    ("template", "path", "fits"),
    [
        ("/users/{id}", "/users/7", True),
        ("/users/{id}", "/users/", False),
        ("/users/{id}", "/users/7/posts", False),
        ("/files/{name}.{kind}", "/files/a.b.c", True),
        ("/files/{name}.{kind}", "/files/.c", False),
        ("/files/{name}.{kind}", "/files/a.", False),
        ("/{a}{b}", "/xy", True),
        ("/{a}{b}", "/x", False),
        ("/v{n}/x", "/v12/x", True),
        ("/v{n}/x", "/w12/x", False),
        ("/" + "{a}-" * 40 + "{b}", "/" + "a-" * 40 + "a", True),
        ("/" + "{a}-" * 40 + "{b}", "/" + "a-" * 39 + "a", False),
    ],
)
def test_a_path_fits_its_template(template: str, path: str, fits: bool) -> None:
    """Each parameter is one character or more of one part of the path, however many there are."""
    assert OpenApi({"paths": {template: {"get": {}}}}).methods(path) == ({"GET"} if fits else set())


def test_an_example_is_no_larger_than_a_service_takes() -> None:
    """A document that asks for a thousand million items, or nests them without end, gets an example."""
    document = OpenApi(
        {"components": {"schemas": {"Tree": {"anyOf": [{"$ref": "#/components/schemas/Tree"}]}}}}
    )
    text = {"type": "string", "minLength": 10**12, "maxLength": "many"}
    made = example(document, {"type": "array", "minItems": 10**9, "items": text})
    assert 1 <= len(made) <= 100
    assert len(made[0]) <= 1 << 20
    example(document, {"$ref": "#/components/schemas/Tree"})


@pytest.mark.parametrize(
    ("statement", "commits"),
    [
        (b"COMMIT", True),
        (b"/* a */ commit;", True),
        (b"/* a; */ -- x\n", False),
        (b"INSERT INTO a VALUES ('/*'); COMMIT", True),
        (b"UPDATE a SET b = 1; /* one *//* two */ commit", True),
        (b"SELECT 'commit'", False),
        (b"/* commit */ SELECT 1", False),
        (b"COMMITMENT", False),
    ],
)
def test_a_commit_is_found_behind_comments(statement: bytes, commits: bool) -> None:
    """A statement is a COMMIT whatever tools put in front of it."""
    assert has_commit(statement) is commits


def test_beginnings_of_a_secret_are_masked_wherever_they_stand() -> None:
    """A service that sends a secret back in parts, again and again, gets none of them into a report."""
    masker = Masker()
    secret = masker.canary("env")
    text = masker.text(f"{secret[:20]}! {secret}{secret[:12]} {secret[:13]}x" * 50)
    assert secret[:12] not in text
    assert text.count("[canary: env]") == 200
    assert text.startswith("[canary: env]! [canary: env][canary: env] [canary: env]x")


def test_names_of_nested_records_are_bounded() -> None:
    """Members of an object with an endless name have no place in a record; all else has."""
    record = parse_record(
        Line(0.0, "stdout", '{"level": "info", "' + "a" * 10_000 + '": {"b": 1}, "c": {"d": 2}}')
    )
    assert record is not None
    assert record.fields == {"level": "info", "c": {"d": 2}, "c.d": 2}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Error: x\n    at run (/a/b.js:10:5)", True),
        ("\\n at file:///C:/a.js:1:2", True),
        ("\n at C:\\dir\\a.js:1:2", True),
        ("look\n at noon: 12", False),
    ],
)
def test_a_javascript_stack_is_recognized(text: str, found: bool) -> None:
    """A place in a script ends with line and column, on lines of its own and inside JSON."""
    assert ("a JavaScript stack" in internals(text)) is found


@pytest.mark.parametrize(
    "found", ["SELECT a FROM b", "x (SELECT a, (SELECT c\nFROM d)", "UPDATE a  SET b", "INSERT INTO x"]
)
def test_an_sql_statement_is_recognized(found: str) -> None:
    """A statement may go over lines and hold others."""
    assert "an SQL statement" in internals(found)
