"""Every twin: its fault, the assertion that must see it, what else it breaks. One module per item."""

from ..harness import Twin
from . import (
    compression,
    controllers,
    cors,
    error_classes,
    error_handling,
    graceful_shutdown,
    health_check,
    logging,
    rate_limiting,
    transactions,
)

__all__ = ("ALSO_GOOD", "FAMILIES", "TWINS")

FAMILIES: dict[str, tuple[Twin, ...]] = {
    "ERR": error_handling.TWINS,
    "LOG": logging.TWINS,
    "RTL": rate_limiting.TWINS,
    "SHUT": graceful_shutdown.TWINS,
    "CMP": compression.TWINS,
    "COR": cors.TWINS,
    "HLT": health_check.TWINS,
    "CTL": controllers.TWINS,
    "TXN": transactions.TWINS,
    "ECL": error_classes.TWINS,
}
"""The twins by the family of the assertions they are for."""

ALSO_GOOD: dict[str, tuple[tuple[str, str], ...]] = {"COR": cors.NONE}
"""A second good service of a family, for what does not apply to the first: what its manifest replaces."""

TWINS: tuple[Twin, ...] = tuple(twin for twins in FAMILIES.values() for twin in twins)
