"""Request ids: the client's is kept when it is harmless, made otherwise, and the same everywhere."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.layer.request_id import RequestId
from roadworthy.settings import Settings
from tests.patience import DEADLINE

from .conftest import MakeExchange, make_exchange

_item = RequestId(Settings(_env_file=None))
_MADE = re.compile("[0-9a-f]{32}")


def admitted(value: bytes) -> str:
    """Give the id of an exchange that came with this ``X-Request-Id``."""
    exchange = make_exchange(headers=[(b"x-request-id", value)])
    _item.admit(exchange)
    return exchange.request_id


@pytest.mark.parametrize(
    "value",
    ["a", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "Az09._-", "x" * 128, "0af7651916cd43dd8448eb211c80319c"],
)
def test_a_well_formed_id_is_kept(value: str) -> None:
    """The client's own id goes on to the response and the records."""
    assert admitted(value.encode()) == value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x" * 129,
        b"x" * 10_000,
        b"<script>alert(1)</script>",
        b'{"level":"info"}',
        b"a b",
        b"a\r\nlevel: forged",
        b"a\x1b[31m",
        b"a\x00",
        "\u202eid".encode(),
        b"\xff\xfe",
        b"one, two",
        b'a"b',
        b"%0aforged",
    ],
)
def test_an_id_that_could_forge_is_replaced(value: bytes) -> None:
    """Inbound ids are an injection vector (Fastify's documentation: no validation on requestIdHeader)."""
    assert _MADE.fullmatch(admitted(value))


@given(st.binary(max_size=200))
def test_an_id_is_always_harmless(value: bytes) -> None:
    """Whatever comes in, the id is 1 to 128 letters, digits, dots, underscores and hyphens."""
    assert re.fullmatch("[A-Za-z0-9._-]{1,128}", admitted(value))


def test_made_ids_differ(exchange: MakeExchange) -> None:
    """Each exchange without an id gets one that no other has."""
    made: set[str] = set()
    for _ in range(10_000):
        one = exchange()
        _item.admit(one)
        made.add(one.request_id)
    assert len(made) == 10_000
    assert all(_MADE.fullmatch(one) for one in made)


def test_forked_workers_make_different_ids() -> None:
    """Processes forked from one parent do not continue its sequence of ids."""
    script = """
import os, sys
from roadworthy.layer.exchange import Exchange
from roadworthy.layer.request_id import RequestId
from roadworthy.settings import Settings
item = RequestId(Settings(_env_file=None))
def show():
    for _ in range(100):
        exchange = Exchange.of_refusal("")
        exchange.headers = {}
        item.admit(exchange)
        os.write(1, exchange.request_id.encode() + b"\\n")
for _ in range(3):
    if os.fork() == 0:
        show()
        os._exit(0)
    os.wait()
show()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=DEADLINE, check=True)
    lines = done.stdout.split()
    assert len(lines) == len(set(lines)) == 400


def test_the_response_carries_the_id(exchange: MakeExchange) -> None:
    """The id that records have stands on the response, whatever its status (snok/asgi-correlation-id#19)."""
    one = exchange(status=500)
    _item.admit(one)
    _item.respond(one)
    assert one.response_headers == [(b"x-request-id", one.request_id.encode())]


def test_an_id_of_the_app_stays(exchange: MakeExchange) -> None:
    """An app that sets the field itself keeps its value, once."""
    one = exchange(response_headers=[(b"X-Request-Id", b"mine")])
    _item.admit(one)
    _item.respond(one)
    assert one.response_headers == [(b"X-Request-Id", b"mine")]
