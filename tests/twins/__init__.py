"""Every twin: its fault, the assertion that must see it, what else it breaks. One module per item.

The faults themselves are in `tests/zoo/parts`, switched by their names.
"""

from tests.zoo.harness import Twin

from . import (
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

__all__ = ("ALSO_GOOD", "FAMILIES", "TWINS")

FAMILIES: dict[str, tuple[Twin, ...]] = {
    "ERR": error_handling.TWINS,
    "LOG": logging.TWINS,
    "RTL": rate_limiting.TWINS,
    "POOL": connection_pooling.TWINS,
    "SHUT": graceful_shutdown.TWINS,
    "CMP": compression.TWINS,
    "COR": cors.TWINS,
    "HDR": security_headers.TWINS,
    "VAL": request_validation.TWINS,
    "HLT": health_check.TWINS,
    "MET": metrics.TWINS,
    "ENV": environment.TWINS,
    "CTL": controllers.TWINS,
    "TXN": transactions.TWINS,
    "ECL": error_classes.TWINS,
    "AER": async_errors.TWINS,
    "FAN": fan_out.TWINS,
    "SVC": service_layer.TWINS,
    "CPU": cpu_offload.TWINS,
    "WIR": wiring.TWINS,
}
"""The twins by the family of the assertions they are for."""

ALSO_GOOD: dict[str, tuple[tuple[str, str], ...]] = {
    "ERR": error_handling.EXACT,
    "COR": cors.NONE,
    "POOL": connection_pooling.SQLITE,
    "TXN": transactions.PLAIN,
}
"""A second good service of a family, for what does not apply to the first: what its manifest replaces."""

TWINS: tuple[Twin, ...] = tuple(twin for twins in FAMILIES.values() for twin in twins)
