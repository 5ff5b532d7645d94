"""Graceful shutdown: states go forwards, and everybody who has to know is told."""

import asyncio

import pytest

from roadworthy import Settings
from roadworthy.layer.graceful_shutdown import GracefulShutdown, State
from tests.layer.conftest import make_exchange
from tests.patience import DEADLINE

pytestmark = pytest.mark.anyio


async def test_states_only_go_forwards() -> None:
    """A late "serving" after a SIGTERM during start-up does not make the process ready again."""
    item = GracefulShutdown(Settings())
    seen: list[State] = []
    item.on_change(seen.append)
    item.begin_drain()
    item.serving()
    item.begin_drain()
    item.begin_close()
    assert seen == ["draining", "closing"]


async def test_a_handler_can_wait_for_the_drain() -> None:
    """wait_for_drain returns when draining begins, and at once afterwards (sysid/sse-starlette#73)."""
    item = GracefulShutdown(Settings())
    item.serving()
    waiting = asyncio.ensure_future(item.wait_for_drain())
    await asyncio.sleep(0)
    assert not waiting.done()
    item.begin_drain()
    async with asyncio.timeout(DEADLINE):
        await waiting
        await item.wait_for_drain()


@pytest.mark.parametrize(("version", "told"), [("1.1", True), ("1.0", True), ("2", False)])
async def test_connection_close_is_an_http_1_field(version: str, told: bool) -> None:
    """HTTP/2 has no Connection field (RFC 9113 §8.2.2)."""
    item = GracefulShutdown(Settings())
    item.serving()
    item.begin_drain()
    exchange = make_exchange(http_version=version)
    item.respond(exchange)
    assert ((b"connection", b"close") in exchange.response_headers) is told
