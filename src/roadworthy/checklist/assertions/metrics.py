"""What the checklist promises under ``metrics`` (MET)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="MET-1",
        item="metrics",
        severity=Severity.MEDIUM,
        title="The metrics endpoint returns 200 with a media type that Prometheus accepts",
        why="Prometheus 3 refuses a scrape whose media type is missing or unknown.",
        source="Prometheus exposition formats, OpenMetrics 1.0",
        depends_on=(On.MEDIA_TYPE, On.CONNECTION, On.METHOD, On.REPEAT),
    ),
    Assertion(
        id="MET-2",
        item="metrics",
        severity=Severity.HIGH,
        title="The exposition is valid in every line",
        why="One malformed line discards the whole scrape, and with it every alert.",
        source="Prometheus exposition formats",
        depends_on=(On.METHOD, On.STATUS, On.MEDIA_TYPE, On.REPEAT),
    ),
    Assertion(
        id="MET-3",
        item="metrics",
        severity=Severity.LOW,
        title="Names, units and help texts follow the conventions",
        why=(
            "Dashboards and people find what is named as everywhere else: base units, _total for counters, "
            "a help text."
        ),
        source="Prometheus metric and label naming, promlint",
        depends_on=(On.MEDIA_TYPE,),
    ),
    Assertion(
        id="MET-4",
        item="metrics",
        severity=Severity.HIGH,
        title="The request counter moves by exactly the number of requests, by method and status",
        why="Error rates and alerts are quotients of these counters.",
        source="Prometheus instrumentation guide",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.HTTP_VERSION, On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="MET-5",
        item="metrics",
        severity=Severity.HIGH,
        title="The numbers are exact and never fall when several workers serve",
        why=(
            "A scrape that reaches one worker of four shows a quarter of the traffic, and another quarter "
            "the next time."
        ),
        source="prometheus/client_python#751",
        depends_on=(On.WORKER, On.METHOD, On.STATUS, On.PARALLEL),
    ),
    Assertion(
        id="MET-6",
        item="metrics",
        severity=Severity.HIGH,
        title="Identifiers in paths do not create series",
        why=("A series for each user id fills the memory of the service first and of Prometheus next."),
        source="Prometheus instrumentation guide: do not overuse labels",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.VALUE),
    ),
    Assertion(
        id="MET-7",
        item="metrics",
        severity=Severity.HIGH,
        title="Unknown paths, methods, hosts and agents do not create series",
        why=(
            "Anybody on the network can invent paths, so labels that repeat them let anybody use up the "
            "memory."
        ),
        source="Prometheus instrumentation guide: do not overuse labels, zsais/go-gin-prometheus#36",
        depends_on=(On.METHOD, On.STATUS, On.VALUE),
    ),
    Assertion(
        id="MET-8",
        item="metrics",
        severity=Severity.MEDIUM,
        title=(
            "Duration is measured in seconds, requests in flight return to zero, and failures are counted"
        ),
        why=("A histogram in the wrong unit or a gauge that only rises makes every threshold meaningless."),
        source="Prometheus metric and label naming: base units",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CLIENT, On.PARALLEL),
    ),
    Assertion(
        id="MET-9",
        item="metrics",
        severity=Severity.MEDIUM,
        title=("Metrics show no secret, are not public by accident and stay readable under a rate limit"),
        why=(
            "Routes, rates and versions help an attacker, and the numbers matter most while the "
            "service is overloaded."
        ),
        source="ASVS 5.0 13.4.5, OWASP REST Security Cheat Sheet",
        depends_on=(On.VALUE, On.MEDIA_TYPE, On.STATUS),
    ),
)
