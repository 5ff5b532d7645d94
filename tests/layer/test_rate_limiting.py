"""Rate limiting as the pass sees it: who is counted where, what is refused and which fields say so."""

import asyncio
import os
from collections.abc import Awaitable, Iterator

import pytest

from roadworthy.errors import Limit, RateLimitedError, UnavailableError
from roadworthy.layer.exchange import Exchange
from roadworthy.layer.limiter.memory import MemoryStore
from roadworthy.layer.limiter.redis import RedisStore
from roadworthy.layer.limiter.shared import SharedStore
from roadworthy.layer.local.group import ENVIRONMENT_VARIABLE, process_key, worker_group
from roadworthy.layer.rate_limiting import RateLimiting, choose_store
from roadworthy.layer.routes import RouteRule
from roadworthy.settings import Rate, Settings

from ..redis_server import RedisServer
from .conftest import make_exchange

GET = frozenset({"GET"})


def _settings(rate: str = "600/minute", **further: object) -> Settings:
    return Settings.model_validate({"rate_limit": rate, **further})


def _admit(limiter: RateLimiting, exchange: Exchange) -> bool:
    outcome = limiter.admit(exchange)
    assert not isinstance(outcome, Awaitable)
    assert outcome is None or isinstance(outcome, RateLimitedError)
    return outcome is None


def _fields(limiter: RateLimiting, exchange: Exchange) -> dict[bytes, bytes]:
    limiter.respond(exchange)
    return dict(exchange.response_headers)


def test_an_admitted_request_is_told_where_it_stands() -> None:
    """A counted response has the policy and what is left of it, in the fields of the IETF draft."""
    limiter = RateLimiting(_settings(), store=MemoryStore(1000))
    exchange = make_exchange()
    assert _admit(limiter, exchange)
    assert _fields(limiter, exchange) == {
        b"ratelimit-policy": b'"default";q=600;w=60',
        b"ratelimit": b'"default";r=599;t=1',
    }


def test_a_request_above_the_limit_is_refused_and_told_when_to_come_back() -> None:
    """The refusal is 429 with an integer Retry-After, not earlier than t, and its fields say r=0."""
    limiter = RateLimiting(_settings("2/minute"), store=MemoryStore(1000))
    assert [_admit(limiter, make_exchange()) for _ in range(2)] == [True, True]
    exchange = make_exchange()
    refusal = limiter.admit(exchange)
    assert isinstance(refusal, RateLimitedError)
    assert refusal.status == 429
    assert refusal.headers == {"Retry-After": "30"}
    assert _fields(limiter, exchange)[b"ratelimit"] == b'"default";r=0;t=30'


def test_the_result_is_readable_for_others() -> None:
    """The note on the exchange has the policy and the room left, which say limited, remaining and reset."""
    limiter = RateLimiting(_settings("2/minute"), store=MemoryStore(1000))
    notes = []
    for _ in range(3):
        exchange = make_exchange()
        limiter.admit(exchange)
        note = exchange.rate
        assert note is not None
        policy, room = note
        notes.append((policy.name, policy.count, room < 0, policy.remaining(room), policy.reset(room)))
    assert notes == [
        ("default", 2, False, 1, 30),
        ("default", 2, False, 0, 30),
        ("default", 2, True, 0, 30),
    ]


def test_clients_are_counted_apart() -> None:
    """One client's burst leaves another's untouched."""
    limiter = RateLimiting(_settings("1/minute"), store=MemoryStore(1000))
    keys = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::/64"]
    assert [_admit(limiter, make_exchange(client_key=key)) for key in keys] == [True, False, True, True]


def test_a_route_with_its_own_rule_counts_there_alone() -> None:
    """Requests of a limited route count against its own limit only, and no others count against it."""
    rule = RouteRule(rate_limit="1/minute")
    limiter = RateLimiting(_settings("2/minute"), [(GET, "/login", rule)], MemoryStore(1000))
    assert [_admit(limiter, make_exchange(rule=rule)) for _ in range(3)] == [True, False, False]
    assert [_admit(limiter, make_exchange()) for _ in range(3)] == [True, True, False]
    exchange = make_exchange(rule=rule)
    limiter.admit(exchange)
    assert _fields(limiter, exchange)[b"ratelimit-policy"] == b'"/login";q=1;w=60'


