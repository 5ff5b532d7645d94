"""What the checklist promises under ``logging`` (LOG)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="LOG-1",
        item="logging",
        severity=Severity.HIGH,
        title="Each request leaves exactly one access record on the standard streams, at once",
        why=(
            "A missing record hides a request, a doubled one doubles every statistic, and one held in a "
            "buffer is not there when the process is killed."
        ),
        source="The Twelve-Factor App XI",
        depends_on=(
            On.METHOD,
            On.ROUTE,
            On.STATUS,
            On.CONNECTION,
            On.HTTP_VERSION,
            On.REPEAT,
            On.PARALLEL,
            On.CLIENT,
            On.WORKER,
            On.SIZE,
        ),
    ),
    Assertion(
        id="LOG-2",
        item="logging",
        severity=Severity.MEDIUM,
        title="Every line is one machine-readable record",
        why=(
            "A stack trace spread over thirty lines becomes thirty records for a collector, and none of "
            "them says which request it belongs to."
        ),
        source="ASVS 5.0 16.2.4",
        depends_on=(On.METHOD, On.STATUS, On.CONNECTION, On.REPEAT, On.PARALLEL),
    ),
    Assertion(
        id="LOG-3",
        item="logging",
        severity=Severity.MEDIUM,
        title=("A record has the time, level, method, route, status, duration and request id"),
        why=(
            "Those are the questions of every incident; a time without an offset cannot be joined with the "
            "records of another machine."
        ),
        source="ASVS 5.0 16.2.1, 16.2.2, OWASP Logging Cheat Sheet",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.HTTP_VERSION, On.REPEAT),
    ),
    Assertion(
        id="LOG-4",
        item="logging",
        severity=Severity.MEDIUM,
        title=("Every response carries the request id of its record, and a hostile id is never echoed"),
        why=(
            "The id is how a customer's complaint is found in the log, on errors above all; an id taken "
            "over unchecked is a way to write into the log."
        ),
        source="OWASP Logging Cheat Sheet, W3C Trace Context, Kludex/starlette#1175",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.REPEAT, On.PARALLEL, On.VALUE),
    ),
    Assertion(
        id="LOG-5",
        item="logging",
        severity=Severity.HIGH,
        title="No secret reaches the log",
        why=(
            "Logs are copied to many places with weaker protection than the service: credentials, cookies, "
            "tokens in queries and passwords in bodies must stay out at every level."
        ),
        source="ASVS 5.0 16.2.5, OWASP Logging Cheat Sheet",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.ENVIRONMENT, On.VALUE),
    ),
    Assertion(
        id="LOG-6",
        item="logging",
        severity=Severity.MEDIUM,
        title="A client cannot forge or break records",
        why=(
            "A line feed or an escape sequence in a path would otherwise let an attacker write records of "
            "their own or attack the terminal of whoever reads them."
        ),
        source="ASVS 5.0 16.4.1, CWE-117",
        depends_on=(On.METHOD, On.CONNECTION, On.VALUE),
    ),
    Assertion(
        id="LOG-7",
        item="logging",
        severity=Severity.MEDIUM,
        title="The log level is set from the environment and obeyed",
        why=("Operators need more detail in an incident and less cost on other days, without another build."),
        source="The Twelve-Factor App III, ASVS 5.0 16.2",
        depends_on=(On.STATUS, On.ENVIRONMENT),
    ),
    Assertion(
        id="LOG-8",
        item="logging",
        severity=Severity.LOW,
        title="Levels match their meaning, and the start and the stop are recorded",
        why=(
            "Alerts are built on the error level: a 404 at error wakes people for nothing, a 500 at info "
            "wakes nobody."
        ),
        source="OWASP Logging Cheat Sheet",
        depends_on=(On.METHOD, On.STATUS, On.REPEAT),
    ),
    Assertion(
        id="LOG-9",
        item="logging",
        severity=Severity.LOW,
        title="Records go to the standard streams only",
        why="A log file inside a container fills its disk and disappears with it.",
        source="The Twelve-Factor App XI, ASVS 5.0 16.2.3",
        depends_on=(On.METHOD, On.STATUS, On.REPEAT),
    ),
)
