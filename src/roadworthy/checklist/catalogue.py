"""The catalogue as a whole: everything in one order, and look-up by id.

The modules are listed by hand: the order of the checklist is the order of every list, page and report.
"""

from collections.abc import Mapping
from typing import TypeVar

from .assertions import (
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
from .items import ITEMS
from .model import Assertion, Item, Pattern
from .near import nearest
from .patterns import PATTERNS

__all__ = ("ASSERTIONS", "assertion", "assertions_of", "item", "pattern")

_Entry = TypeVar("_Entry", bound=Item | Pattern | Assertion)

ASSERTIONS: tuple[Assertion, ...] = (
    *error_handling.ASSERTIONS,
    *logging.ASSERTIONS,
    *request_validation.ASSERTIONS,
    *compression.ASSERTIONS,
    *cors.ASSERTIONS,
    *rate_limiting.ASSERTIONS,
    *connection_pooling.ASSERTIONS,
    *graceful_shutdown.ASSERTIONS,
    *health_check.ASSERTIONS,
    *metrics.ASSERTIONS,
    *security_headers.ASSERTIONS,
    *environment.ASSERTIONS,
    *controllers.ASSERTIONS,
    *service_layer.ASSERTIONS,
    *transactions.ASSERTIONS,
    *async_errors.ASSERTIONS,
    *error_classes.ASSERTIONS,
    *cpu_offload.ASSERTIONS,
    *fan_out.ASSERTIONS,
    *wiring.ASSERTIONS,
)
"""Every assertion, by item and pattern in the order of the checklist, then by number."""

_ITEMS = {entry.id: entry for entry in ITEMS}
_PATTERNS = {entry.id: entry for entry in PATTERNS}
_ENTRIES: dict[str, Item | Pattern] = {**_ITEMS, **_PATTERNS}
_ASSERTIONS = {entry.id: entry for entry in ASSERTIONS}


def item(item_id: str) -> Item:
    """Return the item of this id (``rate-limiting``).

    Raises:
        LookupError: the id is unknown; the message names the nearest one.
    """
    return _find(_ITEMS, item_id, "checklist item")


def pattern(pattern_id: str) -> Pattern:
    """Return the pattern of this id (``fan-out``).

    Raises:
        LookupError: the id is unknown; the message names the nearest one.
    """
    return _find(_PATTERNS, pattern_id, "code pattern")


def assertion(assertion_id: str) -> Assertion:
    """Return the assertion of this id (``RTL-6``).

    Raises:
        LookupError: the id is unknown; the message names the nearest one.
    """
    return _find(_ASSERTIONS, assertion_id, "assertion")


def assertions_of(entry_id: str) -> tuple[Assertion, ...]:
    """Return the assertions of one item or pattern, by number.

    Raises:
        LookupError: no item and no pattern has this id; the message names the nearest one.
    """
    _find(_ENTRIES, entry_id, "checklist item or code pattern")
    return tuple(entry for entry in ASSERTIONS if entry.item == entry_id)


def _find(entries: Mapping[str, _Entry], entry_id: str, kind: str) -> _Entry:
    found = entries.get(entry_id)
    if found is not None:
        return found
    spelled = {known.lower(): known for known in entries}
    near = nearest(entry_id.lower().replace("_", "-"), spelled, cutoff=0.0)
    assert near is not None
    raise LookupError(f"no {kind} is called {entry_id!r}; the nearest is {spelled[near]!r}")
