"""What has passed is tried again with its requests sent in other ways."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from .bench import Bench
from .bench.ways import Way
from .errors import ControlFailed
from .probe import Probe
from .verdict import Verdict

__all__ = ("try_other_ways",)

_UNSUPPORTED = frozenset({400, 415, 426, 505})
"""How a server refuses a version of HTTP or a parameter of a media type: that is its right."""


async def try_other_ways(probe: Probe, bench: Bench) -> None:
    """Run a probe again in each of its ways, until one has findings; they name the way.

    Each way has as long as the plain one. What cannot be judged in a way is a note and spoils no pass. Where
    the service refuses the way itself nothing is judged: HTTP/1.0, for one, has to be spoken by nobody.
    """
    ways = probe.ways_of()
    if bench.deadline.timeout is not None:
        bench.deadline.timeout.reschedule(None)
    for way in ways if bench.full else ways[:1]:
        bench.way = way
        controls, unjudged = len(bench.controls), len(bench.unjudged)
        try:
            async with asyncio.timeout(bench.patience(probe.seconds)) as bench.deadline.timeout:
                if await bench.shared(_is_refused):
                    bench.note(f"not tried on {way.name}: the service refuses it")
                    continue
                verdict = await probe.run(bench)
                if verdict in {Verdict.NOT_APPLICABLE, Verdict.INCONCLUSIVE}:
                    bench.note(f"not judged on {way.name}: {bench.reason}")
        except (ControlFailed, TimeoutError) as failed:
            why = str(failed) or f"not done within {probe.seconds:g} s"
            bench.note(f"not judged on {way.name}: {why}")
        del bench.controls[controls:], bench.unjudged[unjudged:]
        if bench.findings:
            _name(bench, way)
            return


def _name(bench: Bench, way: Way) -> None:
    bench.findings[:] = [replace(one, title=f"{one.title} (on {way.name})") for one in bench.findings]


async def _is_refused(bench: Bench) -> bool:
    live, create = bench.manifest.health.live, bench.manifest.routes.by_role.get("create")
    answers = [await bench.get(live)] if live else []
    if create is not None and create.body is not None:
        answers.append(await bench.call(create))
    return any(answer.status in _UNSUPPORTED for answer in answers)
