"""What the layer costs on a bare ASGI app, and what it saves on a FastAPI one."""

from __future__ import annotations

from statistics import median
from typing import Any

from ..load import Measured, load, serving

__all__ = ("cost", "equipped")

USER = "/api/users/1"


def _rounds(apps: dict[str, str], rounds: int, seconds: float) -> dict[str, list[Measured]]:
    """Measure the apps in turn, round after round, so that a slow spell of the machine hits all alike."""
    seen: dict[str, list[Measured]] = {name: [] for name in apps}
    for number in range(rounds):
        order = list(apps.items())
        if number % 2:
            order.reverse()
        for name, app in order:
            with serving(app, USER) as server:
                load(server, USER, 1)  # warm-up
                seen[name].append(load(server, USER, seconds))
    return seen


def cost(rounds: int, seconds: float) -> dict[str, Any]:
    """CPU that the layer, every item on, adds to a bare ASGI app on uvicorn with one worker."""
    seen = _rounds(
        {"bare": "benchmarks.peers.bare_asgi.app:plain", "layered": "benchmarks.peers.bare_asgi.app:layered"},
        rounds,
        seconds,
    )
    bare, layered = (median(one.cpu_us for one in seen[name]) for name in ("bare", "layered"))
    return {
        "bare_cpu_us": round(bare, 2),
        "layered_cpu_us": round(layered, 2),
        "added_cpu_us": round(layered - bare, 2),
        "bare_per_second": round(median(one.per_second for one in seen["bare"])),
        "layered_per_second": round(median(one.per_second for one in seen["layered"])),
        "rounds_added_cpu_us": [
            round(b.cpu_us - a.cpu_us, 2) for a, b in zip(seen["bare"], seen["layered"], strict=True)
        ],
    }


def equipped(rounds: int, seconds: float) -> dict[str, Any]:
    """The same FastAPI route: the layer against the usual packages."""
    seen = _rounds(
        {
            "roadworthy": "benchmarks.peers.fastapi_roadworthy.app:app",
            "usual": "benchmarks.peers.fastapi_usual.app:app",
        },
        rounds,
        seconds,
    )
    ours, usual = (median(one.per_second for one in seen[name]) for name in ("roadworthy", "usual"))
    return {
        "roadworthy_per_second": round(ours),
        "usual_per_second": round(usual),
        "ratio": round(ours / usual, 2),
        "rounds_ratio": [
            round(a.per_second / b.per_second, 2)
            for a, b in zip(seen["roadworthy"], seen["usual"], strict=True)
        ],
    }