def test_equal_rules_of_two_routes_are_counted_apart() -> None:
    """Two routes whose rules look the same do not share a bucket."""
    first, second = RouteRule(rate_limit="1/minute"), RouteRule(rate_limit="1/minute")
    assert first == second
    rules = [(GET, "/a", first), (frozenset({"PUT", "POST"}), "/a", second)]
    limiter = RateLimiting(_settings(), rules, MemoryStore(1000))
    exchange = make_exchange(rule=second)
    assert _admit(limiter, make_exchange(rule=first))
    assert _admit(limiter, exchange)
    assert _fields(limiter, exchange)[b"ratelimit-policy"] == b'"POST,PUT /a";q=1;w=60'


def test_an_exempt_route_is_not_counted() -> None:
    """A route whose rule says off has no limit and no fields."""
    rule = RouteRule(rate_limit="off")
    limiter = RateLimiting(_settings("1/minute"), [(GET, "/free", rule)], MemoryStore(1000))
    exchange = make_exchange(rule=rule)
    assert all(_admit(limiter, exchange) for _ in range(10))
    assert _fields(limiter, exchange) == {}
    assert _admit(limiter, make_exchange())


def test_a_rule_about_something_else_leaves_the_services_limit() -> None:
    """A rule without a rate counts with the service's limit."""
    rule = RouteRule(timeout=3)
    limiter = RateLimiting(_settings("1/minute"), [(GET, "/slow", rule)], MemoryStore(1000))
    assert _admit(limiter, make_exchange(rule=rule))
    assert not _admit(limiter, make_exchange())


def test_a_user_is_counted_wherever_the_request_comes_from() -> None:
    """With rate_key "user" a known user has one count at all addresses; the unknown count by address."""
    rule = RouteRule(rate_limit="1/minute", rate_key="user")
    limiter = RateLimiting(_settings(), [(GET, "/a", rule)], MemoryStore(1000))

    def ask(user: str | None, client: str) -> bool:
        return _admit(limiter, make_exchange(rule=rule, user_key=user, client_key=client))

    assert ask("ann", "192.0.2.1")
    assert not ask("ann", "192.0.2.2")
    assert ask("bob", "192.0.2.1")
    assert ask(None, "192.0.2.1")
    assert not ask(None, "192.0.2.1")
    # A user may not be named so that the bucket of an address is spent.
    assert ask("192.0.2.3", "192.0.2.1")
    assert ask(None, "192.0.2.3")


def test_long_user_names_do_not_fill_the_memory() -> None:
    """A name of any length costs the same, and two long names are told apart."""
    rule = RouteRule(rate_limit="1/minute", rate_key="user")
    limiter = RateLimiting(_settings(), [(GET, "/a", rule)], MemoryStore(1000))
    names = ["x" * 100_000 + end for end in ("a", "a", "b", "\udcff")]
    assert [_admit(limiter, make_exchange(rule=rule, user_key=name)) for name in names] == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("rate", "rules", "enabled"),
    [
        ("600/minute", [], True),
        ("off", [], False),
        ("off", [RouteRule(timeout=3), RouteRule(rate_limit="off")], False),
        ("off", [RouteRule(rate_limit="5/minute")], True),
    ],
)
def test_the_item_is_off_when_nothing_is_limited(rate: str, rules: list[RouteRule], enabled: bool) -> None:
    """Without any limit the item is not enabled, and lets everything pass."""
    limiter = RateLimiting(
        _settings(rate), [(GET, f"/{place}", rule) for place, rule in enumerate(rules)], MemoryStore(1000)
    )
    assert limiter.enabled is enabled
    assert all(_admit(limiter, make_exchange()) for _ in range(100))


def test_one_process_counts_in_memory() -> None:
    """A process that serves alone needs no file and no server."""
    assert isinstance(choose_store(_settings()), MemoryStore)


