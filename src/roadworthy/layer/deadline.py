"""Deadlines: a time budget for every exchange, kept by one sweep instead of a timer each.

A timer per request costs about a microsecond to set and cancel. All that is live stands in one set anyway, so
a sweep every fraction of the shortest budget finds what is late; a deadline is kept to within that fraction.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter

from ..errors import APIError, Limit, RequestTimeoutError, refused_by
from ..errors import TimeoutError as LateError
from ..settings import Settings
from .exchange import Exchange, Live

__all__ = ("Deadlines", "body_rate")

_LEAST_BODY_RATE = 1024.0
"""Bytes a second: below the slowest mobile link."""

# Late by at most a twentieth of the shortest budget, and never busier than 50 sweeps a second.
_FRACTION = 20
_SHORTEST_SWEEP = 0.02
_LONGEST_SWEEP = 0.5


def body_rate(settings: Settings) -> float:
    """Return the bytes a second that extend a body's deadline: at them, one of ``body_limit`` is in time.

    A body may take ``body_timeout`` and, besides, the time that what has arrived takes at this rate.
    """
    return max(_LEAST_BODY_RATE, settings.body_limit / (settings.body_timeout or inf))


class Deadlines:
    """Gives exchanges their deadlines and ends those that are late.

    Parameters:
        settings: ``request_timeout``, ``body_timeout`` and ``stream_idle_timeout`` in seconds; 0 means none.
        live: what is in flight, as the adapter keeps it.

    Attributes:
        exceeded: how many deadlines have passed.
    """

    def __init__(self, settings: Settings, live: set[Live]) -> None:
        self._total = settings.request_timeout or inf
        self._idle = settings.stream_idle_timeout or inf
        self._body = settings.body_timeout or inf
        self._body_rate = body_rate(settings)
        self._live = live
        self._sweep_every = _LONGEST_SWEEP
        self._consider(min(self._total, self._idle, settings.body_timeout or inf))
        self.exceeded = 0
        self._timer: asyncio.TimerHandle | None = None

    def _consider(self, budget: float) -> None:
        self._sweep_every = max(_SHORTEST_SWEEP, min(self._sweep_every, budget / _FRACTION))

    def for_rule(self, seconds: float) -> float:
        """Return the budget of a route with its own timeout, and keep the sweep fine enough for it."""
        budget = seconds or inf
        self._consider(budget)
        return budget

    def begin(self, exchange: Exchange) -> None:
        """Start the clock of an exchange; it runs from the moment the request came in."""
        rule = exchange.rule
        if rule is not None and rule.timeout is not None:
            exchange.deadline = exchange.started + self.for_rule(float(rule.timeout))
        else:
            exchange.deadline = exchange.started + self._total
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._sweep_every, self._sweep)

    def body(self, exchange: Exchange, since: float) -> float:
        """Return when a body of which the app has asked for the next piece is late.

        Parameters:
            exchange: its exchange; ``body_timeout`` of its rule goes before the setting.
            since: when the app began to read.
        """
        rule = exchange.rule
        timeout = self._body
        if rule is not None and rule.body_timeout is not None:
            timeout = self.for_rule(float(rule.body_timeout))
        return since + timeout + exchange.body_received / self._body_rate

    def verdict(self, exchange: Exchange, *, in_body: bool = False) -> APIError:
        """Return the refusal of an exchange that is late, with the setting or the rule that decides it.

        Parameters:
            exchange: its exchange, with the deadline that has passed.
            in_body: it waits for the client to send its body.
        """
        rule = exchange.rule
        total = self._total if rule is None or rule.timeout is None else float(rule.timeout)
        if not in_body:
            ruled = rule is not None and rule.timeout is not None
            return refused_by(LateError(), Limit("REQUEST_TIMEOUT", total, "seconds", "timeout", ruled))
        error = RequestTimeoutError()
        if exchange.deadline >= exchange.started + (total or inf):
            ruled = rule is not None and rule.timeout is not None
            return refused_by(error, Limit("REQUEST_TIMEOUT", total, "seconds", "timeout", ruled))
        ruled = rule is not None and rule.body_timeout is not None
        body = float(rule.body_timeout or 0) if rule is not None and ruled else self._body
        return refused_by(error, Limit("BODY_TIMEOUT", body, "seconds", "body_timeout", ruled))

    def exceeded_by(self, exchange: Exchange) -> TimeoutError:
        """Return why a response that has begun is cut, with the setting that decides it."""
        if exchange.streaming:
            return TimeoutError(f"the stream was silent for {self._idle:g} s: ROADWORTHY_STREAM_IDLE_TIMEOUT")
        return TimeoutError(
            "the response was not complete in time: ROADWORTHY_REQUEST_TIMEOUT, or timeout of its RouteRule"
        )

    def stream(self, exchange: Exchange) -> None:
        """A stream lives as long as it moves: its budget starts again with every chunk."""
        exchange.deadline = perf_counter() + self._idle

    def stop(self) -> None:
        """End the sweep."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = perf_counter()
        remaining = False
        for one in tuple(self._live):
            remaining = True
            if one.exchange.deadline < now:
                one.expire()
        if remaining:
            self._timer = asyncio.get_running_loop().call_later(self._sweep_every, self._sweep)
