"""What the layer costs on a bare ASGI app, and what it saves on a FastAPI one."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ..load import Measured, load, serving

__all__ = ("cost", "cost_of_workers", "equipped")

USER = "/api/users/1"


# No limit that refuses: the load comes from one address. The rest is on.
_EVERYTHING = {
    "ROADWORTHY_RATE_LIMIT": "100000000/second",
    "ROADWORTHY_CORS_ORIGINS": "https://app.example",
    "ROADWORTHY_LOG_FORMAT": "json",
}
_BARE = "benchmarks.peers.bare_asgi.app"


@dataclass(frozen=True, slots=True)
class _Case:
    app: str
    by: str = "uvicorn"
    workers: int = 1
    environment: dict[str, str] = field(default_factory=dict)


def _rounds(cases: dict[str, _Case], rounds: int, seconds: float) -> dict[str, list[Measured]]:
    """Measure the cases in turn, round after round, so that a slow spell of the machine hits all alike."""
    seen: dict[str, list[Measured]] = {name: [] for name in cases}
    for number in range(rounds):
        order = list(cases.items())
        if number % 2:
            order.reverse()
        for name, case in order:
            with serving(case.app, USER, case.by, case.workers, **case.environment) as server:
                load(server, USER, 1)  # warm-up
                seen[name].append(load(server, USER, seconds))
    return seen


def _added(cases: dict[str, _Case], rounds: int, seconds: float) -> dict[str, Any]:
    """Compare the CPU of the other cases with that of ``bare``, by the medians and by the best rounds."""
    seen = _rounds(cases, rounds, seconds)
    cpu = {name: median(one.cpu_us for one in measured) for name, measured in seen.items()}
    # What else uses the machine's caches only ever adds, so the best rounds are told as well.
    least = {name: min(one.cpu_us for one in measured) for name, measured in seen.items()}
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
    """The same with two workers, whose counts and limits are shared; both on the one core."""
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
