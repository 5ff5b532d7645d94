"""Try the mutants: ``python -m tests.mutants [--every N] [--results FILE] [ID…]``.

For each the mutated assertion alone is checked. Prints what was missed, and the recall of each assertion.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from roadworthy.checker import Verdict
from roadworthy.checker.registry import choose
from tests.zoo.harness import check_zoo, running_store
from tests.zoo.store import StoreServer

from .catalogue import Mutant, mutants
from .drive import reachable

_AT_ONCE = 4
_ALONE = {"CPU", "POOL"}


async def _try(store: StoreServer, mutant: Mutant) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        fired = Path(folder, "fired")
        replace = (*mutant.base.replace, ("[env.set]", f'[env.set]\nZOO_FIRED = "{fired}"'))
        run = await check_zoo(store, [mutant.assertion.id], mutant.name, replace)
        result = run.results[0]
        return {
            "mutant": mutant.name,
            "assertion": mutant.assertion.id,
            "dimension": mutant.dimension.value,
            "caught": result.verdict in {Verdict.FAIL, Verdict.WARN},
            "shown": fired.exists(),
            "verdict": str(result.verdict),
            "reason": result.reason,
            "seconds": round(run.seconds, 1),
        }


async def _try_all(chosen: list[Mutant]) -> list[dict[str, object]]:
    places = asyncio.Semaphore(_AT_ONCE)
    alone = asyncio.Lock()

    async with running_store() as store:

        async def one(mutant: Mutant) -> dict[str, object]:
            async with alone if mutant.assertion.id.partition("-")[0] in _ALONE else places:
                found = await _try(store, mutant)
                if not found["caught"]:
                    how = "shown" if found["shown"] else "never shown"
                    print(
                        f"missed {mutant.assertion.id:<7} {mutant.name:<50} {how}; {found['verdict']}",
                        flush=True,
                    )
                return found

        return await asyncio.gather(*(one(mutant) for mutant in chosen))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--reachable", type=Path)
    asked = parser.parse_args()
    known = asked.reachable
    if known is not None and known.exists():
        can = {(fault, condition) for fault, condition in json.loads(known.read_text())}
    else:
        can = asyncio.run(reachable())
        if known is not None:
            known.write_text(json.dumps(sorted(can)))
    ids = {entry.id for entry in choose(asked.ids)}
    chosen = [one for one in mutants(can) if one.assertion.id in ids][:: asked.every]
    found = asyncio.run(_try_all(chosen))
    if asked.results is not None:
        asked.results.write_text(json.dumps(found, indent=1) + "\n")
    by_assertion: defaultdict[str, list[bool]] = defaultdict(list)
    by_dimension: defaultdict[str, list[bool]] = defaultdict(list)
    for one in found:
        by_assertion[str(one["assertion"])].append(bool(one["caught"]))
        by_dimension[str(one["dimension"])].append(bool(one["caught"]))
    for table in (by_assertion, by_dimension):
        print(*(f"{name:<16} {sum(each):>4} of {len(each):>4}" for name, each in table.items()), sep="\n")
    caught = sum(bool(one["caught"]) for one in found)
    print(f"{caught} of {len(found)} mutants caught ({caught / max(len(found), 1):.0%})")
    sys.exit(caught < len(found))


if __name__ == "__main__":
    main()
