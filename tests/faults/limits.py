"""Rate limits: exact counts, identities that clients make up, and a Redis that fails in every way it can."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial

from ..redis_server import RedisServer
from .bench import Bench, Service
from .case import Case, Seen, Setup, Subject, holds_if
from .redis_faults import ERRORS, FailingRedis, Failure
from .wire import Answer, ask, side_by_side

__all__ = ("CASES",)

_LIMIT = 50
_LIMITED = {"FAULTS_LIMIT": f"{_LIMIT}/hour"}


def _ask_many(ports: list[int], count: int, path: str = "/limited") -> list[int]:
    def one(number: int) -> int:
        with contextlib.suppress(OSError):
            return ask(ports[number % len(ports)], path, seconds=15).status
        return 0

    return side_by_side(one, range(count))


def _allowed(statuses: list[int], exact: int) -> Seen:
    admitted = statuses.count(200)
    others = sorted({one for one in statuses if one not in (200, 429)})
    text = f"{admitted} of {len(statuses)} admitted with a limit of {exact}"
    return Seen(admitted == exact and not others, text + (f", also {others}" if others else ""))


def _shared_memory(bench: Bench) -> Seen:
    with bench.started(Setup(env=_LIMITED, workers=2)) as service:
        return _allowed(_ask_many([service.port], 250), _LIMIT)


@contextlib.contextmanager
def _with_redis(bench: Bench, redis: RedisServer, **ours: str) -> Iterator[Service]:
    with bench.started(Setup(env={**_LIMITED, "REDIS_URL": redis.url}, ours=ours)) as service:
        yield service


def _two_services(bench: Bench) -> Seen:
    with RedisServer() as redis, _with_redis(bench, redis) as one, _with_redis(bench, redis) as two:
        seen = _allowed(_ask_many([one.port, two.port], 250), _LIMIT)
        with redis.client() as client:
            for_ever = [key for key in client.scan_iter() if client.ttl(key) == -1]
    if for_ever:
        return Seen(False, f"{seen.text}; {len(for_ever)} keys without an end")
    return seen


def _p99(answers: list[Answer]) -> float:
    taken = sorted(one.seconds for one in answers)
    return taken[max(0, round(0.99 * len(taken)) - 1)]


def _ask_in_turn(service: Service, count: int, seconds: float = 20.0) -> list[Answer]:
    answers: list[Answer] = []
    end = time.monotonic() + seconds
    while len(answers) < count and time.monotonic() < end:
        with contextlib.suppress(OSError):
            answers.append(ask(service.port, "/limited", seconds=15))
    return answers


@contextlib.contextmanager
def _fault(redis: RedisServer, kind: str) -> Iterator[FailingRedis | None]:
    """Have Redis fail for as long as the block lasts; then it is back, on the same port."""
    if kind == "hangs":
        redis.pause()
        try:
            yield None
        finally:
            redis.resume()
        return
    redis.stop()
    try:
        if kind == "refused":
            yield None
        else:
            with FailingRedis(redis.port, _FAILURES[kind]) as failing:
                yield failing
    finally:
        redis.start()


_FAILURES: dict[str, Failure] = {str(name): name for name in ERRORS}


def _outage_open(kind: str, bench: Bench) -> Seen:
    """Let Redis fail where the service is to go on counting by itself."""
    with RedisServer() as redis, _with_redis(bench, redis) as service:
        _ask_in_turn(service, 3)
        with _fault(redis, kind):
            answers = _ask_in_turn(service, _LIMIT + 30)
        statuses = [one.status for one in answers]
        faults: list[str] = []
        if wrong := sum(one not in (200, 429) for one in statuses):
            faults.append(f"{wrong} of {len(statuses)} neither 200 nor 429")
        if len(statuses) < _LIMIT + 30:
            faults.append(f"{len(statuses)} answers in 20 s")
        elif statuses.count(200) > 2 * _LIMIT:
            faults.append("no limit any more")
        if statuses and (slowest := _p99(answers)) > 0.1:
            faults.append(f"99 % within {1000 * slowest:.0f} ms")
        admitted = statuses.count(200)
    return holds_if(
        faults, f"{admitted} of {len(statuses)} admitted, 99 % within {1000 * _p99(answers):.0f} ms"
    )


def _outage_closed(bench: Bench) -> Seen:
    with RedisServer() as redis, _with_redis(bench, redis, rate_limit_on_outage="closed") as service:
        _ask_in_turn(service, 3)
        with _fault(redis, "hangs"):
            answers = _ask_in_turn(service, 20)
    right = sum(one.status == 503 and (one.field("retry-after") or "").isdigit() for one in answers)
    return Seen(right == len(answers) == 20, f"{right} of {len(answers)} are 503 with Retry-After")


def _back_again(bench: Bench) -> Seen:
    """Two services count together again once Redis is back."""
    with RedisServer() as redis, _with_redis(bench, redis) as one, _with_redis(bench, redis) as two:
        _ask_in_turn(one, 2)
        began = time.monotonic()
        with _fault(redis, "loading") as failing:
            for _ in range(30):
                _ask_in_turn(one, 2)
                time.sleep(0.1)
            connections, seconds = (failing.connections if failing else 0), time.monotonic() - began
        time.sleep(5)
        statuses = _ask_many([one.port, two.port], 4 * _LIMIT)
    # Half of what came in the outage may be counted by neither: the server that is back is empty.
    admitted = statuses.count(200)
    faults = [] if admitted <= _LIMIT else [f"{admitted} admitted with a limit of {_LIMIT} 5 s later"]
    outage = f"{connections} connections in {seconds:.0f} s of outage"
    if connections > 3 + 4 * seconds:
        faults.append(outage)
    return holds_if(faults, f"{admitted} admitted with a limit of {_LIMIT}; {outage}")


_FORGED: tuple[Callable[[int], bytes], ...] = (
    lambda n: b"X-Forwarded-For: 10.%d.%d.1\r\n" % (n >> 8, n & 255),
    lambda n: b"Forwarded: for=10.%d.%d.1\r\n" % (n >> 8, n & 255),
    lambda n: b"X-Real-IP: 10.%d.%d.1\r\n" % (n >> 8, n & 255),
    lambda n: b"X_Forwarded_For: 10.%d.%d.1\r\n" % (n >> 8, n & 255),
    lambda n: b"True-Client-IP: 10.%d.%d.1\r\n" % (n >> 8, n & 255),
    lambda n: b"X-Forwarded-For: [2001:db8::%x]:80\r\n" % n,
    lambda n: b"X-Forwarded-For: fe80::%x%%25eth0\r\n" % n,
    lambda n: b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 10.0.%d.%d\r\n" % (n >> 8, n & 255),
    lambda n: (
        b"X-Client-IP: 10.0.%d.%d\r\nCF-Connecting-IP: 10.0.%d.%d\r\n" % (n >> 8, n & 255, n >> 8, n & 255)
    ),
)


def _made_up_clients(bench: Bench) -> Seen:
    with bench.started(Setup(env=_LIMITED)) as service:
        count = bench.many(2000, 200)
        before = service.memory_mb()

        def one(number: int) -> int:
            return service.ask("/limited", _FORGED[number % len(_FORGED)](number)).status

        statuses = side_by_side(one, range(count))
        grown = service.memory_mb() - before
    seen = _allowed(statuses, _LIMIT)
    return Seen(seen.holds and grown < 20, f"{seen.text}, {grown:.0f} MB more")


def _many_clients(bench: Bench) -> Seen:
    """Walk through addresses behind a trusted proxy; an honest client beside them keeps its own count."""
    subject_flags: dict[Subject, tuple[str, ...]] = {"uvicorn": ("--forwarded-allow-ips", "127.0.0.1")}
    setup = Setup(
        env=_LIMITED, ours={"trusted_proxies": "127.0.0.0/8", "rate_limit_keys": "1000"}, flags=subject_flags
    )
    with bench.started(setup) as service:
        count, honest = bench.many(10_000, 500), list[int]()
        warm = count // 10

        def one(number: int) -> int:
            field = b"X-Forwarded-For: 2001:db8:%x:%x::%x\r\n" % (number >> 16, number & 0xFFFF, number)
            return service.ask("/limited", field).status

        side_by_side(one, range(warm))
        before = service.memory_mb()
        step = max(1, (count - warm) // 40)
        for start in range(warm, count, step):
            side_by_side(one, range(start, min(count, start + step)))
            honest.append(service.ask("/limited", b"X-Forwarded-For: 192.0.2.7\r\n").status)
        grown = service.memory_mb() - before
    refused = sum(status != 200 for status in honest)
    faults = [f"{refused} of {len(honest)} of the honest client's requests refused"] if refused else []
    if grown > 20:
        faults.append(f"{grown:.0f} MB more")
    return holds_if(faults, f"0 of {len(honest)} refused, {grown:.1f} MB more")


def _retry_after(bench: Bench) -> Seen:
    with bench.started(Setup(env={"FAULTS_LIMIT": "2/second"})) as service:
        faults, waited = list[str](), 0
        for _ in range(bench.many(6, 2)):
            refused = next((one for one in _ask_in_turn(service, 30) if one.status == 429), None)
            if refused is None:
                return Seen(False, "nothing refused of 30 at a limit of 2 a second")
            after = refused.field("retry-after") or ""
            if not after.isdigit():
                return Seen(False, f"Retry-After: {after or 'none'}")
            time.sleep(int(after))
            status = service.ask("/limited").status
            waited += 1
            if status != 200:
                faults.append(f"{status} after {after} s")
    return holds_if(faults, f"{waited} of {waited} admitted after waiting")


_NO_POLICY = "slowapi has no such policy"
_NO_FIELDS: dict[Subject, str] = {"granian": "granian's own proxy wrapper is code of the app, not a flag"}
_KINDS = {
    "refused": "refuses connections",
    "hangs": "is stopped (SIGSTOP)",
    "reset": "resets each connection at the first command",
    "loading": "answers LOADING",
    "oom": "answers OOM",
    "noauth": "answers NOAUTH",
}
CASES: tuple[Case, ...] = (
    Case(
        "R1", "limits",
        "250 requests at a limit of 50 an hour, two workers",
        "exactly 50 are admitted",
        _shared_memory,
    ),
    Case(
        "R2", "limits",
        "250 requests at a limit of 50 an hour to two services that share a Redis",
        "exactly 50 are admitted, and every key has an end",
        _two_services,
    ),
    *(
        Case(
            f"R3 {kind}", "limits",
            f"Redis {what}; the service is to go on (slowapi: `in_memory_fallback_enabled`)",
            "nothing but 200 and 429, still a limit, 99 % within 100 ms",
            partial(_outage_open, kind),
        )
        for kind, what in _KINDS.items()
    ),
    Case(
        "R3 closed", "limits",
        "Redis is stopped (SIGSTOP); the policy is to refuse",
        "503 with Retry-After, each within the second",
        _outage_closed, absent={"uvicorn": _NO_POLICY, "granian": _NO_POLICY},
    ),
    Case(
        "R5", "limits",
        "Redis answers LOADING for some seconds and is back, empty; two services",
        "5 s later they admit 50 together; at most two connections a second and service",
        _back_again,
    ),
    Case(
        "R6", "limits",
        "2,000 requests with made-up forwarding fields of nine kinds; the client is on loopback, and "
        "no setting names it as a proxy",
        "all count as one client: exactly 50 are admitted; less than 20 MB more memory",
        _made_up_clients, smoke=True,
    ),
    Case(
        "R7", "limits",
        "10,000 IPv6 clients behind a trusted proxy, 1,000 kept at once where that can be set",
        "less than 20 MB more memory, and an honest client is never refused",
        _many_clients, absent=_NO_FIELDS, seconds=120,
    ),
    Case(
        "R10", "limits",
        "clients that wait for as long as Retry-After asks, at a limit of 2 a second",
        "each is admitted",
        _retry_after, smoke=True,
    ),
)  # fmt: skip