@pytest.fixture
def in_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make this process a worker of a group, and remove the group's folder afterwards."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, process_key(os.getpid()))
    yield
    group = worker_group()
    assert group is not None
    (group.directory / "limits").unlink()
    group.directory.rmdir()


@pytest.mark.usefixtures("in_group")
def test_a_worker_among_several_counts_in_shared_memory() -> None:
    """Two limiters of one group share each client's count, from the first request on."""
    limiters = [RateLimiting(_settings("5/hour")) for _ in range(2)]
    admitted = [_admit(limiter, make_exchange()) for _ in range(4) for limiter in limiters]
    assert admitted == [True] * 5 + [False] * 3
    for limiter in limiters:
        assert isinstance(limiter.store, SharedStore)
        asyncio.run(limiter.stop())


@pytest.mark.anyio
async def test_with_redis_a_decision_waits_and_says_the_same() -> None:
    """With a server the step waits only for it, and refusal and fields are those of the local counts."""
    with RedisServer() as server:
        limiter = RateLimiting(_settings("2/minute", redis_url=server.url))
        await limiter.start()
        assert isinstance(limiter.store, RedisStore)
        outcomes = []
        for _ in range(3):
            exchange = make_exchange()
            waiting = limiter.admit(exchange)
            assert isinstance(waiting, Awaitable)
            outcomes.append(await waiting)
        assert outcomes[:2] == [None, None]
        assert isinstance(outcomes[2], RateLimitedError)
        assert outcomes[2].headers["Retry-After"] in ("29", "30")
        assert _fields(limiter, exchange)[b"ratelimit"].startswith(b'"default";r=0;t=')
        await limiter.stop()


@pytest.mark.anyio
async def test_an_outage_never_becomes_a_5xx_when_open() -> None:
    """With the policy "open" an unreachable server leaves the limit in force, counted here."""
    with RedisServer() as server:
        url = server.url
    limiter = RateLimiting(_settings("3/minute", redis_url=url))
    outcomes = []
    for _ in range(5):
        outcome = limiter.admit(make_exchange())
        outcomes.append(await outcome if isinstance(outcome, Awaitable) else outcome)
    assert outcomes[:3] == [None] * 3
    assert all(isinstance(outcome, RateLimitedError) for outcome in outcomes[3:])
    await limiter.stop()


@pytest.mark.anyio
async def test_an_outage_is_503_with_retry_after_when_closed() -> None:
    """With the policy "closed" an unreachable server refuses everything, and no field is a guess."""
    with RedisServer() as server:
        url = server.url
    limiter = RateLimiting(_settings(redis_url=url, rate_limit_on_outage="closed"))
    for _ in range(3):
        exchange = make_exchange()
        outcome = limiter.admit(exchange)
        refusal = await outcome if isinstance(outcome, Awaitable) else outcome
        assert isinstance(refusal, UnavailableError)
        assert refusal.headers == {"Retry-After": "1"}
        assert refusal.limit == Limit("RATE_LIMIT_ON_OUTAGE")
        assert _fields(limiter, exchange) == {}
    await limiter.stop()


def test_a_request_that_was_never_counted_has_no_fields() -> None:
    """An answer given before the limiter (a probe, a preflight) says nothing about limits."""
    assert _fields(RateLimiting(_settings(), store=MemoryStore(1000)), make_exchange()) == {}


def test_rates_of_the_settings_are_the_policies() -> None:
    """Every form of a rate ends up in the field as quota and window."""
    for text, expected in (("1/second", b"q=1;w=1"), ("5/hour", b"q=5;w=3600"), ("9/day", b"q=9;w=86400")):
        limiter = RateLimiting(Settings(rate_limit=text), store=MemoryStore(1000))
        exchange = make_exchange()
        limiter.admit(exchange)
        assert _fields(limiter, exchange)[b"ratelimit-policy"].endswith(expected)
    assert Settings(rate_limit="off").rate_limit is None
    assert isinstance(Settings().rate_limit, Rate)
