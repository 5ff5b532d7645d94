"""What the checklist promises under ``wiring`` (WIR)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="WIR-1",
        item="wiring",
        severity=Severity.HIGH,
        title="No request is served before configuration, migrations and pools are ready",
        why=("The first requests after each start otherwise meet a schema or a pool that is not there."),
        source="The Twelve-Factor App IX, Kubernetes: container probes",
        depends_on=(On.REPEAT, On.ENVIRONMENT),
    ),
    Assertion(
        id="WIR-2",
        item="wiring",
        severity=Severity.MEDIUM,
        title="The parts stop in the opposite order of their start, and each step leaves a record",
        why="A pool closed before its last request turns a clean stop into errors.",
        source="The Twelve-Factor App IX",
        depends_on=(On.DRAIN, On.PARALLEL),
    ),
    Assertion(
        id="WIR-3",
        item="wiring",
        severity=Severity.HIGH,
        title="The same build serves another port, store and log level from the environment alone",
        why="Whatever has to be edited for another place will one day be edited wrongly.",
        source="The Twelve-Factor App III, X",
        depends_on=(On.ENVIRONMENT,),
    ),
    Assertion(
        id="WIR-4",
        item="wiring",
        severity=Severity.MEDIUM,
        title="A start that fails ends with a non-zero status and leaves nothing open",
        why=("A half-started process holds its port and its locks, and nobody knows whether it serves."),
        source="The Twelve-Factor App IX",
        depends_on=(On.ENVIRONMENT,),
    ),
    Assertion(
        id="WIR-5",
        item="wiring",
        severity=Severity.MEDIUM,
        title="Routes made for tests are not part of the production service",
        why=("A route that sleeps or fails on request is a switch for anybody to turn the service off."),
        source="ASVS 5.0 13.4, API9:2023",
        depends_on=(On.ROUTE, On.METHOD),
    ),
)
