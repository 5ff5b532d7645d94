"""Fixtures for every test."""

import os

import pytest

# A developer's own settings must not decide what a test sees.
for _name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
    del os.environ[_name]


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio: what uvicorn, granian and hypercorn run."""
    return "asyncio"
