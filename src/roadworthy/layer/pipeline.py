"""The pass: every item of the layer, and the order in which they act.

This is the one place where the items meet. What a step needs is computed when the pass is built; a request
only runs the steps. The order is part of the promise, so each row has the reason for its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter

from ..errors import APIError
from ..settings import Settings
from ..types import ASGIApp
from .client import Client
from .compression import Compression
from .connection_pooling import ConnectionPooling, is_pool_timeout
from .cors import Cors, is_preflight
from .deadline import Deadlines
from .error_handling import ErrorHandling
from .exchange import Exchange, Outcome
from .frameworks import Framework
from .graceful_shutdown import GracefulShutdown
from .health_check import HealthCheck
from .limiter.memory import MemoryStore
from .local.group import worker_group
from .local.shared_bytes import shared_bytes
from .logging import PROBE_PATHS, Logging
from .metrics import Metrics
from .operations import PublicMetrics
from .overload import Overload
from .rate_limiting import RateLimiting
from .refusal_warnings import RefusalWarnings
from .request_id import RequestId
from .request_validation import RequestValidation
from .resources import Resources
from .route_table import RouteTable
from .routes import RouteInfo, RouteKey, RouteRule, rule_of
from .security_headers import SecurityHeaders
from .tracing import Tracing
from .trusted_host import TrustedHost
from .user_key import KeyFunction

__all__ = ("Pass",)


class Pass:
    """The items of one service, built once.

    Parameters:
        app: the app that the layer surrounds.
        framework: the adapter for the app's framework.
        settings: the settings of the service.
        routes: the app's routes.
        rules: per-route rules by ``"METHOD /template"`` or ``"/template"``, besides those on handlers.
        resources: pools and other things that open before the first request and close after the last.
        user_key: returns who a request is for, once that is verified.
        alone: share nothing with other workers (the self-test).

    Raises:
        ValueError: a rule counts by user and nothing says who the user is.
    """

    def __init__(
        self,
        app: ASGIApp,
        framework: Framework,
        settings: Settings,
        routes: Sequence[RouteInfo],
        rules: Sequence[tuple[frozenset[str], str, RouteRule]] = (),
        resources: Resources = (),
        user_key: KeyFunction | None = None,
        alone: bool = False,
    ) -> None:
        self.app = app
        self.loop: asyncio.AbstractEventLoop | None = None
        self.framework = framework
        self.settings = settings
        self.routes = routes
        self.rules = [
            *rules,
            *((route.methods, route.template, rule) for route in routes if (rule := rule_of(route.endpoint))),
        ]
        self.places: Mapping[int, str] = {}
        """Where rules stand that are not in the code, by the ``id`` of each."""
        self.table = RouteTable(rules, routes, framework, framework.rooted, bool(framework.opaque))
        self.ruled = self.table.ruled
        self.may_cancel = settings.cancel_on_disconnect or any(
            rule.cancel_on_disconnect for _, _, rule in self.rules
        )
        self._user_key = user_key
        if user_key is None and any(rule.rate_key == "user" for _, _, rule in self.rules):
            raise ValueError(
                'a rule has rate_key="user"; give roadworthy() a user_key that returns who that is'
            )

        # How many share is known to their server; two are the fewest.
        group = None if alone else worker_group(shared_bytes(settings, 2))
        self.errors = ErrorHandling(settings, is_pool_timeout)
        self.shutdown = GracefulShutdown(settings)
        self.live = self.shutdown.live
        self.deadlines = Deadlines(settings, self.live)
        self.overload = Overload(settings)
        self.validation = RequestValidation(settings)
        self.logging = Logging(settings)
        self.refusal_warnings = RefusalWarnings()
        self.metrics = Metrics(settings, group.directory if group else None)
        self.health = HealthCheck(settings, off=_own_probes(routes))
        self.pooling = ConnectionPooling(settings, resources)
        self.tracing = Tracing(
            settings,
            native=lambda: framework.native_tracing,
            source=lambda: framework.tracer_source,
            probes=PROBE_PATHS,
            off=alone,
        )
        self.request_id = RequestId(settings)
        self.client = Client(settings)
        self.host = TrustedHost(settings)
        self.cors = Cors(settings)
        self.limiter = RateLimiting(
            settings, self.rules, MemoryStore(settings.rate_limit_keys) if alone else None
        )
        self.compression = Compression(settings) if settings.compression else None
        self.headers = SecurityHeaders(settings, framework.docs_paths(), framework.docs_pages)

        self.scrape = PublicMetrics(settings, self.metrics) if settings.metrics_public else None
        self.shutdown.on_change(self.health.follow)
        self._watch()
        self._recorded = not alone
        self._secured = settings.security_headers
        self.behind_proxies = bool(settings.trusted_proxies)
        """Trusted proxies are configured: one of them may report another client than the peer."""
        self.strict = settings.http_strict
        self.raises = settings.env == "test"
        """A test client gets what the app raised, after its 500, as it does without the layer."""
        self._traced = True

    # The steps are written out: CPython runs a call that it has seen at its place before without a new frame
    # of C, which a loop over steps never gets.

    def admit(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Take the steps before the app, in order; the first outcome ends them."""
        self.request_id.admit(exchange)  # first: every answer and every record carries the id
        self.tracing.admit(exchange)
        self.client.admit(exchange)  # limits and records need to know who asks
        if exchange.repeat is not None and self.strict:
            # Before anything is decided by a field of which the app may read another line.
            return exchange.repeat
        if exchange.route_path in self.health.paths:
            # Before host, limits and load: a probe must get through to say what it sees.
            answer = self.health.admit(exchange)
            if answer is not None:
                return answer
        if exchange.headers.get(b"host") not in self.host.good:
            misdirected = self.host.admit(exchange)  # before anything that trusts the request target
            if misdirected is not None:
                return misdirected
        if self.scrape is not None:
            answer = self.scrape.admit(exchange)  # a scrape comes through as well
            if answer is not None:
                return answer
        if exchange.method == "OPTIONS":
            # A preflight carries no credentials and is no use of the service.
            answer = self.cors.admit(exchange)
            if answer is not None:
                return answer
            if is_preflight(exchange):
                # The app grants access by itself. It is not counted here either.
                return self.validation.admit(exchange)
        if self.ruled:
            self.find_rule(exchange)
        if self.limiter.enabled:
            limited = self.limiter.admit(exchange)  # before the body is looked at: refusing must be cheap
            if limited is not None:
                return limited if isinstance(limited, APIError) else self._admit_later(exchange, limited)
        return self.validation.admit(exchange)

    async def _admit_later(self, exchange: Exchange, limited: Awaitable[APIError | None]) -> Outcome:
        return await limited or self.validation.admit(exchange)

    def respond(self, exchange: Exchange) -> None:
        """Take the steps when status and fields are known and nothing is sent yet; none of them raises."""
        self.request_id.respond(exchange)
        if self._secured:
            self.headers.respond(exchange)
        if exchange.close or self.shutdown.draining:
            self.shutdown.respond(exchange)
        if self.cors.enabled:
            self.cors.respond(exchange)
        if self.limiter.enabled:
            self.limiter.respond(exchange)
        if self.tracing.follows:
            self.tracing.respond(exchange)

    def finish(self, exchange: Exchange) -> None:
        """Take the steps after the last byte or the failure; none of them raises."""
        exchange.duration = perf_counter() - exchange.started
        if self._recorded:
            if self._traced:
                self.tracing.finish(exchange)
            self.metrics.finish(exchange)
            self.logging.finish(exchange)
            if exchange.error is not None and exchange.error.limit is not None:
                self.refusal_warnings.finish(exchange, exchange.error.limit)

    # What an exchange asks; see `Service`.

    def rule_of(self, exchange: Exchange, route: RouteKey) -> RouteRule | None:
        """Return the rule of a route that the app has chosen."""
        return self.table.rule_of(route, "WEBSOCKET" if exchange.websocket else exchange.method)

    def name_route(self, exchange: Exchange) -> str | None:
        """Return the template of the route of a request that the app never sees: asked for with a refusal."""
        try:
            return self.table.name(exchange)
        except Exception:
            # A converter or a custom route of the app failed on the path; the refusal stands.
            return None

    async def wait_for_drain(self) -> None:
        """Return when the process begins to drain."""
        await self.shutdown.wait_for_drain()

    async def settle(self) -> None:
        """Leave out what the start has shown not to be there: called once the app has started as well."""
        self.loop = asyncio.get_running_loop()
        await self.tracing.start()
        self._traced = self.tracing.enabled

    def _watch(self) -> None:
        """Put what the items count by themselves into the metrics."""
        watch, overload, limiter = self.metrics.watch, self.overload, self.limiter
        self.pooling.report_to(watch)
        self.health.report_to(watch)
        gauges: list[tuple[str, str, Callable[[], float]]] = [
            ("http_requests_in_flight", "Requests that are being answered.", lambda: overload.in_flight),
            ("http_requests_queued", "Requests that wait for a place.", lambda: overload.waiting),
        ]
        for name, text, read in gauges:
            watch(name, text, read, kind="gauge")
        counters: list[tuple[str, str, Callable[[], float]]] = [
            ("http_requests_shed_total", "Requests refused at the ceiling.", lambda: overload.shed),
            (
                "http_deadlines_exceeded_total",
                "Requests cut at their deadline, those included whose thread goes on.",
                lambda: self.deadlines.exceeded,
            ),
            (
                "rate_limit_decisions_total",
                "Requests counted by the limiter.",
                lambda: limiter.store.decisions if limiter.store else 0,
            ),
            (
                "rate_limit_fallbacks_total",
                "Decisions taken without the shared store, by the stated policy.",
                lambda: limiter.store.fallbacks if limiter.store else 0,
            ),
            (
                "log_records_dropped_total",
                "Records dropped because standard output was not read.",
                lambda: self.logging.writer.dropped,
            ),
        ]
        for name, text, read in counters:
            watch(name, text, read)

    def current_task(self) -> asyncio.Task[object] | None:
        """Return the running task, and remember its loop for the next request."""
        self.loop = asyncio.get_running_loop()
        return asyncio.current_task(self.loop)

    def find_rule(self, exchange: Exchange) -> None:
        """Note the rule of the request, and whom it counts."""
        self._rule(exchange, self.table.find(exchange))

    async def overrule(self, exchange: Exchange, rule: RouteRule | None) -> APIError | None:
        """Put the request under another rule than the one that was found before the app chose its route.

        What the other has counted stays counted.
        """
        self._rule(exchange, rule)
        if self.limiter.enabled:
            limited = self.limiter.admit(exchange)
            refused = limited if limited is None or isinstance(limited, APIError) else await limited
            if refused is not None:
                return refused
        if exchange.websocket:
            return None
        self.deadlines.begin(exchange)
        return self.validation.admit(exchange) or self.validation.count(exchange, 0)

    def _rule(self, exchange: Exchange, rule: RouteRule | None) -> None:
        exchange.rule = rule
        if rule is not None and rule.rate_key == "user" and self._user_key is not None:
            exchange.user_key = self._user_key(exchange)


def _own_probes(routes: Sequence[RouteInfo]) -> frozenset[str]:
    return frozenset({"/livez", "/readyz", "/startupz"}.intersection(route.template for route in routes))
