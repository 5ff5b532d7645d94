"""Tries mutants: the mutated assertion alone is checked, on a service with the one fault."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadworthy.checker import Verdict
from tests.zoo.harness import check_zoo, running_store
from tests.zoo.store import StoreServer

from .catalogue import Mutant

__all__ = ("Trial", "try_all")

_AT_ONCE = 4
# What these measure is how processors and connections are shared.
_ALONE = {"CPU", "POOL"}


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a mutant.

    Parameters:
        caught: whether the probe had a finding.
        shown: whether the fault showed itself to any request of the probe.
    """

    mutant: Mutant
    caught: bool
    shown: bool
    verdict: str
    reason: str


async def try_all(chosen: Sequence[Mutant]) -> list[Trial]:
    """Try mutants, several at a time."""
    places, alone = asyncio.Semaphore(_AT_ONCE), asyncio.Lock()
    async with running_store() as store:

        async def one(mutant: Mutant) -> Trial:
            async with alone if mutant.assertion.id.partition("-")[0] in _ALONE else places:
                return await _try(store, mutant)

        return await asyncio.gather(*(one(mutant) for mutant in chosen))


async def _try(store: StoreServer, mutant: Mutant) -> Trial:
    with tempfile.TemporaryDirectory() as folder:
        fired = Path(folder, "fired")
        replace = (*mutant.base.replace, ("[env.set]", f'[env.set]\nZOO_FIRED = "{fired}"'))
        only = [mutant.assertion.id]
        text = await asyncio.to_thread(mutant.language.manifest, only)
        run = await check_zoo(store, only, mutant.name, replace, text=text)
        result = run.results[0]
        caught = result.verdict in {Verdict.FAIL, Verdict.WARN}
        shown = await asyncio.to_thread(fired.exists)
        return Trial(mutant, caught, shown, str(result.verdict), result.reason)
