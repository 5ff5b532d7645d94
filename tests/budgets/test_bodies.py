"""A JSON body costs what reading it costs: CPU and memory, whatever the client makes of its bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
from pydantic_core import from_json

from roadworthy import Settings
from roadworthy.layer.request_validation import RequestValidation
from tests.layer.conftest import make_exchange

from .inputs import Make, json_bodies, refused_bodies
from .measure import cost, growth, peak, quick, translated, without_collections

pytestmark = pytest.mark.long

SETTINGS = Settings()
LIMIT = SETTINGS.body_limit
ITEM = RequestValidation(SETTINGS)
# Memory is traced at an eighth of the limit, with an eighth of the allowance of 1 MiB: tracing is slow.
MEMORY_AT = 128 << 10
EXCHANGE = make_exchange("POST")

# The whole judgement is to cost no more than json.loads of the same bytes. Where the parser in C that has to
# read them is itself slower than json.loads (short texts beyond ASCII, escapes, integers of 19 digits: 1.2 to
# 3 times), or json.loads is little more than a copy (one long text), the bound is that one pass and the scans
# of the bytes before and behind it.
PASS, SCANS = 1.5, 14
# A refusal that names the place reads what stands before it a second time, and for a name a third time.
PASSES_OF_A_REFUSAL = 3.5


def _judge(body: bytes) -> object:
    return ITEM.judge(EXCHANGE, body)


def _readable(body: bytes) -> bytes:
    """Return the body as json.loads takes it, which takes every fault but one of syntax."""
    return body.replace(b",x]", b",0]")


def _parse(body: bytes) -> object:
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return None


def _over(body: bytes, readable: bytes, passes: float) -> float:
    """Return the cost as a part of its bound: of one run where that is clearly within, else of the best."""
    found = float("inf")
    for measured in (quick, cost, cost, cost):
        judged = measured(lambda: _judge(body))
        bound = max(
            measured(lambda: json.loads(readable)),
            passes * measured(lambda: _parse(body)) + SCANS * translated(body),
        )
        found = min(found, judged / bound)
        if found <= (0.8 if measured is quick else 1):
            break
    return found


def _own_memory(body: bytes, readable: bytes) -> int:
    return peak(lambda: _judge(body)) - peak(lambda: json.loads(readable))


@pytest.mark.parametrize(("name", "make"), [pytest.param(*one, id=one[0]) for one in json_bodies()])
def test_a_body_costs_no_more_than_reading_it(name: str, make: Make) -> None:
    """At the limit of a body: CPU within one reading; and our own memory within five times the body."""
    body, small = make(LIMIT - 16)[:LIMIT], make(MEMORY_AT)
    assert _judge(body) is None, name
    with without_collections():
        assert _over(body, body, PASS) <= 1
        assert _own_memory(small, small) <= 4 * len(small) + MEMORY_AT


def _cheaply_refused(name: str, make: Make) -> None:
    body, small = make(LIMIT - 1024), make(MEMORY_AT)
    assert _judge(body) is not None, name
    with without_collections():
        assert _over(body, _readable(body), PASSES_OF_A_REFUSAL) <= 1, name
        assert _own_memory(small, _readable(small)) <= 4 * len(small) + MEMORY_AT, name


# Of the table of elements and faults, each of both once: the whole of it takes a minute.
@pytest.mark.parametrize(
    ("name", "make"), [pytest.param(*one, id=one[0]) for one in list(refused_bodies())[::8]]
)
def test_a_refused_body_costs_no_more_than_reading_it(name: str, make: Make) -> None:
    """A fault at the very end is found, with its place, within a few passes and without a tree of ours."""
    _cheaply_refused(name, make)


@pytest.mark.proof
def test_every_fault_behind_every_element(record_property: Callable[[str, object], None]) -> None:
    """The same of every fault behind every element."""
    table = list(refused_bodies())
    for name, make in table:
        _cheaply_refused(name, make)
    record_property("bodies", len(table))


@pytest.mark.parametrize(("name", "make"), [pytest.param(*one, id=one[0]) for one in json_bodies()])
def test_twice_the_body_costs_twice(name: str, make: Make) -> None:
    """No part of the judgement grows faster than the body."""
    grown = []
    with without_collections():
        # The larger pair decides where the smaller one has met a step of the allocator or of a cache.
        for part in (8, 2):
            small, large = make(LIMIT // part), make(2 * LIMIT // part)
            grown.append(growth(partial(_judge, small), partial(_judge, large), 2.5))
            if grown[-1] <= 2.5:
                break
    assert min(grown) <= 2.5, name
