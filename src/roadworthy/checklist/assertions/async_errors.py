"""What the checklist promises under ``async-errors`` (AER)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="AER-1",
        item="async-errors",
        severity=Severity.HIGH,
        title="A failure is recorded exactly once, with the request id of its response",
        why="A record at every level on the way up makes one failure look like four.",
        source="ASVS 5.0 16.3.4",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.PARALLEL),
    ),
    Assertion(
        id="AER-2",
        item="async-errors",
        severity=Severity.HIGH,
        title="A failed operation never returns a success",
        why="A swallowed exception is a lie to the client and invisible to the operator.",
        source="ASVS 5.0 16.5.3",
        depends_on=(On.METHOD, On.ROUTE, On.REPEAT),
    ),
    Assertion(
        id="AER-3",
        item="async-errors",
        severity=Severity.MEDIUM,
        title="Failures of every route and layer reach the client through one handler",
        why="The second handler is the one that leaks or that forgets the request id.",
        source="ASVS 5.0 16.5.1, 16.5.4",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS),
    ),
    Assertion(
        id="AER-4",
        item="async-errors",
        severity=Severity.MEDIUM,
        title="A failing concurrent part ends its request and leaves no task behind",
        why=(
            "A task that nobody awaits goes on with a connection in its hand, and its exception surfaces in"
            " another request's log lines."
        ),
        source="Python documentation: asyncio task groups",
        depends_on=(On.PARALLEL, On.CLIENT, On.REPEAT),
    ),
    Assertion(
        id="AER-5",
        item="async-errors",
        severity=Severity.LOW,
        title="The record keeps the original cause",
        why=(
            "A rethrown error without its cause points at the place that noticed, not at the place that "
            "failed."
        ),
        source="PEP 3134, ECMA-262 Error cause",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS),
    ),
)
