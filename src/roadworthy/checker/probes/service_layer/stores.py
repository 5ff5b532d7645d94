"""Probes of ``service-layer`` (SVC): the same service on another store."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from ...bench import Bench
from ...http.wire import Answer
from ...manifest.variables import expand, store_url
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.shapes import elements, members
from ...verdict import Verdict
from ..shared import contract
from ..shared.outage import uses_its_store

__all__ = ("PROBES",)

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")
# What names the request, not its outcome.
_VOLATILE = {"request_id", "instance", "next_cursor"}


@probe(
    "SVC-4",
    phase=Phase.START,
    needs=(Need.COMMAND, Need.CREATE, Need.READ),
    quick=False,
    samples=4,
    seconds=120,
)
async def _stores_are_alike(bench: Bench) -> Verdict:
    """Sends the same requests to the service on each store of ``database.also`` and compares the answers."""
    declared = store_url(bench.manifest)
    urls = {
        number: url for number, url in enumerate(bench.manifest.database.also, 1) if expand(url) != declared
    }
    if not urls:
        return bench.not_applicable("the manifest names one store only (database.also)")
    async with bench.launch():
        wanted = await _script(bench)
    bench.control("the requests do something", any(words.startswith("20") for words in wanted.values()))
    for number, url in urls.items():
        async with bench.launch(url=url):
            await uses_its_store(bench)
            got = await _script(bench)
        for step, words in wanted.items():
            bench.expect(
                got[step] == words,
                f"another store answers differently ({step})",
                words[:300],
                f"{got[step][:300]} (database.also, number {number})",
                route=step,
            )
    return bench.verdict()


async def _script(bench: Bench) -> dict[str, str]:
    """Send a row of requests; return what was answered to each, with ids and times replaced."""
    routes = bench.manifest.routes.by_role
    create = routes["create"]
    made = [await contract.parent(bench) for _ in range(7)]
    one, other = made[:2]
    answers: dict[str, Answer] = {
        "create": one.answer,
        "create the same": await bench.request(
            create.method, create.path, create.headers, json_body=one.sent
        ),
        "create wrongly": await bench.request(create.method, create.path, create.headers, json_body={}),
        "read": await bench.get(one.path),
    }
    for role in ("child_list", "overview"):
        if role in routes:
            answers[f"{role} of an empty one"] = await bench.call(routes[role], one.id)
    if "child_create" in routes:
        below = [await contract.child(bench, one) for _ in range(3)]
        answers["child_create"] = below[0].answer
        if "child_list" in routes:
            answers["child_list"] = await bench.call(routes["child_list"], one.id)
        if "transfers" in routes:
            ids = [each.raw for each in below]
            answers["transfer what is another's"] = await contract.transfer(bench, other.raw, one.raw, ids)
            answers["transfer"] = await contract.transfer(bench, one.raw, other.raw, ids)
    if "batch" in routes:
        asked = [other.raw, contract.missing(one.raw), one.raw]
        answers["batch"] = await contract.batch(bench, asked)
    for role in ("update", "delete", "read", "overview"):
        if role in routes:
            answers[f"{role} at last"] = await bench.call(routes[role], one.id)
    outcomes = {step: _words(answer) for step, answer in answers.items()}
    if "list" in routes:
        path = routes["list"].path.partition("?")[0]
        found = [members(each).get("id") for each in await contract.walk(bench, path, 3) or []]
        order = [each.raw for each in made]
        mine = [str(order.index(each)) for each in found if each in order]
        outcomes["the order of the list"] = f"200 {', '.join(mine)}"
    return outcomes


def _words(answer: Answer) -> str:
    return f"{answer.status} {json.dumps(_plain(answer.json()), sort_keys=True)}"


def _plain(value: Any) -> Any:
    """Return JSON without what differs between two runs of the same requests."""
    if isinstance(value, dict):
        body = members(cast("object", value))
        return {
            name: "an id" if name == "id" or name.endswith("_id") else _plain(inner)
            for name, inner in body.items()
            if name not in _VOLATILE
        }
    if isinstance(value, list):
        return [_plain(inner) for inner in elements(cast("object", value))]
    if isinstance(value, str):
        return "a time" if _TIME.fullmatch(value) else re.sub(r"[0-9a-f]{8,}", "…", value)
    return value


PROBES: tuple[Probe, ...] = (_stores_are_alike,)
