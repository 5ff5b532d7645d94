"""How much room the files take that the workers of a service share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import metrics
from ..limiter import shared

if TYPE_CHECKING:
    from ...settings import Settings

__all__ = ("shared_bytes",)

_GENERATIONS = 2
"""While a reload is under way, old and new workers count side by side."""
_OWN_METRICS = 1 << 20
"""Bytes that an app's own metrics get in each worker: the size of prometheus_client's smallest file."""


def shared_bytes(settings: Settings, workers: int) -> int:
    """Return the bytes that so many workers write: limits, metrics, and the app's own metrics."""
    each = metrics.bytes_for(settings.metrics_series) + _OWN_METRICS
    return shared.bytes_for(settings.rate_limit_keys) + workers * _GENERATIONS * each
