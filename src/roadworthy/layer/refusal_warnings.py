"""Refusals name what decides them: each setting once as a warning, however many requests it refuses.

Whoever moves a service here meets limits that were not there before. The access record of every refusal has
its code, its limit and the setting (:class:`roadworthy.errors.Limit`); who only looks at warnings finds each
setting once in the life of a worker, so a flood of refusals is no flood of warnings.
"""

from __future__ import annotations

import logging

from ..errors import Limit
from ..settings import PREFIX
from .exchange import Exchange

__all__ = ("RefusalWarnings",)

_log = logging.getLogger("roadworthy.refusals")

_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_REASONS = {
    "ALLOWED_HOSTS": ("its host is not in", "Add the host if it is one of this service's"),
    "CORS_ORIGINS": ("its origin is not in", "Add the origin if its pages may open it"),
    "RATE_LIMIT_ON_OUTAGE": (
        "Redis does not answer, and by",
        "With the value open it is served all the same",
    ),
}
"""What is said of settings that are no number: what comes before the name, and the remedy."""
_OVER = ("over", "Raise it if the request was meant to pass")


class RefusalWarnings:
    """Warns of the first refusal by each setting, and of the first by each field of rules."""

    def __init__(self) -> None:
        # As many as there are settings at most: bounded without counting.
        self._named: set[tuple[str, bool]] = set()

    def finish(self, exchange: Exchange, limit: Limit) -> None:
        """Warn, unless this setting has been named before.

        Parameters:
            exchange: the request that was refused; its error goes by ``limit``.
        """
        known = (limit.setting, limit.ruled)
        if known in self._named or exchange.error is None:
            return
        self._named.add(known)
        name = limit.rule if limit.ruled else PREFIX + limit.setting
        reason, remedy = _REASONS.get(limit.setting, _OVER)
        if limit.rule and not limit.ruled:
            remedy += f", or give the route a rule with {limit.rule}"
        _log.warning(
            "%s was refused with %d: %s %s. %s. Said once; the record of every refusal names its setting.",
            _what(exchange),
            exchange.error.status,
            reason,
            name + _shown(limit) + (" of its rule" if limit.ruled else ""),
            remedy,
            extra={"code": exchange.error.code, "setting": name},
        )


def _what(exchange: Exchange) -> str:
    """Name the request by its route, which is the app's; its path is the client's."""
    if exchange.websocket:
        return f"WebSocket {exchange.route}" if exchange.route else "A WebSocket"
    return f"{exchange.method} {exchange.route}" if exchange.route else "A request"


def _shown(limit: Limit) -> str:
    value, unit = limit.value, limit.unit
    if value is None:
        return ""
    if unit == "bytes":
        for size, name in _SIZES:
            if value >= size and value % size == 0:
                return f" = {value // size:g} {name}"
    if "/" in unit:
        return f" = {value:g}{unit[unit.index('/') :]}"
    return f" = {value:g} {'s' if unit == 'seconds' else unit}"
