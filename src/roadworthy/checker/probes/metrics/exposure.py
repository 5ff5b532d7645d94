"""Probes of ``metrics``: who can read them, and when."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

from ....checklist import Dimension
from ...bench import Bench
from ...errors import ControlFailed
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.exposition import read_exposition
from ...verdict import Verdict

__all__ = ("PROBES",)

# A client of its own, so that the budget of the others in this phase stays as it is.
_CLIENT, _CLIENTS = "127.0.0.71", "127.0.0."


@probe(
    "MET-9",
    phase=Phase.LIMITS,
    needs=(Need.METRICS,),
    samples=2,
    varies=(Dimension.MEDIA_TYPE, Dimension.STATUS),
)
async def _metrics_are_kept_to_themselves(bench: Bench) -> Verdict:
    """Sends secrets and searches the scrape, asks the public listener, and scrapes while limited."""
    metrics = bench.manifest.metrics
    await _plant(bench)
    answer = await bench.get(metrics.path, address=bench.target.metrics_address, source=_CLIENT)
    bench.control("metrics can be read", answer.status == 200 and _has_samples(answer))
    bench.sample()
    if found := bench.leaks(answer.text):
        bench.fail("metrics show a secret", "no trace of it", ", ".join(found), answer)
    public = await bench.get(metrics.path, auth=False, source=_CLIENT)
    bench.sample()
    if public.ok and _has_samples(public) and not metrics.public:
        bench.warn(
            "metrics are on the public listener",
            "a listener of their own or credentials; or metrics.public = true, if intended",
            str(public),
            public,
        )
    await _scrape_while_limited(bench)
    return bench.verdict()


async def _plant(bench: Bench) -> None:
    """Send a secret with requests of several kinds, each from a client of its own, for none to be limited."""
    planted = bench.canary("metrics: a request")
    fields = {"Cookie": f"session={planted}", "X-Api-Key": planted, "User-Agent": planted}
    routes, sources = bench.manifest.routes.by_role, map(_CLIENTS.__add__, map(str, count(72)))
    unknown = f"{bench.unknown_path()}?token={planted}"
    await bench.get(unknown, fields, source=next(sources))
    await bench.get(
        bench.unknown_path(),
        {"Authorization": f"Bearer {planted}", "Accept": "text/html"},
        source=next(sources),
    )
    for accept in ("application/json", "text/html"):
        if "list" in routes:
            listed = routes["list"]
            path = f"{listed.path}{'&' if '?' in listed.path else '?'}token={planted}"
            await bench.request(listed.method, path, {**fields, "Accept": accept}, source=next(sources))
    as_json = {**fields, "Content-Type": "application/json; charset=utf-8"}
    if "create" in routes:
        await bench.call(routes["create"], headers=as_json, source=next(sources))
        with suppress(ControlFailed):
            made = await bench.create(headers=fields, source=next(sources))
            for role in ("read", "delete"):
                if role in routes:
                    await bench.call(routes[role], made.id, headers=fields, source=next(sources))


def _has_samples(answer: Answer) -> bool:
    return bool(read_exposition(answer.body, answer.media_type).samples)


async def _scrape_while_limited(bench: Bench) -> None:
    """Use up the budget of a client and scrape as that client."""
    limit = bench.manifest.check.rate_limit.requests or bench.manifest.rate_limit.requests
    route = bench.manifest.routes.by_role.get(bench.manifest.rate_limit.route)
    if not bench.has(Need.RATE_LIMIT) or route is None or limit is None or limit > 2000:
        bench.note("no rate limit is declared that can be reached, so scraping under one was not tried")
        return
    for _ in range(3 * limit):
        answer = await bench.call(route, source=_CLIENT)
        if answer.status == 429:
            break
    else:
        bench.missed("a scrape of a limited client", f"the limit was not reached within {3 * limit} requests")
        return
    answer = await bench.get(
        bench.manifest.metrics.path, address=bench.target.metrics_address, source=_CLIENT
    )
    bench.expect(
        answer.status != 429, "metrics cannot be read while the client is limited", "200", str(answer), answer
    )


PROBES: tuple[Probe, ...] = (_metrics_are_kept_to_themselves,)
