"""What a logger warns of, whatever a framework makes of the root logger."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("warnings_of",)


@contextmanager
def warnings_of(name: str) -> Iterator[list[str]]:
    """Collect the messages of a logger from ``warning`` upwards."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
