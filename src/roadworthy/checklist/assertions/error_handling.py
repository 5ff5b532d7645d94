"""What the checklist promises under ``error-handling`` (ERR)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="ERR-1",
        item="error-handling",
        severity=Severity.MEDIUM,
        title="An unknown path returns 404 in a machine-readable format",
        why=(
            'A client that expects JSON breaks on an HTML page or on a 200 that means "nothing here". The '
            "status tells it what happened, and the body must parse."
        ),
        source="RFC 9110 §15.5.5, RFC 9457",
        depends_on=(
            On.METHOD,
            On.ROUTE,
            On.MEDIA_TYPE,
            On.CONNECTION,
            On.HTTP_VERSION,
            On.REPEAT,
            On.PARALLEL,
        ),
    ),
    Assertion(
        id="ERR-2",
        item="error-handling",
        severity=Severity.MEDIUM,
        title="A method that the resource lacks returns 405 with a complete Allow field",
        why=("Allow is how a client learns what it may do instead; a 405 without it breaks a MUST of HTTP."),
        source="RFC 9110 §9.1, §10.2.1, §15.5.6",
        depends_on=(On.METHOD, On.ROUTE, On.CONNECTION, On.HTTP_VERSION, On.REPEAT),
    ),
    Assertion(
        id="ERR-3",
        item="error-handling",
        severity=Severity.MEDIUM,
        title="All errors share one shape",
        why=(
            "A client writes one error handler only if the message and the code stand at the same place in "
            "a 404, a 422, a 429 and a 500."
        ),
        source="RFC 9457 §3.1",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.MEDIA_TYPE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="ERR-4",
        item="error-handling",
        severity=Severity.HIGH,
        title="An unhandled exception gives a generic 5xx that leaks nothing",
        why=(
            "Stack traces, SQL, paths and exception texts tell an attacker where to go next, and a closed "
            "connection tells an honest client nothing."
        ),
        source="ASVS 5.0 16.5.1, API8:2023, RFC 9457 §5",
        depends_on=(
            On.METHOD,
            On.STATUS,
            On.MEDIA_TYPE,
            On.CONNECTION,
            On.HTTP_VERSION,
            On.REPEAT,
            On.PARALLEL,
        ),
    ),
    Assertion(
        id="ERR-5",
        item="error-handling",
        severity=Severity.HIGH,
        title="The process survives failing requests and clients that leave",
        why="An exception that ends a worker turns one bad request into an outage for everyone.",
        source="ASVS 5.0 16.5.4",
        depends_on=(On.METHOD, On.CLIENT, On.REPEAT, On.PARALLEL),
    ),
    Assertion(
        id="ERR-6",
        item="error-handling",
        severity=Severity.MEDIUM,
        title="HEAD, OPTIONS, TRACE and unknown methods are answered as HTTP requires",
        why=(
            "Monitors and caches send HEAD, browsers send OPTIONS, and a reflected TRACE hands out headers "
            "that scripts must not read."
        ),
        source="RFC 9110 §9.1, §9.3.2, §9.3.7, §9.3.8, ASVS 5.0 13.4.4",
        depends_on=(On.ROUTE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="ERR-7",
        item="error-handling",
        severity=Severity.HIGH,
        title=(
            "A failing or silent dependency gives an error within a time limit, and the service recovers by "
            "itself"
        ),
        why=(
            "A database that accepts connections and never answers otherwise holds every request until the "
            "clients give up, and an operator has to restart the service."
        ),
        source="ASVS 5.0 13.1.3, 16.5.2",
        depends_on=(On.METHOD, On.ROUTE, On.PARALLEL, On.REPEAT, On.CLIENT),
    ),
    Assertion(
        id="ERR-8",
        item="error-handling",
        severity=Severity.MEDIUM,
        title=(
            "Every server error leaves exactly one record with the request id and counts once in the metrics"
        ),
        why=(
            "An error that nobody recorded cannot be found; one recorded three times makes every count wrong."
        ),
        source="ASVS 5.0 16.3.4, Prometheus instrumentation guide",
        depends_on=(On.METHOD, On.ROUTE, On.CONNECTION, On.REPEAT, On.PARALLEL),
    ),
    Assertion(
        id="ERR-9",
        item="error-handling",
        severity=Severity.LOW,
        title="Error responses carry the right media type and the same protective fields as successes",
        why=(
            "Errors are often produced outside the middleware that sets headers, so they are the responses "
            "that lack nosniff or may be cached in public."
        ),
        source="RFC 9110 §8.3, §10.2.3, §15.6.4",
        depends_on=(On.METHOD, On.STATUS, On.MEDIA_TYPE, On.CONNECTION),
    ),
)
