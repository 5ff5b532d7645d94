"""Warnings of units of work that come once in a process."""

from __future__ import annotations

import logging

__all__ = ("forget", "warn_once")

_logger = logging.getLogger("roadworthy.transactions")
_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Write a warning, unless it was written before."""
    if message not in _warned:
        _warned.add(message)
        _logger.warning(message)


def forget() -> None:
    """Write every warning anew; for tests."""
    _warned.clear()
