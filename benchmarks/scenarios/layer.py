"""What the layer costs on a bare ASGI app, and what it saves on a FastAPI one."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from statistics import median
from typing import Any

from ..load import Measured, Server, load, serving

__all__ = ("cost", "cost_of_workers", "equipped")

USER = "/api/users/1"


# No limit that refuses: the load comes from one address. The rest is on.
_EVERYTHING = {
    "ROADWORTHY_RATE_LIMIT": "100000000/second",
    "ROADWORTHY_CORS_ORIGINS": "https://app.example",
    "ROADWORTHY_LOG_FORMAT": "json",
}
_BARE = "benchmarks.peers.bare_asgi.app"
_SLICE_SECONDS = 1  # the least that wrk takes
_STOLEN = 0.02
"""Of a slice that is kept. What shares the core with another guest also shares its caches with it."""
_TRIES = 10


@dataclass(frozen=True, slots=True)
class _Case:
    app: str
    by: str = "uvicorn"
    workers: int = 1
    environment: dict[str, str] = field(default_factory=dict)


def _rounds(cases: dict[str, _Case], rounds: int, seconds: float) -> dict[str, list[Measured]]:
    """Start the cases anew for each round and load them by turns, a slice of time each.

    A slow spell of the machine is longer than a slice, so it hits all cases of a round alike. With
    whole rounds by turns, one case's cost varied from 34 to 59 µs and hid what was to be measured.
    """
    seen: dict[str, list[Measured]] = {name: [] for name in cases}
    slices = max(1, round(seconds / _SLICE_SECONDS))
    for _ in range(rounds):
        with ExitStack() as started:
            servers = {
                name: started.enter_context(
                    serving(case.app, USER, case.by, case.workers, **case.environment)
                )
                for name, case in cases.items()
            }
            for server in servers.values():
                load(server, USER, 1)  # warm-up
            order = list(servers.items())
            parts: dict[str, list[Measured]] = {name: [] for name in cases}
            for number in range(slices):
                for name, server in reversed(order) if number % 2 else order:
                    parts[name].append(_slice(server, several=cases[name].workers > 1))
            for name, measured in parts.items():
                seen[name].append(reduce(add, measured))
    return seen


def _slice(server: Server, *, several: bool) -> Measured:
    """Load a server until the machine's host left its core alone meanwhile; a few times at most."""
    for _ in range(_TRIES):
        with server.last_worker_stopped() if several else nullcontext():
            measured = load(server, USER, _SLICE_SECONDS)
        if measured.stolen_seconds <= _STOLEN * measured.seconds:
            break
    return measured


def _added(cases: dict[str, _Case], rounds: int, seconds: float) -> dict[str, Any]:
    """Compare the CPU of the other cases with that of ``bare``, by the medians and by the best rounds."""
    seen = _rounds(cases, rounds, seconds)
    cpu = {name: median(one.cpu_us for one in measured) for name, measured in seen.items()}
    # What else uses the machine's caches only ever adds, so the best rounds are told as well.
    least = {name: min(one.cpu_us for one in measured) for name, measured in seen.items()}
    every = [one for measured in seen.values() for one in measured]
    others = [name for name in cases if name != "bare"]
    return {
        "bare_cpu_us": round(cpu["bare"], 1),
        **{f"{name}_added_cpu_us": round(cpu[name] - cpu["bare"], 1) for name in others},
        "least_bare_cpu_us": round(least["bare"], 1),
        **{f"least_{name}_added_cpu_us": round(least[name] - least["bare"], 1) for name in others},
        **{
            f"{name}_per_second": round(median(one.per_second for one in measured))
            for name, measured in seen.items()
        },
        "stolen_percent": round(
            100 * sum(one.stolen_seconds for one in every) / sum(one.seconds for one in every), 1
        ),
        **{
            f"rounds_{name}_cpu_us": [round(one.cpu_us, 1) for one in measured]
            for name, measured in seen.items()
        },
    }


def cost(rounds: int, seconds: float) -> dict[str, Any]:
    """CPU that every item together adds to a bare ASGI app on uvicorn with one worker."""
    cases = {
        "bare": _Case(f"{_BARE}:plain"),
        "layered": _Case(f"{_BARE}:layered"),
        "run": _Case(f"{_BARE}:plain", "roadworthy", environment=_EVERYTHING),
    }
    return _added(cases, rounds, seconds)


def cost_of_workers(rounds: int, seconds: float) -> dict[str, Any]:
    """The same with two workers, whose counts and limits are shared; one of them serves."""
    cases = {
        "bare": _Case(f"{_BARE}:plain", workers=2),
        "run": _Case(f"{_BARE}:plain", "roadworthy", 2, _EVERYTHING),
    }
    return _added(cases, rounds, seconds)


def equipped(rounds: int, seconds: float) -> dict[str, Any]:
    """The same FastAPI route on plain uvicorn: the layer against the usual packages; and `roadworthy run`."""
    seen = _rounds(
        {
            "roadworthy": _Case("benchmarks.peers.fastapi_roadworthy.app:app"),
            "usual": _Case("benchmarks.peers.fastapi_usual.app:app"),
            "run": _Case(
                "benchmarks.peers.fastapi_roadworthy.app:service", "roadworthy", environment=_EVERYTHING
            ),
        },
        rounds,
        seconds,
    )
    rate = {name: median(one.per_second for one in measured) for name, measured in seen.items()}
    return {
        **{f"{name}_per_second": round(value) for name, value in rate.items()},
        "ratio": round(rate["roadworthy"] / rate["usual"], 2),
        "run_ratio": round(rate["run"] / rate["usual"], 2),
        "rounds_ratio": [
            round(a.per_second / b.per_second, 2)
            for a, b in zip(seen["roadworthy"], seen["usual"], strict=True)
        ],
    }
