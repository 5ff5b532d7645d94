"""A store that fails (ERR-7)."""

from __future__ import annotations

import asyncio

from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...read.leaks import internals
from ...store.faults import Fault
from ...verdict import Verdict

__all__ = ("a_dead_store_is_bounded",)

# A service that keeps its limit to the millisecond answers when it is over, and the answer takes its way.
_AFTER_LIMIT = 1.0
_ASKED = ("create", "read", "list", "update", "delete")


@probe(
    "ERR-7",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.STORE),
    quick=False,
    samples=3,
    seconds=150,
)
async def a_dead_store_is_bounded(bench: Bench) -> Verdict:
    """Takes the store away, then makes it silent, asks by every route, and waits for recovery."""
    create = bench.manifest.routes.by_role["create"]
    by_role = bench.manifest.routes.by_role
    routes = {role: by_role[role] for role in _ASKED if role in by_role}
    existing = (await bench.create()).id
    ids = {"read": existing, "update": existing, "delete": existing}
    store = bench.target.store
    assert store is not None
    # Pools open their connections when they are first used.
    good = await bench.call(create)
    sent = store.to_server
    bench.control("the route works with the store", good.ok)
    bound = bench.manifest.limits.request_timeout or 15.0
    for fault, limit in ((Fault.REFUSE, 5.0), (Fault.STALL, bound)):
        if fault not in store.can:
            continue
        await store.inject(fault)
        try:
            # All at once, so that all together take no longer than one.
            asked = ((route, ids.get(role, "")) for role, route in routes.items())
            answers = await asyncio.gather(*(bench.call(*one, seconds=limit + 5) for one in asked))
            answers.append(await bench.call(create, seconds=limit + 5))
        finally:
            await store.restore()
        if answers[-1].ok:
            return bench.inconclusive(f"the route works although the store is down ({fault})")
        for answer in answers:
            _judge_failure(bench, fault, limit, answer)
        back, answer = await bench.until(lambda: bench.call(create), lambda answer: answer.ok, 10)
        bench.sample()
        if not back:
            bench.fail(
                f"no recovery after the store is back ({fault})", "2xx within 10 s", str(answer), answer
            )
    bench.note(
        f"{store.to_server - sent} bytes went to the store meanwhile" if store.to_server else "store: a file"
    )
    return bench.verdict()


def _judge_failure(bench: Bench, fault: Fault, limit: float, answer: Answer) -> None:
    bench.sample()
    if answer.ok:
        return
    if not answer.complete:
        bench.fail(
            f"no answer while the store is down ({fault})",
            f"an error within {limit:g} s",
            str(answer),
            answer,
        )
    elif answer.seconds > bench.patience(limit + _AFTER_LIMIT):
        expected, got = f"an error within {limit:g} s", f"{answer} after {answer.seconds:.1f} s"
        bench.fail(f"the error comes late ({fault})", expected, got, answer)
    elif answer.status < 500:
        bench.fail(f"a dead store looks like the client's fault ({fault})", "503", str(answer), answer)
    elif answer.status not in {503, 504}:
        bench.warn(f"a dead store is not reported as unavailable ({fault})", "503", str(answer), answer)
    if answer.complete and (found := internals(answer.text)):
        bench.fail("the error shows how the service is built", "nothing internal", ", ".join(found), answer)
