"""The probe of POOL-9: many writers on one SQLite file."""

from __future__ import annotations

import re

from ...bench import Bench
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...store.faults import SqliteFile
from ...verdict import Verdict
from ..shared.together import many
from .work import store_of

__all__ = ("PROBES",)

_WRITERS, _WRITES = 20, 25
# More handles than this for 20 writers are a handle per request that nobody closes.
_MOST_HANDLES = 64
_LOCKED = re.compile(r"database (?:table )?is locked|SQLITE_BUSY", re.IGNORECASE)


@probe(
    "POOL-9",
    phase=Phase.LOAD,
    needs=(Need.COMMAND, Need.STORE, Need.CREATE),
    quick=False,
    samples=500,
    seconds=180,
)
async def _writers_wait_for_each_other(bench: Bench) -> Verdict:
    """Lets 20 clients create 25 resources each at the same time, and reads the journal mode from the file."""
    if bench.manifest.database.kind != "sqlite":
        return bench.not_applicable("the store is no SQLite file")
    store, create = store_of(bench), bench.manifest.routes.by_role["create"]
    assert isinstance(store, SqliteFile)
    first = await bench.call(create)
    store.look()
    changes, store.peak, since = store.to_server, store.live, bench.now()
    bench.control(f"a resource can be created ({first})", first.ok)
    answers = await many(lambda: bench.call(create, seconds=60), _WRITERS * _WRITES, _WRITERS)
    store.look()
    bench.control("the file changes when something is created", store.to_server > changes)
    bad = [answer for answer in answers if not answer.ok]
    bench.sample(len(answers))
    if bad:
        got = f"{len(bad)} of {len(answers)} failed: {bad[0]}"
        bench.fail("parallel writers fail", "every one succeeds, if need be later", got, bad[0])
    locked = [line for line in bench.target.process.lines if line.at >= since and _LOCKED.search(line.text)]
    if locked and not bad:
        bench.warn("the log reports a locked database", "writers wait", locked[0].text[:200])
    if store.peak > _MOST_HANDLES:
        bench.fail("handles of the file grow with the requests", f"at most {_MOST_HANDLES}", f"{store.peak}")
    bench.note(f"journal mode {store.journal}; at most {store.peak} handles at once")
    return bench.verdict()


PROBES = (_writers_wait_for_each_other,)
