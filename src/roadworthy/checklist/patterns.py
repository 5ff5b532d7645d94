"""The eight code patterns that every stack must show, in the order a request meets them."""

from .model import Pattern

__all__ = ("PATTERNS",)

PATTERNS = (
    Pattern(
        id="controllers",
        family="CTL",
        title="Routes and controllers",
        why=(
            "The edge of a service turns HTTP into calls and results into statuses. When each route does it"
            " in its own way, clients need to know each route."
        ),
        source="RFC 9110 §15",
    ),
    Pattern(
        id="service-layer",
        family="SVC",
        title="Service layer and repositories",
        why=(
            "Rules live in services, storage in repositories, wire shapes in DTOs. Then a rule holds "
            "whoever calls, and the storage can be changed in one place."
        ),
        source=(
            "Fowler: Patterns of Enterprise Application Architecture (Service Layer, Repository, Data "
            "Transfer Object)"
        ),
    ),
    Pattern(
        id="transactions",
        family="TXN",
        title="Transactions",
        why=(
            "A change that touches several rows happens as a whole or not at all, and the client hears of "
            "success only after it is certain."
        ),
        source="SQL:2016 transactions, PostgreSQL documentation: transactions",
    ),
    Pattern(
        id="async-errors",
        family="AER",
        title="Errors in asynchronous code",
        why=(
            "A failure in a task or a callback is recorded once, passed on and handled in one place. "
            "Asynchronous code makes it easy to lose one."
        ),
        source="ASVS 5.0 16.5, Python documentation: asyncio task groups",
    ),
    Pattern(
        id="error-classes",
        family="ECL",
        title="Error classes",
        why=(
            "A small family of error classes, each with its status and code, lets a service say what is "
            "wrong without knowing about HTTP at every place."
        ),
        source="RFC 9457 §3.1, RFC 9110 §15",
    ),
    Pattern(
        id="cpu-offload",
        family="CPU",
        title="CPU-bound work",
        why=(
            "Work that computes for long runs beside the request loop, in bounded numbers, so that one "
            "heavy request does not stop all light ones."
        ),
        source="Node.js documentation: don't block the event loop",
    ),
    Pattern(
        id="fan-out",
        family="FAN",
        title="Concurrent fan-out",
        why=(
            "Independent reads run together, in bounded numbers and in a known order, so that a page costs "
            "its slowest part and not the sum."
        ),
        source="Python documentation: asyncio.gather, Go blog: pipelines and cancellation",
    ),
    Pattern(
        id="wiring",
        family="WIR",
        title="Wiring",
        why=(
            "A service is put together in one place: configuration first, then what depends on it, and "
            "taken apart in the opposite order."
        ),
        source="The Twelve-Factor App III, IX",
    ),
)
