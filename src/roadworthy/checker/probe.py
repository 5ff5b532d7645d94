"""What a probe is: one small async function that tries one assertion, registered with what it needs.

How to write one
----------------
A probe lives in ``probes/<item>.py``, one module per item or pattern, and is listed in that module's
``PROBES``::

    @probe("ERR-1", phase=Phase.SERVE, samples=2)
    async def _unknown_path_is_404(bench: Bench) -> Verdict:
        \"\"\"Asks for paths that cannot exist, below the base path of the API.\"\"\"
        known = await bench.get(bench.manifest.health.live)
        bench.control("a known path is answered otherwise", known.ok)
        for path in (bench.unknown_path(), bench.unknown_path() + "/"):
            answer = await bench.get(path)
            bench.sample()
            if answer.status != 404:
                bench.fail("an unknown path is not 404", "404", str(answer), answer)
            elif "json" not in answer.media_type:
                bench.warn("a 404 is no JSON", "application/problem+json", answer.media_type, answer)
        return bench.verdict()

1. **The docstring is the text users read** under "how it is probed" in ``roadworthy explain``.
2. **No control, no pass.** ``bench.control(text, holds)`` names what shows that a violation would have been
   seen (the allowed origin is granted, one 429 was seen, the counter moves). When it does not hold the probe
   ends at once as inconclusive; a probe that never called it cannot pass.
3. **No samples, no pass.** ``bench.sample()`` counts each thing that was judged; fewer than the ``samples``
   of the decorator are inconclusive. Ask there for what is possible on any service that has the ``needs``.
   What else the manifest declares and what could not be judged is named by ``bench.missed(what, why)``.
4. ``bench.fail`` and ``bench.warn`` add a finding and return the verdict so far, so ``return
   bench.fail(...)`` works as well as going on. ``bench.expect(holds, ...)`` adds one unless it holds. Hand
   over the answers: they become evidence and the command to replay. ``severity=`` makes one case milder or
   worse.
5. ``needs=(Need.READ, Need.COMMAND)``: what is missing makes the result n/a or inconclusive without running
   you.
6. ``bench.inconclusive(why)`` and ``bench.not_applicable(why)`` are returned; never guess a pass.
7. **Phases** (:data:`~roadworthy.checker.phases.PHASES`): in a *shared* phase ``bench.target`` is the one
   process of all probes of the phase, so leave it as you found it. Start your own with ``async with
   bench.launch(draining=True) as target:``; in the phases that are not shared this is the only way.
8. What several probes of a phase need once: ``facts = await bench.shared(collect)`` with
   ``async def collect(bench: Bench) -> Facts``.
9. Prefer counts and order to times; a deadline is at least ``bench.patience(seconds)``, which is scaled by
   the calibration. Touch only what you created (``bench.create()``).
10. Each probe has twins in ``tests/zoo``: an app that passes and one that fails it. Without, it is not
    shipped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..checklist import Assertion, Dimension, assertion
from .bench import Bench
from .bench.ways import WAYS, Way
from .needs import Need
from .phases import Phase
from .verdict import Verdict

__all__ = ("Probe", "ProbeFunction", "probe")

ProbeFunction: TypeAlias = Callable[[Bench], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One registered probe.

    Parameters:
        samples: the fewest judged samples for a pass, on a service that declares no more than ``needs``.
        quick: whether it belongs to the quick profile.
        seconds: its deadline; what is not done by then is inconclusive.
        how: how it is probed, for people; the function's docstring.
        varies: the dimensions that it varies by itself.
        ways: whether it is tried in each way again (:data:`~.bench.ways.WAYS`), in the quick profile in the
            first; False where it starts a process, sends hundreds or chooses its connections itself.
    """

    assertion: Assertion
    phase: Phase
    run: ProbeFunction
    needs: tuple[Need, ...] = ()
    samples: int = 1
    quick: bool = True
    seconds: float = 60.0
    how: str = ""
    varies: tuple[Dimension, ...] = ()
    ways: bool = True

    def ways_of(self) -> tuple[Way, ...]:
        """Return the ways that differ in what a fault may depend on, where they are the probe's to choose."""
        if self.phase is not Phase.SERVE or not self.ways:
            return ()
        return tuple(way for way in WAYS if way.varies & set(self.assertion.depends_on))

    @property
    def varied(self) -> tuple[Dimension, ...]:
        """The dimensions that are varied, by the probe or by the way in which it is tried."""
        found = {*self.varies, *(one for way in self.ways_of() for one in way.varies)}
        return tuple(one for one in self.assertion.depends_on if one in found)


def probe(
    assertion_id: str,
    *,
    phase: Phase,
    needs: tuple[Need, ...] = (),
    samples: int = 1,
    quick: bool = True,
    seconds: float = 60.0,
    varies: tuple[Dimension, ...] = (),
    ways: bool = True,
) -> Callable[[ProbeFunction], Probe]:
    """Make a probe of an async function; see the module's text for how it is written.

    Raises:
        LookupError: the catalogue has no such assertion.
    """

    def made(function: ProbeFunction) -> Probe:
        return Probe(
            assertion=assertion(assertion_id),
            phase=phase,
            run=function,
            needs=needs,
            samples=samples,
            quick=quick,
            seconds=seconds,
            how=" ".join((function.__doc__ or "").split()),
            varies=varies,
            ways=ways,
        )

    return made
