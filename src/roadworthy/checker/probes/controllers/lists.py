"""Probes of ``controllers`` (CTL): lists."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...bench import Bench
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


@probe("CTL-6", phase=Phase.SERVE, needs=(Need.CREATE, Need.LIST), samples=3, seconds=120, ways=False)
async def _lists_are_bounded(bench: Bench) -> Verdict:
    """Creates 110 elements, asks for more than a page holds, and follows the cursor while others write."""
    path = bench.manifest.routes.by_role["list"].path.partition("?")[0]
    made = await many(lambda: contract.parent(bench), _MOST + 10)
    small = await bench.get(f"{path}?limit=2")
    page = members(small.json())
    if small.ok and not isinstance(page.get("items"), list):
        return bench.inconclusive("the list is not an object with items and next_cursor")
    bench.control("the list is answered", small.ok)
    bench.expect(
        len(elements(page.get("items"))) <= 2, "limit is ignored", "2 elements", small.text[:120], small
    )
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
    await _follow(bench, path, made)
    return bench.verdict()


async def _follow(bench: Bench, path: str, made: list[Resource]) -> None:
    """Follow the cursor; after two pages delete what was seen, and let another element come."""
    routes = bench.manifest.routes.by_role
    seen: Counter[Any] = Counter()
    deleted: set[Any] = set()
    mine = {one.raw for one in made}
    query = f"limit={_PAGE}"
    for number in range(_PAGES):
        answer = await bench.get(f"{path}?{query}")
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
        query = f"limit={_PAGE}&cursor={following}"
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
