"""What the checklist promises under ``fan-out`` (FAN)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="FAN-1",
        item="fan-out",
        severity=Severity.MEDIUM,
        title="Two independent reads take as long as the slower one, not their sum",
        why=("Waiting one after the other is the most common waste in services that only collect data."),
        source="Python documentation: asyncio.gather",
        depends_on=(On.PARALLEL,),
    ),
    Assertion(
        id="FAN-2",
        item="fan-out",
        severity=Severity.HIGH,
        title="A large batch runs with bounded concurrency",
        why=(
            "A goroutine or task for each of a thousand ids takes all connections and memory from everyone"
            " else."
        ),
        source="API4:2023, ASVS 5.0 13.1.2",
        depends_on=(On.SIZE, On.PARALLEL),
    ),
    Assertion(
        id="FAN-3",
        item="fan-out",
        severity=Severity.MEDIUM,
        title="Results come back in the requested order, with a place for each missing one",
        why=("Results in the order of arrival, as from a channel, match a user with another user's data."),
        source="Python documentation: asyncio.gather",
        depends_on=(On.VALUE, On.SIZE),
    ),
    Assertion(
        id="FAN-4",
        item="fan-out",
        severity=Severity.MEDIUM,
        title="One failing part ends the whole in time, and the other parts stop",
        why="Work that goes on after the answer wastes connections and hides its own errors.",
        source="Python documentation: asyncio task groups",
        depends_on=(On.PARALLEL, On.VALUE),
    ),
)
