"""What the checklist promises under ``service-layer`` (SVC)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="SVC-1",
        item="service-layer",
        severity=Severity.MEDIUM,
        title="The same rule gives the same refusal through every route that reaches it",
        why="A rule that was written into one controller is missing in the next one.",
        source="Patterns of Enterprise Application Architecture: Service Layer",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE, On.REPEAT),
    ),
    Assertion(
        id="SVC-2",
        item="service-layer",
        severity=Severity.HIGH,
        title="What one route has written, every other route reads at once",
        why="Two stores or a private cache in one route give two truths about the same thing.",
        source="Patterns of Enterprise Application Architecture: Repository",
        depends_on=(On.METHOD, On.ROUTE, On.WORKER, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="SVC-3",
        item="service-layer",
        severity=Severity.HIGH,
        title="A response holds exactly the documented fields",
        why=(
            "A row serialised as it is shows each column that is ever added to the table, password hashes "
            "included."
        ),
        source="API3:2023, Patterns of Enterprise Application Architecture: Data Transfer Object",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="SVC-4",
        item="service-layer",
        severity=Severity.MEDIUM,
        title="The same requests give the same answers on every supported store",
        why=("Only storage behind one interface can be replaced, and only a check on both shows that it is."),
        source="Patterns of Enterprise Application Architecture: Repository",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE),
    ),
)
