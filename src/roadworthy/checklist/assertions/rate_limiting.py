"""What the checklist promises under ``rate-limiting`` (RTL)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="RTL-1",
        item="rate-limiting",
        severity=Severity.HIGH,
        title="A limit exists and is reached",
        why="A limit that was configured and never fires is the most common failure of this item.",
        source="API4:2023",
        depends_on=(On.METHOD, On.ROUTE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="RTL-2",
        item="rate-limiting",
        severity=Severity.HIGH,
        title=("Exactly the declared number of requests is admitted, one after another and at the same time"),
        why=(
            "A counter that is read and written in two steps admits more under exactly the load it was made"
            " for."
        ),
        source="API4:2023",
        depends_on=(On.PARALLEL, On.CONNECTION, On.REPEAT, On.KEY, On.METHOD),
    ),
    Assertion(
        id="RTL-3",
        item="rate-limiting",
        severity=Severity.MEDIUM,
        title="A refusal is 429 with a usable Retry-After in the common error shape",
        why="A client that does not know when to retry retries at once.",
        source="RFC 6585 §4, RFC 9110 §10.2.3",
        depends_on=(On.METHOD, On.REPEAT, On.CONNECTION, On.MEDIA_TYPE),
    ),
    Assertion(
        id="RTL-4",
        item="rate-limiting",
        severity=Severity.MEDIUM,
        title="After Retry-After has passed, the next request is admitted",
        why="A promise that is not kept teaches clients to ignore it.",
        source="RFC 9110 §10.2.3",
        depends_on=(On.REPEAT, On.CONNECTION),
    ),
    Assertion(
        id="RTL-5",
        item="rate-limiting",
        severity=Severity.LOW,
        title="The rate-limit fields, if sent, are correct",
        why="Clients pace themselves by these numbers; wrong ones are worse than none.",
        source="draft-ietf-httpapi-ratelimit-headers-11",
        depends_on=(On.REPEAT, On.PARALLEL, On.CONNECTION),
    ),
    Assertion(
        id="RTL-6",
        item="rate-limiting",
        severity=Severity.HIGH,
        title="The limit holds across all workers",
        why=(
            "A counter in each process admits the limit once per worker, so the true limit changes with "
            "every scaling."
        ),
        source="API4:2023, alisaifee/flask-limiter#256",
        depends_on=(On.WORKER, On.PARALLEL, On.CONNECTION),
    ),
    Assertion(
        id="RTL-7",
        item="rate-limiting",
        severity=Severity.HIGH,
        title="A client cannot escape by forging forwarding fields",
        why="Anybody can send X-Forwarded-For; if it chooses the key, the limit does not exist.",
        source="ASVS 5.0 4.1.3, RFC 7239 §8.1",
        depends_on=(On.VALUE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="RTL-8",
        item="rate-limiting",
        severity=Severity.MEDIUM,
        title="One client's use does not limit another",
        why=(
            "When all clients share one bucket, as happens behind a proxy that is not declared, the limit "
            "is an outage switch for anybody."
        ),
        source="API4:2023, RFC 7239 §8.1",
        depends_on=(On.KEY, On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="RTL-9",
        item="rate-limiting",
        severity=Severity.HIGH,
        title="Health probes, metrics and preflights are never limited",
        why=("A limited liveness probe makes the orchestrator restart a healthy service, again and again."),
        source="Kubernetes: liveness, readiness and startup probes; WHATWG Fetch: CORS-preflight fetch",
        depends_on=(On.ROUTE, On.METHOD, On.REPEAT),
    ),
    Assertion(
        id="RTL-10",
        item="rate-limiting",
        severity=Severity.LOW,
        title="A refusal is cheaper than an answer, is recorded, and failed sign-ins count",
        why=(
            "A limit that costs as much as the work protects nothing, and guessing passwords is what limits"
            " are most needed against."
        ),
        source="API4:2023, ASVS 5.0 2.4.1, 6.3.1",
        depends_on=(On.REPEAT, On.METHOD, On.STATUS),
    ),
)
