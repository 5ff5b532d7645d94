"""Fixtures for every test."""

import os
import signal

import pytest

# A developer's own settings must not decide what a test sees.
for _name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
    del os.environ[_name]

# Run by nohup or a script's "&", the services that tests start would ignore what the tests send them. A
# signal that is handled, by doing nothing, goes back to its default in a process that is started.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGCHLD):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL if _signal == signal.SIGCHLD else lambda number, frame: None)


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio: what uvicorn, granian and hypercorn run."""
    return "asyncio"
