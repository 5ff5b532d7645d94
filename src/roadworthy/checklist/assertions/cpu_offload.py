"""What the checklist promises under ``cpu-offload`` (CPU)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="CPU-1",
        item="cpu-offload",
        severity=Severity.HIGH,
        title="Light requests stay fast while CPU-bound work runs",
        why=(
            "A computation on the event loop stops every other request of the process, health probes "
            "included."
        ),
        source=(
            "Node.js documentation: don't block the event loop, Python documentation: developing with asyncio"
        ),
        depends_on=(On.PARALLEL,),
    ),
    Assertion(
        id="CPU-2",
        item="cpu-offload",
        severity=Severity.HIGH,
        title="When the queue for CPU-bound work is full, the service returns 503 with Retry-After",
        why="A queue without a bound answers everyone too late.",
        source="RFC 9110 §10.2.3, §15.6.4",
        depends_on=(On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="CPU-3",
        item="cpu-offload",
        severity=Severity.MEDIUM,
        title="A worker that dies fails its own request only, and is replaced",
        why=(
            "Native code crashes and memory runs out; a pool that stays broken afterwards turns one failure"
            " into an outage."
        ),
        source="Python documentation: concurrent.futures.process.BrokenProcessPool",
        depends_on=(On.WORKER, On.REPEAT),
    ),
    Assertion(
        id="CPU-4",
        item="cpu-offload",
        severity=Severity.MEDIUM,
        title="Two computations run at the same time on two processors",
        why="Moving work to a thread that shares one lock only moves the queue.",
        source="Python documentation: global interpreter lock",
        depends_on=(On.PARALLEL,),
    ),
)
