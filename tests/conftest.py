"""Fixtures for every test."""

import logging
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.postgres_server import PostgresServer

# A developer's own settings must not decide what a test sees.
for _name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
    del os.environ[_name]
# Without buffers a process that is started ends otherwise where nobody reads what it wrote.
os.environ.pop("PYTHONUNBUFFERED", None)
# Without bytecode on the disk each of the many processes that tests start compiles the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Run by nohup or a script's "&", the services that tests start would ignore what the tests send them. A
# signal that is handled, by doing nothing, goes back to its default in a process that is started.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL if _signal == signal.SIGCHLD else lambda number, frame: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the long modules begin first: one that begins last is waited for by all the others."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio: what uvicorn, granian and hypercorn run."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, which the tests of a process share."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _loggers_are_given_back() -> Iterator[None]:
    """Leave the process's loggers as they were: a service that runs inside a test takes them over."""
    before = [(logger, _state(logger)) for logger in _loggers()]
    yield
    for logger, state in before:
        if _state(logger) != state:
            logger.handlers[:], level, logger.disabled, logger.propagate = state
            logger.setLevel(level)


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(one for one in known if isinstance(one, logging.Logger))]


def _state(logger: logging.Logger) -> tuple[list[logging.Handler], int, bool, bool]:
    return list(logger.handlers), logger.level, logger.disabled, logger.propagate
