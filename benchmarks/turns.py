"""Loading several servers by turns, so that what disturbs the machine disturbs them all alike."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path

from .load import Measured, Server, load, serving

__all__ = ("Case", "by_turns")

PATH = "/api/users/1"
"""What every peer answers: one user, from memory."""
_SLICE_SECONDS = 1  # the least that wrk takes
_STOLEN = 0.02
"""Of a slice that is kept. What shares the core with another guest also shares its caches with it."""
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Case:
    """A server to load.

    Parameters:
        by: what serves it (:func:`.load.serving`).
        workers: processes that serve.
        environment: variables for the server.
        one_serves: stop the last of them while it is loaded.
        source: the folder to import ``roadworthy`` from; this tree's own by default.
    """

    app: str
    by: str = "uvicorn"
    workers: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    one_serves: bool = False
    source: Path | None = None


def by_turns(cases: dict[str, Case], rounds: int, seconds: float) -> dict[str, list[Measured]]:
    """Start the cases anew for each round and load them by turns, a slice of time each.

    Parameters:
        seconds: the sum of the slices that each case gets in a round.

    Returns:
        The rounds of each case.

    A slow spell of the machine is longer than a slice, so it hits all cases of a round alike. With
    whole rounds by turns, one case's cost varied from 34 to 59 µs and hid what was to be measured.
    """
    seen: dict[str, list[Measured]] = {name: [] for name in cases}
    slices = max(1, round(seconds / _SLICE_SECONDS))
    for turn in range(rounds):
        with ExitStack() as started:
            servers = {
                name: started.enter_context(
                    serving(case.app, PATH, case.by, case.workers, case.source, **case.environment)
                )
                for name, case in cases.items()
            }
            for server in servers.values():
                load(server, PATH, 1)  # warm-up
            order = list(servers.items())
            parts: dict[str, list[Measured]] = {name: [] for name in cases}
            for number in range(slices):
                for name, server in reversed(order) if (turn + number) % 2 else order:
                    parts[name].append(_slice(server, one_serves=cases[name].one_serves))
            for name, measured in parts.items():
                seen[name].append(reduce(add, measured))
    return seen


def _slice(server: Server, *, one_serves: bool) -> Measured:
    """Load a server until the machine's host left its core alone meanwhile; a few times at most."""
    for _ in range(_TRIES):
        with server.last_worker_stopped() if one_serves else nullcontext():
            measured = load(server, PATH, _SLICE_SECONDS)
        if measured.stolen_seconds <= _STOLEN * measured.seconds:
            break
    return measured
