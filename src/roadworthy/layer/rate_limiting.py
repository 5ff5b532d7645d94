"""Rate limiting: GCRA per client or user, exact across local workers and, with Redis, across machines.

A request of a route with a rule of its own counts there and only there; static files have a budget of their
own; everything else counts against the service's limit. Probes and CORS preflights are answered by earlier
steps and never get here.

Where the counts live is decided when the first request comes or the service starts, in the worker itself: in
Redis or Valkey when ``ROADWORTHY_REDIS_URL`` is set, in shared memory when the process is one of several
workers, in a dict otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING

from ..errors import APIError, Limit, RateLimitedError, UnavailableError, refused_by
from ..settings import Rate, Settings
from .limiter.memory import MemoryStore
from .limiter.policy import SERVICE, STATIC, Policy, Room, Store
from .local.group import worker_group

if TYPE_CHECKING:
    from .exchange import Exchange
    from .routes import RouteRule

__all__ = ("RateLimiting", "choose_store")

_LONGEST_KEY = 64


class RateLimiting:
    """The item: refuses with 429 and ``Retry-After``, and reports to every counted client where it stands.

    Parameters:
        settings: ``rate_limit`` is the service's limit, None for none; ``rate_limit_static`` that of static
            files.
        rules: the per-route rules as bound to methods and templates; they give policies their names. A
            rule that is not among them gets its policy when it is first met.
        store: where to count; chosen by :func:`choose_store` when left out.
    """

    def __init__(
        self,
        settings: Settings,
        rules: Iterable[tuple[frozenset[str], str, RouteRule]] = (),
        store: Store | None = None,
    ) -> None:
        self._settings = settings
        self._default = None if settings.rate_limit is None else Policy(SERVICE, settings.rate_limit)
        static = _static_rate(settings)
        self._static = None if static is None else Policy(STATIC, static)
        # By identity: two routes with equal rules are counted apart. The rule is kept so that its id stays
        # its own.
        self._ruled: dict[int, tuple[RouteRule, Policy | None]] = {}
        self._names: set[str] = {SERVICE, STATIC}
        for methods, template, rule in rules:
            if id(rule) not in self._ruled:
                self._bind(rule, methods, template)
        limits = (self._default, self._static, *(policy for _, policy in self._ruled.values()))
        self.enabled = any(policy is not None for policy in limits)
        self._given = self._store = store
        self._take = self._first_take if store is None else store.take

    @property
    def store(self) -> Store | None:
        """The counts in use and their counters; None before the start."""
        return self._store

    def _bind(self, rule: RouteRule, methods: frozenset[str], template: str) -> Policy | None:
        policy = self._default
        if rule.rate_limit == "off":
            policy = None
        elif rule.rate_limit == "static":
            policy = self._static
        elif isinstance(rule.rate_limit, Rate):
            # The name must be the same in every worker and distinguish two rules of one template.
            name = template if template not in self._names else f"{','.join(sorted(methods))} {template}"
            self._names.add(name)
            policy = Policy(name, rule.rate_limit)
        self._ruled[id(rule)] = (rule, policy)
        return policy

    def admit(self, exchange: Exchange) -> APIError | Awaitable[APIError | None] | None:
        """Count the request; refuse it when its client is above the limit."""
        rule = exchange.rule
        key = exchange.client_key
        policy = self._default
        if rule is not None:
            known = self._ruled.get(id(rule))
            policy = (
                self._bind(rule, frozenset((exchange.method,)), exchange.route or exchange.path)
                if known is None
                else known[1]
            )
            if rule.rate_key == "user" and exchange.user_key is not None:
                key = _user_key(exchange.user_key)
        if policy is None:
            exchange.rate = None
            return None
        room = self._take(policy, key)
        if isinstance(room, int):
            exchange.rate = policy, room
            return None if room >= 0 else _refusal(policy, room)
        if room is None:
            return _undecided(exchange)
        return self._wait(exchange, policy, room)

    async def _wait(self, exchange: Exchange, policy: Policy, answer: Awaitable[Room]) -> APIError | None:
        room = await answer
        if room is None:
            return _undecided(exchange)
        exchange.rate = policy, room
        return None if room >= 0 else _refusal(policy, room)

    def respond(self, exchange: Exchange) -> None:
        """Add ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-11)."""
        rate = exchange.rate
        if rate is not None:
            policy, room = rate
            fields, lines = policy.fields(room)
            exchange.add(fields, lines)

    def _first_take(self, policy: Policy, key: str) -> Room | Awaitable[Room]:
        return self._open().take(policy, key)

    def _open(self) -> Store:
        if self._store is None:
            self._store = choose_store(self._settings)
        self._take = self._store.take
        return self._store

    async def start(self) -> None:
        """Open the counts, so that a mistake stops the start and not a request."""
        self._open()

    def begin_again(self) -> None:
        """Forget counts that are closed: the same process serves once more."""
        self._store = self._given
        self._take = self._first_take if self._given is None else self._given.take

    async def stop(self) -> None:
        """Close the counts."""
        if self._store is not None:
            await self._store.close()


def choose_store(settings: Settings) -> Store:
    """Return the store that is exact for this process' place in the service.

    Raises:
        RuntimeError: Redis is wanted and its package is missing, or the shared file is not ours alone.
        ValueError: the URL of Redis is not one.
        OSError: there is no room for the shared file.
    """
    group = worker_group()
    local: Store
    if group is None:
        local = MemoryStore(settings.rate_limit_keys)
    else:
        from .limiter.shared import SharedStore

        local = SharedStore(group.directory / "limits", settings.rate_limit_keys)
    if settings.redis_url is None:
        return local
    from .limiter.redis import RedisStore

    return RedisStore(
        settings.redis_url.get_secret_value(), local, fail_open=settings.rate_limit_on_outage == "open"
    )


def _static_rate(settings: Settings) -> Rate | None:
    """Return the limit of static files: what is set, or one that is never below the service's."""
    static, service = settings.rate_limit_static, settings.rate_limit
    if static is None or "rate_limit_static" in settings.model_fields_set:
        return static
    if service is None or service.count * static.period > static.count * service.period:
        return service
    return static


def _refusal(policy: Policy, room: int) -> RateLimitedError:
    error = RateLimitedError()
    error.headers["Retry-After"] = str(policy.reset(room))
    error.limit = policy.limit
    return error


def _undecided(exchange: Exchange) -> UnavailableError:
    exchange.rate = None
    return refused_by(UnavailableError(), Limit("RATE_LIMIT_ON_OUTAGE"))


def _user_key(user: str) -> str:
    """Keep users apart from addresses, and long names from filling the memory."""
    if len(user) > _LONGEST_KEY:
        return "h:" + blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return "u:" + user
