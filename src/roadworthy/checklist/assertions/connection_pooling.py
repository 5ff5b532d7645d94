"""What the checklist promises under ``connection-pooling`` (POOL)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="POOL-1",
        item="connection-pooling",
        severity=Severity.HIGH,
        title="Connections are reused from request to request",
        why=(
            "Opening a connection costs more than most queries, and a connection per request is how a busy "
            "service stops its own database."
        ),
        source="PostgreSQL documentation: connection settings",
        depends_on=(On.ROUTE, On.METHOD, On.REPEAT),
    ),
    Assertion(
        id="POOL-2",
        item="connection-pooling",
        severity=Severity.HIGH,
        title="The number of connections is bounded under load",
        why="Above the bound the database refuses everyone, this service's neighbours included.",
        source="ASVS 5.0 13.1.2, PostgreSQL SQLSTATE 53300",
        depends_on=(On.PARALLEL, On.ROUTE, On.METHOD),
    ),
    Assertion(
        id="POOL-3",
        item="connection-pooling",
        severity=Severity.MEDIUM,
        title="After a load the pool settles, and no transaction stays open",
        why=(
            "An idle transaction holds locks and stops the clean-up of old rows; connections that grow with"
            " each load are a leak."
        ),
        source="PostgreSQL documentation: pg_stat_activity, idle_in_transaction_session_timeout",
        depends_on=(On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="POOL-4",
        item="connection-pooling",
        severity=Severity.HIGH,
        title="Failing and abandoned requests give their connection back",
        why=(
            "A connection lost on each error path empties the pool slowly, and the service stops hours "
            "after the cause."
        ),
        source="ASVS 5.0 13.1.2",
        depends_on=(On.METHOD, On.ROUTE, On.CLIENT, On.STATUS, On.REPEAT),
    ),
    Assertion(
        id="POOL-5",
        item="connection-pooling",
        severity=Severity.HIGH,
        title=(
            "When every connection is busy, further requests fail within a time limit while liveness stays up"
        ),
        why="Waiting without a bound turns a slow database into a service that answers nobody.",
        source="ASVS 5.0 13.1.3, brianc/node-postgres#805",
        depends_on=(On.METHOD, On.ROUTE, On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="POOL-6",
        item="connection-pooling",
        severity=Severity.MEDIUM,
        title="Dropped connections are replaced without a restart",
        why=(
            "Databases fail over and firewalls drop idle connections; a pool that hands out dead ones fails"
            " until it is restarted."
        ),
        source="SQLAlchemy documentation: dealing with disconnects",
        depends_on=(On.REPEAT, On.PARALLEL, On.METHOD),
    ),
    Assertion(
        id="POOL-7",
        item="connection-pooling",
        severity=Severity.MEDIUM,
        title="All workers' pools together fit below the server's connection limit",
        why=(
            "Each pool looks right by itself; the sum over workers and replicas is what runs into the limit."
        ),
        source="PostgreSQL documentation: max_connections",
        depends_on=(On.WORKER, On.ENVIRONMENT),
    ),
    Assertion(
        id="POOL-8",
        item="connection-pooling",
        severity=Severity.LOW,
        title="Connections are closed properly at shutdown",
        why="A connection that is merely dropped stays on the server until a timeout finds it.",
        source="PostgreSQL frontend/backend protocol: Terminate",
        depends_on=(On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="POOL-9",
        item="connection-pooling",
        severity=Severity.MEDIUM,
        title='On SQLite, parallel writers never see "database is locked"',
        why=(
            "The default busy timeout is zero, so two writers are enough for an error that the client "
            "cannot do anything about."
        ),
        source="SQLite documentation: busy_timeout, WAL, BEGIN IMMEDIATE",
        depends_on=(On.PARALLEL, On.METHOD),
    ),
)
