"""Probes of ``metrics``: what a client can make grow."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping
from itertools import cycle
from typing import TypeAlias

from ....checklist import Dimension
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
_KNOWN = 7
"""More than there may be new series, so that a series for each is seen."""
_WIDE = 8
_JSON = {"Content-Type": "application/json"}

_Fields: TypeAlias = Mapping[str, str]


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
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.STATUS),
    ways=False,
)
async def _ids_make_no_series(bench: Bench) -> Verdict:
    """Reads, changes and deletes what was created and what does not exist, and counts the new series."""
    read = bench.manifest.routes.by_role["read"]
    created = [await bench.create() for _ in range(_KNOWN + 2)]

    def unknown() -> str:
        number = str(secrets.randbelow(10**8) + 10**9)
        return number if created[0].id.isdecimal() else str(uuid.uuid4())

    def ask() -> Awaitable[Answer]:
        return bench.call(read, unknown(), patient=False)

    kinds = await _of_ids(bench)
    # The series of each status are there before anything is compared.
    await bench.get(created[-1].path)
    for send in kinds:
        await send(unknown())
        await send(created[-2].id)
    before = await bench.scrape()
    found = [await bench.get(one.path) for one in created[:_KNOWN]]
    bench.control("created resources can be read", all(answer.ok for answer in found))
    for send in kinds:
        for one in created[:_KNOWN]:
            await send(one.id)
            await send(unknown())
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


async def _of_ids(bench: Bench) -> list[Callable[[str], Awaitable[Answer]]]:
    """Return what can be asked of a resource besides reading it; it is deleted last."""
    routes = bench.manifest.routes.by_role
    read = routes["read"]

    def other(method: str, body: bytes | None = None) -> Callable[[str], Awaitable[Answer]]:
        def send(name: str) -> Awaitable[Answer]:
            path = read.path.replace("{id}", name)
            return bench.request(method, path, _JSON if body else (), body, patient=False)

        return send

    def declared(role: str) -> Callable[[str], Awaitable[Answer]]:
        return lambda name: bench.call(routes[role], name, patient=False)

    found = [other("HEAD"), other("OPTIONS")]
    known = {*(await bench.openapi()).methods(read.path), *(route.method for route in routes.values())}
    if "PATCH" not in known:
        found.append(other("PATCH", b"{}"))
    if "update" in routes:
        found.append(other(routes["update"].method, b"{}"))
    roles = ("overview", "child_list", "update", "delete")
    return found + [declared(role) for role in roles if role in routes and "{id}" in routes[role].path]


def _of_strangers(bench: Bench, path: str) -> Callable[[_Fields], Awaitable[Answer]]:
    """Return what sends one request after another, of several methods and statuses, with the given fields."""
    routes = bench.manifest.routes.by_role
    kinds: list[Callable[[_Fields], Awaitable[Answer]]] = [
        lambda fields: bench.get(path, fields, patient=False),
        lambda fields: bench.request("HEAD", path, fields, patient=False),
        lambda fields: bench.request("OPTIONS", path, fields, patient=False),
        *(
            lambda fields, method=method: bench.request(
                method, bench.unknown_path(), {**_JSON, **fields}, b"{}", patient=False
            )
            for method in ("DELETE", "PUT")
        ),
    ]
    if (create := routes.get("create")) is not None:
        kinds.append(lambda fields: bench.call(create, headers=fields, patient=False))
        kinds.append(
            lambda fields: bench.request(
                create.method, create.path, {**_JSON, **fields}, b"{}", patient=False
            )
        )
    if (fails := routes.get("fails")) is not None:
        kinds.append(lambda fields: bench.call(fails, headers=fields, patient=False))
    turn = cycle(kinds)
    return lambda fields: next(turn)(fields)


@probe(
    "MET-7",
    phase=Phase.SERVE,
    needs=(Need.METRICS,),
    samples=350,
    seconds=120,
    varies=(Dimension.METHOD, Dimension.STATUS),
    ways=False,
)
async def _strangers_make_no_series(bench: Bench) -> Verdict:
    """Sends a thousand unknown paths, fifty methods, fifty hosts, fifty agents; counts the new series."""
    route = bench.manifest.routes.by_role.get("list")
    path = route.path if route else bench.manifest.health.live or "/"
    methods = cycle(("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"))
    hosts, agents = _of_strangers(bench, path), _of_strangers(bench, path)

    def word() -> str:
        return secrets.token_hex(8)

    kinds: dict[str, tuple[int, Callable[[], Awaitable[Answer]]]] = {
        "unknown paths": (
            _count(bench),
            lambda: bench.request(next(methods), bench.unknown_path(), patient=False),
        ),
        "nested paths": (48, lambda: bench.get(f"/{word()}/{word()}?{word()}=1", patient=False)),
        "methods": (48, lambda: bench.request(f"M{word().upper()}", path, patient=False)),
        "hosts": (64, lambda: hosts({"Host": f"{word()}.example"})),
        "agents": (64, lambda: agents({"User-Agent": f"{word()}/1.0"})),
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
