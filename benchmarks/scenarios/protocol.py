"""A bare ASGI app on our protocol class and on uvicorn's own over the same parser."""

from __future__ import annotations

from statistics import median
from typing import Any

from ..turns import Case, by_turns

__all__ = ("throughput",)

_APP = "benchmarks.peers.bare_asgi.app:plain"


def throughput(rounds: int, seconds: float) -> dict[str, Any]:
    """Requests per second and CPU per request, from one core."""
    seen = by_turns({"uvicorn": Case(_APP), "ours": Case(_APP, "protocol")}, rounds, seconds)
    found: dict[str, Any] = {}
    for name, measured in seen.items():
        found[f"{name}_per_second"] = round(median(one.per_second for one in measured))
        found[f"{name}_cpu_us"] = round(median(one.cpu_us for one in measured), 2)
    pairs = list(zip(seen["ours"], seen["uvicorn"], strict=True))
    ratios = [ours.per_second / theirs.per_second for ours, theirs in pairs]
    found["ratio_per_second"] = round(median(ratios), 3)
    found["ratio_cpu"] = round(median(theirs.cpu_us / ours.cpu_us for ours, theirs in pairs), 3)
    found["rounds_ratio_per_second"] = [round(ratio, 3) for ratio in ratios]
    return found
