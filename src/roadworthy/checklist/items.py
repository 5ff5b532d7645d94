"""The twelve items of the production checklist, in its order."""

from .model import Item

__all__ = ("ITEMS",)

ITEMS = (
    Item(
        id="error-handling",
        family="ERR",
        title="Error handling",
        why=(
            "Every failure, whoever produced it, must reach the client as one predictable shape with the "
            "right status, and must not show how the service is built. Without it clients parse HTML by "
            "guesswork and an attacker reads stack traces."
        ),
        source="ASVS 5.0 16.5, OWASP Error Handling Cheat Sheet, RFC 9457",
    ),
    Item(
        id="logging",
        family="LOG",
        title="Logging",
        why=(
            "One structured record per request on standard output is what incidents are solved with; a "
            "secret in it is an incident of its own."
        ),
        source="The Twelve-Factor App XI, ASVS 5.0 16.2, OWASP Logging Cheat Sheet",
    ),
    Item(
        id="request-validation",
        family="VAL",
        title="Request validation",
        why=(
            "What a client sends is refused or kept exactly; it never crashes the service, never changes in"
            " silence and never costs unbounded memory."
        ),
        source="ASVS 5.0 2.2, API3:2023, API4:2023",
    ),
    Item(
        id="compression",
        family="CMP",
        title="Response compression",
        why=(
            "Text shrinks to a fifth of its size; done wrongly it sends garbage to clients, poisons caches "
            "or holds back streams."
        ),
        source="RFC 9110 §8.4, §12.5.3",
    ),
    Item(
        id="cors",
        family="COR",
        title="CORS",
        why=(
            "Browsers let another site's scripts read responses only as far as the service allows. Too much"
            " opens private data to any page; too little hides errors from the service's own front end."
        ),
        source="WHATWG Fetch: CORS protocol",
    ),
    Item(
        id="rate-limiting",
        family="RTL",
        title="Rate limiting",
        why=(
            "A limit keeps one client from taking the service away from the others. It is worth something "
            "only if it is exact, cannot be evaded and never stops the probes."
        ),
        source="API4:2023, ASVS 5.0 2.4.1",
    ),
    Item(
        id="connection-pooling",
        family="POOL",
        title="Connection pooling",
        why=(
            "Connections to the database are few and dear. A pool reuses them, bounds them, gives up in "
            "time and gives every one of them back."
        ),
        source="ASVS 5.0 13.1.2, 13.1.3",
    ),
    Item(
        id="graceful-shutdown",
        family="SHUT",
        title="Graceful shutdown",
        why=(
            "Every deployment stops processes. Done well nobody notices; done badly each release drops "
            "requests, loses writes or hangs until it is killed."
        ),
        source="The Twelve-Factor App IX, Kubernetes: pod termination",
    ),
    Item(
        id="health-check",
        family="HLT",
        title="Health check",
        why=(
            "Liveness decides on a restart, readiness on traffic. Mixing them up turns a "
            "slow database into a restart loop."
        ),
        source="Kubernetes: liveness, readiness and startup probes",
    ),
    Item(
        id="metrics",
        family="MET",
        title="Metrics",
        why=(
            "Numbers that are wrong are worse than none. They must be exact over all workers, bounded in "
            "size and not open to everyone."
        ),
        source="Prometheus exposition formats, Prometheus instrumentation guide",
    ),
    Item(
        id="security-headers",
        family="HDR",
        title="Security headers",
        why=(
            "A few response fields switch off whole classes of attacks in the browser. They must stand on "
            "errors too, and must suit an API where it is one."
        ),
        source="OWASP HTTP Headers Cheat Sheet, ASVS 5.0 3.4",
    ),
    Item(
        id="environment",
        family="ENV",
        title="Configuration from the environment",
        why=(
            "One build runs everywhere; only the environment differs. A mistake must stop the start with "
            "the variable's name, and no secret may be printed on the way."
        ),
        source="The Twelve-Factor App III",
    ),
)
