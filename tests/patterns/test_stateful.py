"""Units of work, repositories and idempotency against a model."""

from .stateful import compare


def test_model() -> None:
    """They do what a model in memory does, in any order of steps."""
    compare(examples=15, steps=20, same_each_time=True)
