"""Puts this folder on the import path of its tests, as `roadworthy run` does for the service."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio, as the service runs."""
    return "asyncio"
