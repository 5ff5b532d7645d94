"""What the checklist promises under ``transactions`` (TXN)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="TXN-1",
        item="transactions",
        severity=Severity.CRITICAL,
        title="A failure in the middle of a change leaves nothing half-done",
        why="Half a transfer is wrong data that no retry repairs.",
        source="PostgreSQL documentation: transactions",
        depends_on=(On.METHOD, On.CLIENT, On.REPEAT, On.PARALLEL),
    ),
    Assertion(
        id="TXN-2",
        item="transactions",
        severity=Severity.CRITICAL,
        title="A success is returned only after the commit",
        why=("A commit can fail; an answer sent before it tells the client of data that does not exist."),
        source="PostgreSQL documentation: transactions, fastapi/fastapi#11143",
        depends_on=(On.METHOD, On.ROUTE, On.REPEAT),
    ),
    Assertion(
        id="TXN-3",
        item="transactions",
        severity=Severity.CRITICAL,
        title="An acknowledged write survives the sudden death of the process",
        why="A client throws its copy away once it has the 2xx.",
        source="PostgreSQL documentation: reliability and the write-ahead log",
        depends_on=(On.METHOD, On.ROUTE, On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="TXN-4",
        item="transactions",
        severity=Severity.HIGH,
        title="Concurrent changes of one row lose no update",
        why="Two requests that read, add and write back end with one of the two additions.",
        source="PostgreSQL documentation: transaction isolation",
        depends_on=(On.PARALLEL, On.REPEAT, On.WORKER),
    ),
    Assertion(
        id="TXN-5",
        item="transactions",
        severity=Severity.MEDIUM,
        title="Deleting a parent takes its children along in the same transaction",
        why="An orphaned row breaks the next reader, who expects the parent to be there.",
        source="PostgreSQL documentation: constraints",
        depends_on=(On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="TXN-6",
        item="transactions",
        severity=Severity.MEDIUM,
        title="A request repeated with the same Idempotency-Key takes effect once",
        why=(
            "After a timeout a client cannot know whether its write happened, so it must be able to ask "
            "again."
        ),
        source="draft-ietf-httpapi-idempotency-key-header",
        depends_on=(On.KEY, On.PARALLEL, On.REPEAT, On.CLIENT),
    ),
)
