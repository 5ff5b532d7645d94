"""What the checklist promises under ``health-check`` (HLT)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="HLT-1",
        item="health-check",
        severity=Severity.HIGH,
        title="Liveness answers quickly with a success, without credentials or redirects",
        why=(
            "The orchestrator restarts what does not answer; it has no credentials and does not follow "
            "redirects to other hosts."
        ),
        source="Kubernetes: container probes",
        depends_on=(On.METHOD, On.CONNECTION, On.HTTP_VERSION, On.REPEAT, On.MEDIA_TYPE),
    ),
    Assertion(
        id="HLT-2",
        item="health-check",
        severity=Severity.MEDIUM,
        title="Readiness has its own endpoint",
        why=("One endpoint for both makes every reason to withhold traffic a reason to kill the process."),
        source="Kubernetes: container probes, zegl/kube-score pod-probes-identical",
        depends_on=(On.METHOD,),
    ),
    Assertion(
        id="HLT-3",
        item="health-check",
        severity=Severity.HIGH,
        title="Readiness is negative until the service can really serve",
        why=("The first users after each deployment otherwise meet a process that has no database yet."),
        source="Kubernetes: container probes",
        depends_on=(On.REPEAT, On.ENVIRONMENT),
    ),
    Assertion(
        id="HLT-4",
        item="health-check",
        severity=Severity.HIGH,
        title="Liveness does not depend on the database",
        why=(
            "Restarting a service does not repair its database, and restarting all of them at once makes "
            "the outage longer."
        ),
        source="Kubernetes: container probes",
        depends_on=(On.METHOD, On.REPEAT),
    ),
    Assertion(
        id="HLT-5",
        item="health-check",
        severity=Severity.MEDIUM,
        title="Readiness follows exactly the dependencies that are declared as required",
        why=(
            "Whether a missing dependency should stop the traffic is the owner's decision; the endpoint "
            "must do what was decided."
        ),
        source="Kubernetes: container probes",
        depends_on=(On.METHOD, On.REPEAT),
    ),
    Assertion(
        id="HLT-6",
        item="health-check",
        severity=Severity.MEDIUM,
        title="Probes stay fast under load and with the pool exhausted",
        why=(
            "The default timeout of a probe is one second; a busy service that misses it is restarted and "
            "then has even more to do."
        ),
        source="Kubernetes: container probes (timeoutSeconds)",
        depends_on=(On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="HLT-7",
        item="health-check",
        severity=Severity.MEDIUM,
        title="Probes are not limited, not cached and not counted as user traffic",
        why=("A cached health answer reports the past, and probes every second drown the real numbers."),
        source="RFC 9111 §5.2.2.5, Prometheus instrumentation guide",
        depends_on=(On.METHOD, On.REPEAT),
    ),
    Assertion(
        id="HLT-8",
        item="health-check",
        severity=Severity.MEDIUM,
        title="Status and body agree",
        why=(
            "Some monitors read the status and others the body; they must not come to different conclusions."
        ),
        source="RFC 9110 §15",
        depends_on=(On.METHOD, On.MEDIA_TYPE),
    ),
    Assertion(
        id="HLT-9",
        item="health-check",
        severity=Severity.MEDIUM,
        title="A failing health check shows nothing internal",
        why=(
            "The endpoint is public and fails when much else does: connection strings, host names and "
            "versions do not belong there."
        ),
        source="API8:2023, ASVS 5.0 16.5.1",
        depends_on=(On.METHOD, On.MEDIA_TYPE),
    ),
)
