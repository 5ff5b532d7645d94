"""Probes of ``controllers`` (CTL): lists."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ....checklist import Dimension
from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.shapes import elements, members
from ...verdict import Verdict
from ..shared import contract
from ..shared.contract import Resource
from ..shared.together import many

__all__ = ("PROBES",)

# One more than the largest page of the reference API, so that an unbounded page differs from a full one.
_MOST = 100
_PAGE = 7
_PAGES = 2000
_COMPARED = 12
"""Elements whose order is compared over pages of several sizes."""


@probe(
    "CTL-6",
    phase=Phase.SERVE,
    needs=(Need.CREATE, Need.LIST),
    samples=3,
    seconds=120,
    ways=False,
    varies=(Dimension.VALUE, Dimension.REPEAT, Dimension.PARALLEL, Dimension.SIZE),
)
async def _lists_are_bounded(bench: Bench) -> Verdict:
    """Creates 110 elements, follows the cursor while others write, and compares pages of several sizes."""
    routes = bench.manifest.routes.by_role
    path = routes["list"].path.partition("?")[0]
    made = await many(lambda: contract.parent(bench), _MOST + 10)
    if "delete" in routes:
        # Without a gap the number of an element may be its place.
        first = min(made, key=lambda one: str(one.raw).zfill(40))
        if (await bench.call(routes["delete"], first.id)).ok:
            made.remove(first)
    # The first list that is asked for is followed: nothing has made it known to the service.
    opening = await bench.get(f"{path}?limit={_PAGE}")
    if opening.ok and not isinstance(members(opening.json()).get("items"), list):
        return bench.inconclusive("the list is not an object with items and next_cursor")
    bench.control("the list is answered", opening.ok)
    await _follow(bench, path, made, opening)
    small = await bench.get(f"{path}?limit=2")
    count = len(elements(members(small.json()).get("items")))
    bench.expect(count <= 2, "limit is ignored", "2 elements", small.text[:120], small)
    for query in ("", "?limit=1000000"):
        answer = await bench.get(f"{path}{query}")
        count = len(elements(members(answer.json()).get("items")))
        bench.expect(
            (answer.ok and count <= _MOST) or 400 <= answer.status < 500,
            f"a page has no bound ({query or 'without limit'})",
            f"at most {_MOST} elements, or a refusal",
            f"{answer}, {count} elements",
            answer,
        )
    await _compare_sizes(bench, path)
    return bench.verdict()


async def _compare_sizes(bench: Bench, path: str) -> None:
    """Compare the beginning of the list in pages of several sizes; nobody writes meanwhile."""
    found = {size: await contract.walk(bench, path, size, _COMPARED) for size in (1, 3, _COMPARED, _MOST)}
    # What refuses a size has none of it.
    orders = {
        size: [members(one).get("id") for one in page[:_COMPARED]]
        for size, page in found.items()
        if page is not None
    }
    wanted = orders.get(_COMPARED) or [*orders.values(), list[Any]()][0]
    for size, order in orders.items():
        bench.expect(
            order == wanted,
            "pages of another size do not show the same elements",
            f"{', '.join(map(str, wanted))} (pages of {_COMPARED})",
            f"{', '.join(map(str, order))} (pages of {size})",
            route=f"GET {path}",
        )


async def _follow(bench: Bench, path: str, made: list[Resource], answer: Answer) -> None:
    """Follow the cursor of a page; delete what was seen, and let another element come."""
    routes = bench.manifest.routes.by_role
    seen: Counter[Any] = Counter()
    deleted: set[Any] = set()
    mine = {one.raw for one in made}
    for number in range(_PAGES):
        page = members(answer.json())
        if not answer.ok:
            bench.fail("the next page is refused", "200", str(answer), answer)
            return
        ids = [members(one).get("id") for one in elements(page.get("items"))]
        seen.update(ids)
        visited = [one for one in ids if one in mine and one not in deleted]
        if "delete" in routes and visited and len(deleted) < 5:
            deleted.add(visited[0])
            await bench.call(routes["delete"], str(visited[0]))
            await contract.parent(bench)
        following = page.get("next_cursor")
        if following is None:
            break
        if not ids:
            title = "a page without elements names a further one"
            bench.fail(title, "next_cursor: null", str(following), answer)
            return
        if number == _PAGES - 1:
            bench.missed("the list up to its end", f"it has more than {_PAGES * _PAGE:,} elements")
            return
        answer = await bench.get(f"{path}?limit={_PAGE}&cursor={following}")
    bench.sample()
    skipped = mine - set(seen)
    repeated = [one for one, count in seen.items() if count > 1]
    if skipped or repeated:
        bench.fail(
            "following the cursor does not visit each element once",
            "each of the elements that were there all the time, once",
            f"{len(skipped)} skipped, {len(repeated)} repeated",
            route=f"GET {path}",
        )


PROBES: tuple[Probe, ...] = (_lists_are_bounded,)
