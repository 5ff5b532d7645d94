"""Scrapes before and after requests: which series moved, by how much, and which are new."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...bench import Bench
from ...http.wire import Answer
from ...read.exposition import Sample

__all__ = (
    "Moved",
    "Scraper",
    "durations",
    "request_counter",
    "resembling",
    "spent",
    "split",
    "tally",
    "times",
    "worst_growth",
)

_METHODS = ("method", "http_method", "request_method", "http_request_method", "verb")
_STATUSES = ("status", "code", "status_code", "http_status", "http_response_status_code", "status_class")
_OF_BUCKETS = {"le", "quantile"}

Moved = dict[Sample, float]


@dataclass(slots=True, eq=False)
class Scraper:
    """Tells what requests changed; what a scrape itself changes is measured first and taken off.

    Parameters:
        cost: by how much each series moves by one scrape.
    """

    bench: Bench
    cost: Moved
    before: Moved

    @classmethod
    async def begin(cls, bench: Bench) -> Scraper:
        """Scrape twice, with nothing in between, and remember the second."""
        first = await bench.scrape()
        second = await bench.scrape()
        cost = {key: value - first.get(key, 0.0) for key, value in second.items()}
        # Scrapes are counted one by one; what moves otherwise (CPU seconds) moves by itself.
        return cls(bench, {key: value for key, value in cost.items() if value == 1.0}, second)

    async def settle(self, holds: Callable[[Moved], bool], seconds: float = 2.0) -> Moved:
        """Scrape until ``holds`` for what moved, at most for some seconds; return what moved."""
        deadline = asyncio.get_running_loop().time() + self.bench.patience(seconds)
        scrapes = 0
        while True:
            after = await self.bench.scrape()
            scrapes += 1
            moved = {
                key: value - self.before.get(key, 0.0) - self.cost.get(key, 0.0) * scrapes
                for key, value in after.items()
            }
            if holds(moved) or asyncio.get_running_loop().time() > deadline:
                return moved
            await asyncio.sleep(0.1)


def request_counter(bench: Bench, moved: Mapping[Sample, float], count: int) -> str:
    """Return the name of the series that count requests: the declared one, or what moved exactly like one.

    Parameters:
        count: how many requests were made.
    """
    if bench.manifest.metrics.requests:
        return bench.manifest.metrics.requests
    exact = [name for name, value in _growing(moved).items() if value == count]
    # A counter has status and method more often than the count of a histogram does.
    return min(exact, key=lambda name: (name.endswith("_count"), name), default="")


def resembling(moved: Mapping[Sample, float]) -> dict[str, float]:
    """Return the series that may count requests by their name, and how far they moved."""
    return {name: value for name, value in _growing(moved).items() if "request" in name}


def _growing(moved: Mapping[Sample, float]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for sample, value in moved.items():
        counts = re.search(r"(_total|_count)$", sample.name) and not re.search(r"bytes|size", sample.name)
        if counts:
            sums[sample.name] = sums.get(sample.name, 0.0) + value
    return {name: value for name, value in sums.items() if value > 0}


def split(moved: Mapping[Sample, float], name: str) -> dict[tuple[str, str], float]:
    """Return how far a counter moved by method and status, as far as its labels have them."""
    found: dict[tuple[str, str], float] = {}
    for sample, value in moved.items():
        if sample.name == name and value:
            key = (sample.label(*_METHODS).upper(), sample.label(*_STATUSES))
            found[key] = found.get(key, 0.0) + value
    return found


def tally(answers: list[Answer]) -> Counter[tuple[str, str]]:
    """Return how many answers there were by method and status."""
    return Counter((answer.request.method, str(answer.status)) for answer in answers)


def durations(moved: Mapping[Sample, float]) -> dict[str, tuple[float, float]]:
    """Return count and sum of each family that measures how long requests take, as far as they moved."""
    found: dict[str, tuple[float, float]] = {}
    for sample, value in moved.items():
        base = sample.name.removesuffix("_count")
        if base == sample.name or not re.search(r"http|request|response|server", base):
            continue
        if not re.search(r"duration|latency|seconds|time|milli|_ms\b", base) or re.search(
            r"bytes|size|pool|offload", base
        ):
            continue
        count, total = found.get(base, (0.0, 0.0))
        spent = moved.get(Sample(f"{base}_sum", sample.labels), 0.0)
        found[base] = (count + value, total + spent)
    return found


def times(moved: Mapping[Sample, float], base: str) -> dict[tuple[str, str], float]:
    """Return how long requests took by method and status, as far as the labels of a family have them."""
    return split(moved, f"{base}_sum")


def spent(answers: list[Answer], method: str, status: str) -> float:
    """Return how long the client waited for those of a method and a status, a class of them, or any."""
    pattern = re.compile(re.sub("x", r"\\d", status, flags=re.I) or ".*")
    return sum(
        answer.seconds
        for answer in answers
        if method in {"", answer.request.method} and pattern.fullmatch(str(answer.status))
    )


def _label_sets(samples: Mapping[Sample, float]) -> dict[str, set[tuple[tuple[str, str], ...]]]:
    """Return the label sets of each name; the buckets of one histogram are one."""
    found: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for sample in samples:
        labels = tuple(pair for pair in sample.labels if pair[0] not in _OF_BUCKETS)
        found.setdefault(sample.name, set()).add(labels)
    return found


def worst_growth(before: Mapping[Sample, float], after: Mapping[Sample, float]) -> tuple[int, str]:
    """Return how many label sets the name has got that got most, and one of them."""
    old = _label_sets(before)
    worst, example = 0, ""
    for name, sets in _label_sets(after).items():
        fresh = sets - old.get(name, set())
        if len(fresh) > worst:
            worst = len(fresh)
            labels = ", ".join(f'{key}="{value[:60]}"' for key, value in sorted(fresh)[0])
            example = f"{name}{{{labels}}}"
    return worst, example
