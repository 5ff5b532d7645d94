"""Every probe there is, by hand and in the order of the catalogue; and choosing among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..checklist import ASSERTIONS, ITEMS, PATTERNS, Assertion
from ..checklist.near import nearest
from .errors import ManifestError
from .probe import Probe
from .probes import (
    async_errors,
    compression,
    connection_pooling,
    controllers,
    cors,
    cpu_offload,
    environment,
    error_classes,
    error_handling,
    fan_out,
    graceful_shutdown,
    health_check,
    logging,
    metrics,
    rate_limiting,
    request_validation,
    security_headers,
    service_layer,
    transactions,
    wiring,
)

__all__ = ("PROBES", "choose", "probe_of")

PROBES: dict[str, Probe] = {
    each.assertion.id: each
    for module in (
        error_handling,
        logging,
        request_validation,
        compression,
        cors,
        rate_limiting,
        connection_pooling,
        graceful_shutdown,
        health_check,
        metrics,
        security_headers,
        environment,
        controllers,
        service_layer,
        transactions,
        async_errors,
        error_classes,
        cpu_offload,
        fan_out,
        wiring,
    )
    for each in module.PROBES
}
"""Every probe by the id of its assertion."""


def probe_of(assertion_id: str) -> Probe | None:
    """Return the probe of an assertion, or None while it has no probe."""
    return PROBES.get(assertion_id)


def choose(only: Sequence[str] = ()) -> tuple[Assertion, ...]:
    """Return the assertions of these ids (``SHUT-3``), families (``RTL``) or items (``rate-limiting``).

    Raises:
        ManifestError: a word names nothing; the message has the nearest name.
    """
    if not only:
        return ASSERTIONS
    groups: dict[str, set[str]] = {entry.id.lower(): {entry.id} for entry in ASSERTIONS}
    for entry in (*ITEMS, *PATTERNS):
        ids = {each.id for each in ASSERTIONS if each.item == entry.id}
        groups[entry.id] = groups[entry.family.lower()] = ids
    chosen: set[str] = set()
    for word in _words(only):
        found = groups.get(word.lower().replace("_", "-"))
        if found is None:
            near = nearest(word.lower(), groups, cutoff=0.4)
            items = {entry.id for entry in (*ITEMS, *PATTERNS)}
            hint = f"; did you mean {near if near in items else near.upper()}?" if near else ""
            raise ManifestError(f"no assertion, family or item is called {word!r}{hint}")
        chosen |= found
    return tuple(entry for entry in ASSERTIONS if entry.id in chosen)


def _words(only: Iterable[str]) -> Iterable[str]:
    return (word for text in only for word in text.replace(",", " ").split())
