"""What the checklist promises under ``graceful-shutdown`` (SHUT)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="SHUT-1",
        item="graceful-shutdown",
        severity=Severity.CRITICAL,
        title="Requests in flight at SIGTERM are answered completely",
        why=("A dropped request may be a payment; with several deployments a day it is a steady error rate."),
        source="The Twelve-Factor App IX, RFC 9112 §8",
        depends_on=(On.METHOD, On.ROUTE, On.DRAIN, On.PARALLEL, On.REPEAT, On.SIZE),
    ),
    Assertion(
        id="SHUT-2",
        item="graceful-shutdown",
        severity=Severity.HIGH,
        title="A large response being sent at SIGTERM is not cut short",
        why="A 200 with half a body and no error is the worst result, because nobody notices it.",
        source="RFC 9112 §7.1, §8",
        depends_on=(On.SIZE, On.DRAIN, On.CLIENT),
    ),
    Assertion(
        id="SHUT-3",
        item="graceful-shutdown",
        severity=Severity.HIGH,
        title="The process ends within its grace period, even with idle connections open",
        why=(
            "After the grace the orchestrator kills the process, together with whatever was still running "
            "in it."
        ),
        source="Kubernetes: terminationGracePeriodSeconds",
        depends_on=(On.CONNECTION, On.DRAIN, On.CLIENT, On.PARALLEL),
    ),
    Assertion(
        id="SHUT-4",
        item="graceful-shutdown",
        severity=Severity.MEDIUM,
        title="A clean stop has a clean exit status",
        why=(
            "Supervisors restart and alert on a status; one that always fails hides the stop that really "
            "went wrong."
        ),
        source="POSIX.1-2017 exit, Kludex/uvicorn#1600",
        depends_on=(On.DRAIN, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="SHUT-5",
        item="graceful-shutdown",
        severity=Severity.MEDIUM,
        title="New connections during shutdown are served or refused, never accepted and left silent",
        why=("A connection that is accepted and never answered costs its client the whole of its timeout."),
        source="RFC 9112 §9.6, Kubernetes: pod termination",
        depends_on=(On.DRAIN, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="SHUT-6",
        item="graceful-shutdown",
        severity=Severity.MEDIUM,
        title="Readiness turns negative first, while liveness stays positive until the exit",
        why=(
            "Load balancers need time to look away; without the signal they send requests to a process that"
            " is about to go."
        ),
        source="Kubernetes: container probes, spring-projects/spring-boot#24617",
        depends_on=(On.DRAIN, On.REPEAT),
    ),
    Assertion(
        id="SHUT-7",
        item="graceful-shutdown",
        severity=Severity.LOW,
        title="Responses during shutdown have Connection: close, and idle connections end soon",
        why="A client that keeps its connection sends the next request into a closing socket.",
        source="RFC 9112 §9.6",
        depends_on=(On.DRAIN, On.CONNECTION, On.METHOD),
    ),
    Assertion(
        id="SHUT-8",
        item="graceful-shutdown",
        severity=Severity.HIGH,
        title="Nothing is left behind: no process of the session and no open port",
        why=("A wrapper that does not pass the signal on leaves the old service running beside the new one."),
        source="The Twelve-Factor App IX, npm/npm#4603",
        depends_on=(On.WORKER, On.DRAIN, On.REPEAT),
    ),
    Assertion(
        id="SHUT-9",
        item="graceful-shutdown",
        severity=Severity.MEDIUM,
        title="No acknowledged write is lost, and no refused one is stored",
        why="Between the answer and the end of the process lies whatever was still in memory.",
        source="The Twelve-Factor App IX",
        depends_on=(On.METHOD, On.DRAIN, On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="SHUT-10",
        item="graceful-shutdown",
        severity=Severity.LOW,
        title=(
            "SIGINT stops the process too, a second SIGTERM truncates nothing, and the last record is flushed"
        ),
        why=("Impatient tools repeat the signal, and the end of the log is the part that explains a stop."),
        source="The Twelve-Factor App IX, XI",
        depends_on=(On.DRAIN, On.REPEAT, On.VALUE),
    ),
)
