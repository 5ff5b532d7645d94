"""Units of work, repositories and idempotency against a model."""

import pytest

from .stateful import compare


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_model(request: pytest.FixtureRequest, kind: str) -> None:
    """They do what a model in memory does, in any order of steps, on each kind of database."""
    server = request.getfixturevalue("postgres").url if kind == "postgres" else ""
    compare(examples=15, steps=20, same_each_time=True, server=server)
