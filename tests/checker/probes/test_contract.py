"""What the probes of the patterns read from answers: ids, codes, and the entries for single fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.response import Head
from roadworthy.checker.http.wire import Answer, Ending
from roadworthy.checker.probes.shared.contract import code_of, entries_of, missing, pointer_of, raw_id
from roadworthy.checker.probes.shared.failures import ABANDONED


def answer(body: object, *fields: tuple[str, str]) -> Answer:
    """Return an answer with this JSON."""
    request = Request("GET", "/", Address("127.0.0.1", 1))
    head = Head("HTTP/1.1", 422, "", fields, b"")
    return Answer(request, Ending.COMPLETE, head, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"code": "TAKEN", "errors": [{"pointer": "/email"}]},
        {"error": {"code": "TAKEN", "details": {"errors": [{"pointer": "/email"}]}}},
        {"error": {"code": "TAKEN", "details": [{"field": "email"}]}},
        {"code": "TAKEN", "details": [{"loc": ["body", "email"]}]},
    ],
)
def test_both_shapes_of_errors_are_read(body: dict[str, Any]) -> None:
    """Problem details and the envelope give the same code and the same field."""
    assert code_of(answer(body)) == "TAKEN"
    assert [pointer_of(entry) for entry in entries_of(answer(body))] == ["/email"]


@pytest.mark.parametrize(
    "body", [None, [], {"code": 7}, {"error": "no"}, {"errors": "none"}, {"error": None}]
)
def test_what_is_no_error_shape_gives_nothing(body: object) -> None:
    """Whatever a service answers, there is no code and no entry, and nothing raises."""
    assert (code_of(answer(body)), entries_of(answer(body))) == ("", [])


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({"pointer": "#/ids/1"}, "/ids/1"),
        ({"path": "user.name"}, "/user/name"),
        ({"loc": ["body", "ids", 1]}, "/ids/1"),
        ({"message": "wrong"}, ""),
    ],
)
def test_fields_are_named_in_one_way(entry: dict[str, Any], pointer: str) -> None:
    """Pointers, dotted names and lists of parts all become a pointer."""
    assert pointer_of(entry) == pointer


def test_an_id_keeps_its_type() -> None:
    """An id is taken from the body as JSON has it, else from the end of Location."""
    assert raw_id(answer({"id": 7})) == 7
    assert raw_id(answer({"data": {"key": "x1"}}), "$.data.key") == "x1"
    assert raw_id(answer({}, ("Location", "/api/users/12"))) == 12
    assert raw_id(answer(None, ("Location", "/api/users/ab/"))) == "ab"


@pytest.mark.parametrize("known", [5, "17", "0f8fad5b-d9cb-469f-a165-70867728950e", "k3jd9s02"])
def test_what_is_missing_looks_like_what_is_there(known: object) -> None:
    """An id that nothing has is of the same kind as a known one, and another each time."""
    made = {missing(known) for _ in range(5)}
    assert len(made) == 5
    assert all(type(one) is type(known) and one != known for one in made)
    assert all(str(one).isdecimal() == str(known).isdecimal() for one in made)


@pytest.mark.parametrize(
    ("text", "abandoned"),
    [
        ("Task exception was never retrieved", True),
        ("RuntimeWarning: coroutine 'f' was never awaited", True),
        ("Unhandled promise rejection (rejection id: 1)", True),
        ("[UnhandledPromiseRejection: ...]", True),
        ("goroutine 18 [running]:", True),
        ('{"level": "error", "message": "request", "status": 500}', False),
    ],
)
def test_failures_without_an_owner_are_known(text: str, abandoned: bool) -> None:
    """The words of asyncio, Node.js and Go for a failure that nobody waited for."""
    assert bool(ABANDONED.search(text)) is abandoned
