"""Probes of ``rate-limiting`` (RTL)."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from statistics import median
from typing import Any

from ....checklist import Severity
from ...bench import Bench
from ...http.fields import retry_after
from ...http.wire import Answer
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.exposition import total
from ...read.shapes import members
from ...verdict import Table, Verdict
from .clients import Burst, Client, Limit, find_limit, forged_address
from .fields import quota_of
from .workers import PROBES as _OF_WORKERS

__all__ = ("PROBES",)

# What proxies and content networks put the client's address into.
_FORWARDING = ("X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP")
_REFUSED = re.compile(r"(?<![\w.])429(?![\w.])")
_SECRETS = ("password", "passwd", "pass", "secret", "pin", "token", "code")


@probe("RTL-1", phase=Phase.LIMITS)
async def _a_limit_exists(bench: Bench) -> Verdict:
    """Sends requests until one is refused: three times the declared limit, or 500 where none is declared."""
    manifest = bench.manifest
    if manifest.rate_limit.off:
        return bench.not_applicable("the manifest declares rate_limit.off = true")
    limit = await bench.shared(find_limit)
    first = limit.flood.answers[0]
    bench.control(f"the first request is admitted ({limit.route}: {first})", first.complete)
    if first.status == 429:
        return bench.inconclusive("the first request of a new client was refused already")
    bench.sample(len(limit.flood.answers))
    if limit.reached:
        return bench.verdict()
    sent, seconds = len(limit.flood.answers), limit.flood.seconds
    seen = Counter(str(answer.status or answer.ending) for answer in limit.flood.answers)
    got = f"no 429 in {sent} requests / {seconds:.1f} s: {', '.join(f'{n} × {s}' for s, n in seen.items())}"
    if limit.requests is not None:
        per = f" per {limit.window:g} s" if limit.window else ""
        # A busy machine may never send so many within one window.
        densest = limit.flood.densest(limit.window or seconds)
        if densest <= limit.requests or sent <= limit.requests + limit.refill(seconds):
            return bench.inconclusive(
                f"only {sent} requests could be sent within {seconds:.1f} s, which the limit of "
                f"{limit.requests}{per} admits"
            )
        return bench.fail(
            "the declared limit is never reached", f"429 after {limit.requests} requests", got, first
        )
    if manifest.auth.header and manifest.routes.login is None:
        return bench.inconclusive(f"no limit is declared, and there was {got}")
    return bench.fail("a public route has no limit", "a 429 some time", got, first, severity=Severity.MEDIUM)


@probe("RTL-2", phase=Phase.LIMITS, needs=(Need.RATE_LIMIT,), samples=2, seconds=180)
async def _exactly_so_many(bench: Bench) -> Verdict:
    """Counts what a new client is admitted, asking one after another, and then 32 times at once."""
    limit = await bench.shared(find_limit)
    rows: list[tuple[str, ...]] = []
    for width in (1, 32):
        burst, most = await _judged_burst(bench, limit, width)
        admitted = len(burst.admitted)
        how = "one after another" if width == 1 else f"{width} at a time"
        rows.append((how, str(len(burst.answers)), str(admitted), f"{limit.count}-{most}"))
        bench.sample()
        expected = f"{limit.count}" if most == limit.count else f"{limit.count} to {most}, refill included"
        if admitted > most:
            race = width > 1 and not bench.findings
            title = "more are admitted than the limit allows" + (" when they come at once" if race else "")
            bench.fail(title, expected, f"{admitted} ({how})", burst.admitted[-1])
            continue
        bench.control(f"requests were refused ({how})", burst.refused)
        if burst.unclear and not limit.count <= admitted + len(burst.unclear) <= most:
            return bench.inconclusive(f"{len(burst.unclear)} of the requests had no clear answer ({how})")
        if admitted + len(burst.unclear) < limit.count:
            title = "a client is refused before its limit"
            bench.fail(title, expected, f"{admitted} ({how})", burst.refused[0])
    bench.show(Table("requests of a new client", ("how", "sent", "admitted", "allowed"), tuple(rows)))
    return bench.verdict()


async def _judged_burst(bench: Bench, limit: Limit, width: int) -> tuple[Burst, int]:
    """Return a burst and the most it may have admitted.

    A fixed window may end in the middle of a burst; what looks like too many is tried again right after a
    window began.
    """
    client = await limit.fresh(bench)
    burst = await _burst(bench, limit, client, width)
    most = limit.most(burst.seconds, aligned=False)
    for _ in range(2):
        if burst.refused and (len(burst.admitted) <= most or limit.kind == "bucket"):
            break
        since, begun = await limit.window_begins(bench, client)
        if limit.apart:
            client = await limit.fresh(bench)
        burst = await _burst(bench, limit, client, width)
        burst.answers += [] if limit.apart else [begun]
        most = limit.most(burst.began - since + burst.seconds, aligned=True)
    return burst, most


async def _burst(bench: Bench, limit: Limit, client: Client, width: int) -> Burst:
    if width == 1:
        return await limit.exhausted(bench, client, refusals=10)
    return await limit.together(bench, client, 2 * limit.count + 50, width)


@probe("RTL-3", phase=Phase.LIMITS)
async def _refusals_are_usable(bench: Bench) -> Verdict:
    """Reads Retry-After and the body of refusals, and compares them with another error."""
    limit = await bench.shared(find_limit)
    bench.control("requests were refused", limit.reached)
    other = await bench.get(bench.unknown_path(), source=(await limit.fresh(bench)).source)
    for answer in limit.flood.refused:
        bench.sample()
        after = retry_after(answer)
        if after is None:
            got = answer.field("retry-after") or "no such field"
            bench.fail("a refusal has no usable Retry-After", "whole seconds, or a date", got, answer)
        elif after < 1:
            bench.fail("Retry-After invites to come back at once", "at least 1", f"{after:g}", answer)
        elif limit.window is not None and after > limit.window + 1:
            expected, got = f"at most {limit.window:g} s", f"{after:g} s"
            bench.fail("Retry-After is longer than the window", expected, got, answer)
        else:
            _judge_field(bench, limit, answer, after)
        _judge_shape(bench, answer, other)
        if bench.findings:
            break
    return bench.verdict()


def _judge_field(bench: Bench, limit: Limit, answer: Answer, after: float) -> None:
    quota = quota_of(answer, limit.requests)
    # draft-ietf-httpapi-ratelimit-headers-11 §6: Retry-After SHOULD NOT be earlier than the end of t.
    if quota is not None and quota.dialect == "RateLimit" and quota.reset is not None and after < quota.reset:
        expected = f"not before t={quota.reset}"
        bench.warn(
            "Retry-After is earlier than the time in the field RateLimit", expected, f"{after:g}", answer
        )


def _judge_shape(bench: Bench, answer: Answer, other: Answer) -> None:
    mine, usual = members(answer.json()), members(other.json())
    if usual and other.status == 404 and (not mine or answer.media_type != other.media_type):
        bench.fail(
            "a refusal has another shape than other errors", other.media_type, str(answer), answer, other
        )
    elif usual and other.status == 404 and not mine.keys() & usual.keys():
        expected, got = ", ".join(usual), ", ".join(mine)
        bench.fail("a refusal has other members than other errors", expected, got, answer, other)
    elif not mine:
        bench.warn("a refusal that is not machine-readable", "a JSON object", str(answer), answer)


@probe("RTL-4", phase=Phase.LIMITS, quick=False, seconds=180)
async def _the_promise_holds(bench: Bench) -> Verdict:
    """Uses up the limit, waits for Retry-After and a second more, and sends one request."""
    limit = await bench.shared(find_limit)
    client = await limit.fresh(bench)
    refusal = (await limit.exhausted(bench, client)).refused[0]
    after = retry_after(refusal)
    if after is None or after > 65:
        waits = "there is no usable Retry-After" if after is None else f"it would take {after:g} s"
        return bench.inconclusive(f"{waits} (see RTL-3; check.rate_limit may name a shorter window)")
    again = await client.ask(bench, limit.route)
    bench.control("the next request without waiting is refused as well", again.status == 429)
    # The later of two refusals may name a later time, and it is the last word.
    await asyncio.sleep(max(after, retry_after(again) or 0.0) + 1)
    answer = await client.ask(bench, limit.route)
    title = "refused although Retry-After has passed"
    expected = f"admitted {after:g} s later"
    bench.expect(answer.status != 429, title, expected, str(answer), refusal, answer)
    return bench.verdict()


@probe("RTL-5", phase=Phase.LIMITS, samples=2)
async def _fields_tell_the_truth(bench: Bench) -> Verdict:
    """Follows the rate-limit fields of serial requests from a whole quota to the first refusal."""
    limit = await bench.shared(find_limit)
    count = limit.count
    client = await limit.fresh(bench)
    burst = await limit.exhausted(bench, client)
    read = [(answer, quota_of(answer, count)) for answer in burst.answers]
    seen = [(answer, quota) for answer, quota in read if quota is not None]
    if not seen:
        return bench.not_applicable("the responses have no rate-limit fields, which is allowed")
    bench.control("the client went from its whole quota to a refusal", len(burst.admitted) > 0)
    began, high = burst.answers[0].began, count
    for answer, quota in seen:
        bench.sample()
        if quota.problem:
            return bench.warn("the rate-limit fields cannot be read", quota.dialect, quota.problem, answer)
        if quota.limit not in {None, count}:
            return bench.fail("the fields name another limit", f"{count}", f"{quota.limit}", answer)
        if quota.window is not None and limit.window is not None and quota.window != limit.window:
            expected, got = f"{limit.window:g} s", f"{quota.window} s"
            return bench.fail("the fields name another window", expected, got, answer)
        remaining = quota.remaining or 0
        refilled = limit.refill(answer.ended - began)
        if answer.status == 429:
            low, high = 0, 0
        elif remaining == count - 1 and high < count - 1 and limit.kind != "bucket":
            # A new window began in the middle.
            low = high = remaining
            began = answer.began
        else:
            low, high = high - 1, high - 1
        if not max(low, 0) <= remaining <= max(high, 0) + refilled:
            title = "the number of remaining requests is wrong"
            return bench.fail(title, f"{max(low, 0)} to {max(high, 0) + refilled}", f"{remaining}", answer)
    bench.note(f"{seen[0][1].dialect}, followed over {len(seen)} responses")
    return bench.verdict()


@probe("RTL-7", phase=Phase.LIMITS, samples=6, seconds=120)
async def _forging_does_not_help(bench: Bench) -> Verdict:
    """Uses up the limit, then asks ten times at once with invented forwarding fields, each kind in turn."""
    limit = await bench.shared(find_limit)
    client = await limit.fresh(bench)
    own = dict(client.fields).get("X-Forwarded-For")
    bench.control("the limit was used up", (await limit.exhausted(bench, client)).refused)
    kinds = [name for name in _FORWARDING if own is None or name != "X-Forwarded-For"]
    for kind in (*kinds, "Forwarded", "X-Forwarded-For, in front of a real address"):
        for _ in range(3):
            forged = await _forged(bench, limit, client, kind, own)
            if forged is not None:
                break
        else:
            return bench.inconclusive(f"the limit is refilled faster than it can be tried ({kind})")
        bench.sample()
        if forged:
            expected = "429, as without it"
            got = f"all of {len(forged)} requests were admitted"
            bench.fail(f"an invented {kind} evades the limit", expected, got, forged[0])
    return bench.verdict()


async def _forged(
    bench: Bench, limit: Limit, client: Client, kind: str, own: str | None
) -> list[Answer] | None:
    """Return the forged requests if they evaded the limit, nothing if they did not, None if unclear."""
    last = (await limit.exhausted(bench, client)).refused[-1]
    # More than a new quota, where it is small, so that a new window alone cannot admit them all.
    count = 10 if limit.count > 10 else limit.count + 2
    answers = await asyncio.gather(
        *(client.ask(bench, limit.route, **_forgery(kind, own)) for _ in range(count))
    )
    after = await client.ask(bench, limit.route)
    admitted = [answer for answer in answers if answer.complete and answer.status != 429]
    if len(admitted) < count:
        return []
    refilled = limit.refill(max(answer.ended for answer in answers) - last.began)
    return admitted if count > refilled and after.status == 429 else None


def _forgery(kind: str, own: str | None) -> dict[str, str]:
    address = forged_address()
    if kind == "Forwarded":
        return {"Forwarded": f"for={address}"}
    name, _, before = kind.partition(",")
    if not before:
        return {name: address}
    return {name: f"{address}, {own or '198.18.0.1'}"}


@probe("RTL-8", phase=Phase.LIMITS)
async def _clients_are_told_apart(bench: Bench) -> Verdict:
    """Lets a second client ask while the first is limited."""
    limit = await bench.shared(find_limit)
    bench.control("the first client was refused", limit.reached)
    if not limit.other.answers:
        return bench.inconclusive(
            "no second client could be made: this machine has no further loopback addresses, or the service "
            "does not listen on one (rate_limit.key or rate_limit.trusted_proxy_hops would help)"
        )
    bench.sample(len(limit.other.answers))
    if limit.other.refused:
        return bench.fail(
            "one client's use limits another",
            f"all of {len(limit.other.answers)} requests of a new client are admitted",
            f"{len(limit.other.refused)} are refused",
            limit.other.refused[0],
        )
    if not limit.limited_meanwhile:
        return bench.inconclusive("the first client was no longer limited when the second asked")
    return bench.verdict()


@probe("RTL-9", phase=Phase.LIMITS, seconds=120)
async def _some_are_never_limited(bench: Bench) -> Verdict:
    """Uses up the limit, then asks for health, metrics and preflights more often than the limit allows."""
    limit = await bench.shared(find_limit)
    client = await limit.fresh(bench)
    preflight = {
        "Origin": (bench.manifest.cors.origins or ("https://app.example",))[0],
        "Access-Control-Request-Method": "GET",
        **dict(client.fields),
    }
    granted = await bench.request("OPTIONS", limit.route.path, preflight, source=client.source)
    bench.control("the limit was used up", (await limit.exhausted(bench, client)).refused)
    count = min(limit.count + 5, 100)
    health, metrics = bench.manifest.health, bench.manifest.metrics
    cases: list[tuple[str, str, str, dict[str, Any]]] = [
        ("liveness", "GET", health.live, {}),
        ("readiness", "GET", health.ready, {}),
        ("metrics", "GET", metrics.path, {"address": bench.target.metrics_address}),
        # Without a grant it is an ordinary request, of which a browser hears the same either way.
        ("a preflight", "OPTIONS", limit.route.path if granted.ok else "", {"headers": preflight}),
    ]
    for name, method, path, options in cases:
        if not path:
            bench.note(f"{name} is not declared, or refused to anybody, so it was not tried")
            continue
        if "headers" not in options:
            options["headers"] = dict(client.fields)
        for _ in range(count):
            answer = await bench.request(method, path, source=client.source, patient=False, **options)
            if answer.status == 429:
                bench.fail(f"{name} is limited", "not 429", str(answer), answer)
                break
        bench.sample()
    if not bench.samples:
        return bench.inconclusive(
            "needs a path that is never limited (health.live, health.ready, metrics.path)",
            undeclared=("health.live",),
        )
    return bench.verdict()


@probe("RTL-10", phase=Phase.LIMITS, seconds=120)
async def _refusing_is_cheap(bench: Bench) -> Verdict:
    """Compares refusals with answers in time, looks for their records, and tries a sign-in that fails."""
    limit = await bench.shared(find_limit)
    client = await limit.fresh(bench)
    counted = bench.manifest.metrics.requests if bench.has(Need.METRICS) else ""
    before = await bench.scrape() if counted else {}
    since = bench.now()
    burst = await limit.exhausted(bench, client, refusals=10)
    bench.control("answers and refusals were seen", burst.admitted and len(burst.refused) == 10)
    usual, refusing = (median(one.seconds for one in part) for part in (burst.admitted, burst.refused))
    # Both are a millisecond or so: only work that is done in spite of the refusal makes a difference.
    if refusing > 2 * usual + bench.patience(0.01):
        got = f"{refusing * 1000:.1f} ms instead of {usual * 1000:.1f} ms"
        bench.fail("refusals take longer than answers", "less", got, burst.refused[-1])
    bench.sample()
    slow = bench.manifest.routes.slow
    if slow is not None:
        answer = await (await limit.fresh(bench)).ask(bench, slow)
        await limit.exhausted(bench, client)
        refusal = await client.ask(bench, slow)
        if answer.ok and refusal.status == 429 and refusal.seconds > 0.6 * answer.seconds:
            got = f"after {refusal.seconds:.2f} s, and the answer takes {answer.seconds:.2f} s"
            bench.fail("a request is refused after its work was done", "at once", got, refusal)
    recorded = await _recorded(bench, since, before, counted)
    if recorded is not None:
        bench.expect(recorded, "refusals leave no trace", "a record or a count", "neither", burst.refused[-1])
    await _judge_signing_in(bench, limit)
    return bench.verdict()


async def _recorded(bench: Bench, since: float, before: dict[Any, float], counted: str) -> bool | None:
    """Tell whether refusals are counted or logged; None where neither can be seen."""
    if counted:
        after = await bench.scrape()
        for label in ("status", "code", "status_code"):
            if total(after, counted, **{label: "429|4xx"}) > total(before, counted, **{label: "429|4xx"}):
                return True
    if bench.url_mode:
        return False if counted else None
    process = bench.target.process
    return (
        await process.wait_line(lambda line: _REFUSED.search(line) is not None, bench.patience(2), since)
        is not None
    )


async def _judge_signing_in(bench: Bench, limit: Limit) -> None:
    """ASVS 5.0 6.3.1: guessing passwords is limited like anything else."""
    login = bench.manifest.routes.login
    if login is None:
        bench.note("no route signs in (routes.login), so failing sign-ins were not tried")
        return
    client, most = await limit.fresh(bench), 3 * limit.count + 50
    for number in range(most):
        answer = await _wrong(bench, login, client)
        if answer.status == 429:
            bench.sample()
            return
        if number == 0 and not 400 <= answer.status < 500:
            bench.note(f"a sign-in with a wrong password was answered {answer}, so it was not judged")
            return
    bench.fail("failing sign-ins are not limited", "429 some time", f"no 429 in {most} requests")


async def _wrong(bench: Bench, login: Route, client: Client) -> Answer:
    body = members(bench.fresh(login.body))
    secret = [name for name in body if any(word in name.lower() for word in _SECRETS)]
    wrong = body | dict.fromkeys(secret or body, f"wrong {bench.unique()}")
    headers = {**login.headers, **dict(client.fields)}
    return await bench.request(
        login.method, login.path, headers, json_body=wrong, source=client.source, patient=False
    )


PROBES: tuple[Probe, ...] = (
    _a_limit_exists,
    _exactly_so_many,
    _refusals_are_usable,
    _the_promise_holds,
    _fields_tell_the_truth,
    _forging_does_not_help,
    _clients_are_told_apart,
    _some_are_never_limited,
    _refusing_is_cheap,
    *_OF_WORKERS,
)
