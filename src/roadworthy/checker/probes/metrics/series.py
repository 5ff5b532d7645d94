"""Probes of ``metrics``: what a client can make grow."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable

from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...verdict import Table, Verdict
from ..shared.together import many
from .counting import worst_growth

__all__ = ("PROBES",)

# The guide of Prometheus: look into a metric that has more than a hundred; five leaves room for statuses.
_MATCHED, _UNMATCHED = 5, 3
_WIDE = 8


async def _answered(count: int, ask: Callable[[], Awaitable[Answer]]) -> int:
    """Send many requests, some at a time; return how many were answered."""
    return sum(answer.complete for answer in await many(ask, count, _WIDE))


def _count(bench: Bench) -> int:
    return 1000 if bench.full else 200


@probe(
    "MET-6",
    phase=Phase.SERVE,
    needs=(Need.METRICS, Need.CREATE, Need.READ),
    samples=180,
    seconds=120,
    ways=False,
)
async def _ids_make_no_series(bench: Bench) -> Verdict:
    """Reads some created resources and a thousand that do not exist, and counts the new series."""
    read = bench.manifest.routes.by_role["read"]
    created = [await bench.create() for _ in range(8)]

    async def ask() -> Answer:
        number = str(secrets.randbelow(10**8) + 10**9)
        identifier = number if created[0].id.isdecimal() else str(uuid.uuid4())
        return await bench.call(read, identifier, patient=False)

    # The series of each status are there before anything is compared.
    for one in created[:2]:
        await bench.get(one.path)
    await _answered(_WIDE, ask)
    before = await bench.scrape()
    found = [await bench.get(one.path) for one in created]
    bench.control("created resources can be read", all(answer.ok for answer in found))
    answered, count = await _answered(_count(bench), ask), _count(bench)
    bench.control(
        f"{answered} of {count} requests for what does not exist were answered", answered > count * 0.9
    )
    bench.sample(answered + len(found))
    grown, example = worst_growth(before, await bench.scrape())
    if grown > _MATCHED:
        got = f"{grown} new ones, such as {example}"
        return bench.fail(
            "ids in paths make series", f"at most {_MATCHED} new ones", got, found[0], route=str(read)
        )
    return bench.verdict()


@probe("MET-7", phase=Phase.SERVE, needs=(Need.METRICS,), samples=350, seconds=120, ways=False)
async def _strangers_make_no_series(bench: Bench) -> Verdict:
    """Sends a thousand unknown paths, fifty methods, fifty hosts, fifty agents; counts the new series."""
    route = bench.manifest.routes.by_role.get("list")
    path = route.path if route else bench.manifest.health.live or "/"

    def word() -> str:
        return secrets.token_hex(8)

    kinds: dict[str, tuple[int, Callable[[], Awaitable[Answer]]]] = {
        "unknown paths": (_count(bench), lambda: bench.get(bench.unknown_path(), patient=False)),
        "nested paths": (48, lambda: bench.get(f"/{word()}/{word()}?{word()}=1", patient=False)),
        "methods": (48, lambda: bench.request(f"M{word().upper()}", path, patient=False)),
        "hosts": (48, lambda: bench.get(path, {"Host": f"{word()}.example"}, patient=False)),
        "agents": (48, lambda: bench.get(path, {"User-Agent": f"{word()}/1.0"}, patient=False)),
    }
    rows: list[tuple[str, str, str]] = []
    for name, (count, ask) in kinds.items():
        await _answered(_WIDE, ask)
        before = await bench.scrape()
        answered = await _answered(count, ask)
        # What is refused without an answer makes series or does not, too.
        bench.sample(count)
        grown, example = worst_growth(before, await bench.scrape())
        rows.append((name, str(count), str(grown)))
        if name == "unknown paths":
            bench.control(f"{answered} of {count} unknown paths were answered", answered > count * 0.9)
        if grown > _UNMATCHED:
            got = f"{grown} new ones, such as {example}"
            bench.fail(f"{name} of strangers make series", f"at most {_UNMATCHED} new ones", got)
    bench.show(Table("new series", ("what", "requests", "new series of one name"), tuple(rows)))
    return bench.verdict()


PROBES: tuple[Probe, ...] = (_ids_make_no_series, _strangers_make_no_series)
