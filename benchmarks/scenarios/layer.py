"""What the layer costs on a bare ASGI app, and what it saves on a FastAPI one."""

from __future__ import annotations

from statistics import median
from typing import Any

from ..turns import Case, by_turns

__all__ = ("EVERYTHING", "cost", "cost_of_workers", "equipped")

EVERYTHING = {
    # No limit that refuses: the load comes from one address. The rest is on.
    "ROADWORTHY_RATE_LIMIT": "100000000/second",
    "ROADWORTHY_CORS_ORIGINS": "https://app.example",
    "ROADWORTHY_LOG_FORMAT": "json",
}
"""Variables of `roadworthy run` with every item on."""
_BARE = "benchmarks.peers.bare_asgi.app"


def _added(cases: dict[str, Case], rounds: int, seconds: float) -> dict[str, Any]:
    """Compare the CPU of the other cases with that of ``bare``, by the medians and by the best rounds."""
    seen = by_turns(cases, rounds, seconds)
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
        "bare": Case(f"{_BARE}:plain"),
        "layered": Case(f"{_BARE}:layered"),
        "run": Case(f"{_BARE}:plain", "roadworthy", environment=EVERYTHING),
    }
    return _added(cases, rounds, seconds)


def cost_of_workers(rounds: int, seconds: float) -> dict[str, Any]:
    """The same with two workers, whose counts and limits are shared: one of them serves, then both."""

    def cases(*, one_serves: bool) -> dict[str, Case]:
        return {
            "bare": Case(f"{_BARE}:plain", workers=2, one_serves=one_serves),
            "run": Case(f"{_BARE}:plain", "roadworthy", 2, EVERYTHING, one_serves),
        }

    one = _added(cases(one_serves=True), rounds, seconds)
    both = _added(cases(one_serves=False), rounds, seconds)
    return {**one, **{f"both_{name}": value for name, value in both.items()}}


def equipped(rounds: int, seconds: float) -> dict[str, Any]:
    """The same FastAPI route on plain uvicorn: the layer against the usual packages; and `roadworthy run`."""
    seen = by_turns(
        {
            "roadworthy": Case("benchmarks.peers.fastapi_roadworthy.app:app"),
            "usual": Case("benchmarks.peers.fastapi_usual.app:app"),
            "run": Case(
                "benchmarks.peers.fastapi_roadworthy.app:service", "roadworthy", environment=EVERYTHING
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
