"""What a service opens before its first request, and what such a thing can report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

__all__ = ("PoolStats", "Resource", "Watch", "WithMetrics", "WithPrepare", "WithStats")


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Connections of a pool.

    Parameters:
        size: open ones.
        in_use: those that work for a request.
        waiting: tasks that wait for one, None where the pool does not report it.
        max: most there can be, None for no limit.
    """

    size: int
    in_use: int
    waiting: int | None = None
    max: int | None = None


@runtime_checkable
class Resource(Protocol):
    """Something that is opened before the first request and closed after the last."""

    @property
    def name(self) -> str:
        """A short name for records, metrics and health; never an address."""
        ...

    async def start(self) -> None:
        """Open it."""

    async def ping(self) -> None:
        """Raise unless it works, going the way that requests go."""

    async def stop(self) -> None:
        """Close it."""


@runtime_checkable
class WithStats(Protocol):
    """A resource that counts its connections."""

    def stats(self) -> PoolStats | None:
        """Return the numbers of this moment, None where there are none."""
        ...


@runtime_checkable
class WithPrepare(Protocol):
    """A resource with work to do once per start of the service, such as migrations."""

    async def prepare(self) -> None:
        """Do it; before any worker opens the resource, and safe when repeated."""
        ...


class Watch(Protocol):
    """What puts a number into the metrics."""

    def __call__(
        self,
        name: str,
        help_text: str,
        read: Callable[[], float],
        *,
        kind: Literal["counter", "gauge"] = ...,
        labels: Mapping[str, str] | None = ...,
    ) -> None:
        """Read the number for every scrape."""
        ...


@runtime_checkable
class WithMetrics(Protocol):
    """A resource that is no pool of connections and has numbers of its own."""

    def report_to(self, watch: Watch) -> None:
        """Put them into the metrics; once, before the first request."""
