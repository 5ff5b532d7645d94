"""Probes of ``security-headers`` (HDR). Each response is judged as what it is: a page, or data."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...checklist import Dimension, Severity
from ..bench import Bench
from ..http.fetch_standard import is_nosniff
from ..http.fields import (
    cache_control,
    cross_origin_policy,
    hsts_max_age,
    media_type_parameters,
    permissions_policy,
    referrer_policy,
)
from ..http.wire import Answer
from ..phases import Phase
from ..probe import Probe, probe
from ..read.shapes import members
from ..verdict import Verdict
from .shared.cookies import cookies_of
from .shared.kinds import judge_kinds
from .shared.policies import framable, nonces, policies_of, scripts
from .shared.traffic import by_origin, is_page, successes, traffic

__all__ = ("PROBES",)

_YEAR = 31_536_000
_ON_ALL = (Dimension.METHOD, Dimension.ROUTE, Dimension.STATUS)


async def _seen(bench: Bench) -> dict[str, Answer]:
    """Return the answers to judge; order mistakes of middleware show on errors, so there must be some."""
    answers = await traffic(bench)
    good = successes(answers)
    bench.control(f"successes and errors were seen ({', '.join(answers)})", good and len(good) < len(answers))
    return answers


def _with_body(answers: dict[str, Answer]) -> dict[str, Answer]:
    return {kind: answer for kind, answer in answers.items() if answer.body}


@probe("HDR-1", phase=Phase.SERVE, samples=2, varies=_ON_ALL)
async def _types_are_not_guessed(bench: Bench) -> Verdict:
    """Reads X-Content-Type-Options on successes, pages and each kind of error."""
    wrong: dict[str, tuple[str, Answer]] = {}
    for kind, answer in _with_body(await _seen(bench)).items():
        bench.sample()
        if not is_nosniff(answer):
            wrong[kind] = (answer.field("x-content-type-options") or "none", answer)
    judge_kinds(bench, "a browser may guess the type", "X-Content-Type-Options: nosniff", wrong)
    return bench.verdict()


def _false_type(answer: Answer) -> str:
    """Return what is wrong with the media type of a body, or nothing."""
    kind = answer.media_type
    json = kind == "application/json" or kind.endswith("+json")
    if not kind:
        return "no Content-Type"
    if media_type_parameters(answer) is None:
        return f"{answer.field('content-type')}, which is no media type"
    if json and answer.json() is None and answer.content.strip() != b"null":
        return f"{kind}, and the body is no JSON"
    if is_page(answer) and members(answer.json()):
        return f"{kind}, and the body is JSON"
    return ""


@probe("HDR-2", phase=Phase.SERVE, samples=2, varies=_ON_ALL)
async def _types_are_true(bench: Bench) -> Verdict:
    """Compares Content-Type with the body, and looks for the charset of texts."""
    false: dict[str, tuple[str, Answer]] = {}
    bare: dict[str, tuple[str, Answer]] = {}
    for kind, answer in _with_body(await _seen(bench)).items():
        bench.sample()
        if wrong := _false_type(answer):
            false[kind] = (wrong, answer)
        elif answer.media_type.startswith("text/") and "charset" not in (media_type_parameters(answer) or {}):
            bare[kind] = (answer.field("content-type") or "", answer)
    judge_kinds(bench, "the media type is missing or false", "the type of the body", false)
    pages = any(is_page(answer) for _, answer in bare.values())
    severity = None if pages else Severity.LOW
    judge_kinds(bench, "a text has no charset", "a charset parameter", bare, severity=severity)
    return bench.verdict()


@probe("HDR-3", phase=Phase.SERVE, samples=2, varies=_ON_ALL)
async def _nothing_can_be_framed(bench: Bench) -> Verdict:
    """Reads frame-ancestors and X-Frame-Options; a page that can be framed weighs more than data."""
    pages: dict[str, tuple[str, Answer]] = {}
    data: dict[str, tuple[str, Answer]] = {}
    for kind, answer in _with_body(await _seen(bench)).items():
        bench.sample()
        if why := framable(answer):
            (pages if is_page(answer) else data)[kind] = (why, answer)
    expected = "CSP frame-ancestors, or X-Frame-Options: DENY or SAMEORIGIN"
    judge_kinds(bench, "a page can be framed by another site", expected, pages)
    judge_kinds(bench, "data can be framed by another site", expected, data, severity=Severity.LOW)
    return bench.verdict()


@probe("HDR-4", phase=Phase.SERVE, varies=(Dimension.ROUTE, Dimension.STATUS))
async def _pages_have_a_policy(bench: Bench) -> Verdict:
    """Reads the content security policies of pages as a browser does; for data one is suggested."""
    answers = _with_body(await _seen(bench))
    open_pages: dict[str, tuple[str, Answer]] = {}
    loose: dict[str, tuple[str, Answer]] = {}
    data: dict[str, tuple[str, Answer]] = {}
    for kind, answer in answers.items():
        bench.sample()
        policies = policies_of(answer)
        if not is_page(answer):
            if not policies:
                data[kind] = ("none", answer)
            continue
        # Every policy is enforced, so the strictest of them counts.
        reasons = [scripts(policy) for policy in policies] or ["no Content-Security-Policy"]
        if all(reasons):
            open_pages[kind] = (reasons[0], answer)
        elif not any("base-uri" in policy for policy in policies):
            loose[kind] = ("no base-uri", answer)
    expected = "script-src without 'unsafe-inline', 'unsafe-eval' and wildcards"
    judge_kinds(bench, "a page allows any script", expected, open_pages)
    if not open_pages:
        await _judge_nonces(bench, {kind: answer for kind, answer in answers.items() if is_page(answer)})
    expected = "base-uri 'none' or 'self'"
    judge_kinds(bench, "a page may be given another base", expected, loose, severity=Severity.LOW, warns=True)
    expected = "default-src 'none'; frame-ancestors 'none'"
    judge_kinds(
        bench, "data has no content security policy", expected, data, severity=Severity.LOW, warns=True
    )
    if not any(is_page(answer) for answer in answers.values()):
        bench.note("no page was found (routes.html, /, /docs), so only data was judged")
    return bench.verdict()


async def _judge_nonces(bench: Bench, pages: dict[str, Answer]) -> None:
    """Ask for a page once more: a nonce that stays the same can be known (CSP Level 3 §7.1)."""
    same: dict[str, tuple[str, Answer]] = {}
    for kind, page in pages.items():
        first = nonces(page)
        if not first or page.request.method != "GET":
            continue
        again = await bench.get(page.request.path, {"Accept": "text/html"})
        if first & nonces(again):
            same[kind] = (", ".join(sorted(first & nonces(again))), again)
    judge_kinds(bench, "a page has the same nonce again", "another nonce in each response", same)


@probe("HDR-5", phase=Phase.SERVE, varies=_ON_ALL)
async def _hsts_over_https(bench: Bench) -> Verdict:
    """Says X-Forwarded-Proto: https and reads Strict-Transport-Security; then asks over plain HTTP."""
    name = "strict-transport-security"
    answers = await _seen(bench)
    saying = {kind for kind, answer in answers.items() if answer.field(name)}
    if not saying and not bench.manifest.rate_limit.trusted_proxy_hops:
        return bench.not_applicable(
            "the check speaks plain HTTP, and the manifest does not say that the service believes a proxy "
            "(rate_limit.trusted_proxy_hops)"
        )
    wrong: dict[str, tuple[str, Answer]] = {}
    for kind, answer in answers.items():
        bench.sample()
        seconds = hsts_max_age(answer)
        if seconds is None and answer.field(name) is not None:
            wrong[kind] = (f"{answer.field(name)}, which browsers ignore", answer)
        elif seconds is None or seconds < _YEAR:
            wrong[kind] = (answer.field(name) or "none", answer)
    judge_kinds(bench, "HSTS over HTTPS is missing, void or short", f"max-age of at least {_YEAR}", wrong)
    plain = (await bench.shared(by_origin))[""]
    sent = {kind: (answer.field(name) or "", answer) for kind, answer in plain.items() if answer.field(name)}
    # RFC 6797 §7.2: MUST NOT; browsers ignore it (§8.1), so nothing breaks.
    title, expected = "HSTS is sent over plain HTTP", "no Strict-Transport-Security"
    judge_kinds(bench, title, expected, sent, severity=Severity.LOW, warns=True)
    return bench.verdict()


@probe("HDR-6", phase=Phase.SERVE)
async def _personal_data_is_not_stored(bench: Bench) -> Verdict:
    """Reads Cache-Control on data of the API, which is personal where requests carry credentials."""
    answers = await _seen(bench)
    authenticated = bool(bench.manifest.auth.header)
    stored: dict[str, tuple[str, Answer]] = {}
    unsaid: dict[str, tuple[str, Answer]] = {}
    for kind in ("read", "create", "list", "login", "html"):
        answer = answers.get(kind)
        if answer is None or not answer.ok or not answer.body:
            continue
        personal = authenticated or answer.field("set-cookie") is not None or kind in {"read", "create"}
        if not personal:
            continue
        bench.sample()
        value = answer.field("cache-control") or "no Cache-Control"
        found = cache_control(answer).names
        if found & {"public", "s-maxage"}:
            stored[kind] = (value, answer)
        elif not found & {"no-store", "private", "no-cache"}:
            unsaid[kind] = (value, answer)
        elif "no-store" not in found:
            bench.note(f"{value} ({kind}): a browser may still keep it on disk")
    if not bench.samples:
        return bench.inconclusive(
            "needs data of the API (routes.create and routes.read)",
            undeclared=("routes.create", "routes.read"),
        )
    judge_kinds(bench, "personal data may be stored by shared caches", "no-store", stored)
    if authenticated:
        judge_kinds(bench, "nothing forbids caches from storing personal data", "no-store", unsaid)
    else:
        # It is not declared personal: without credentials it may be public.
        title = "no field states whether data may be stored"
        judge_kinds(bench, title, "no-store, or public on purpose", unsaid, severity=Severity.LOW, warns=True)
    return bench.verdict()


_TELLING = ("x-powered-by", "x-aspnet-version", "x-aspnetmvc-version", "x-runtime-version", "x-version")
_VERSIONED = re.compile(r"[\w.-]/v?\d|\b\d+\.\d+")


@probe("HDR-7", phase=Phase.SERVE, samples=2)
async def _no_version_is_told(bench: Bench) -> Verdict:
    """Looks for X-Powered-By and its like, and for a version in Server, Via and X-Generator."""
    wrong: dict[str, tuple[str, Answer]] = {}
    for kind, answer in (await _seen(bench)).items():
        bench.sample()
        revealing = [f"{name}: {answer.field(name)}" for name in _TELLING if answer.field(name)]
        revealing += [
            f"{name}: {value}"
            for name in ("server", "x-generator")
            if (value := answer.field(name)) and _VERSIONED.search(value)
        ]
        if revealing:
            wrong[kind] = (", ".join(revealing), answer)
    judge_kinds(bench, "a response reveals what the service runs on", "no product version", wrong)
    return bench.verdict()


@probe("HDR-8", phase=Phase.SERVE)
async def _cookies_are_kept_safe(bench: Bench) -> Verdict:
    """Reads every Set-Cookie of the traffic, which is declared to come over HTTPS."""
    answers = await _seen(bench)
    found = [(kind, answer, cookie) for kind, answer in answers.items() for cookie in cookies_of(answer)]
    if not found:
        return bench.not_applicable("no response sets a cookie")
    wrong: dict[str, tuple[str, Answer]] = {}
    ignored: dict[str, tuple[str, Answer]] = {}
    for kind, answer, cookie in found:
        bench.sample()
        if lacking := cookie.lacking():
            wrong[kind] = (f"{cookie.name} without {', '.join(lacking)}", answer)
        elif why := cookie.ignored():
            ignored[kind] = (f"{cookie.name}, {why}", answer)
    expected = "Secure and SameSite, and HttpOnly for a session"
    judge_kinds(bench, "a cookie can be taken or used by others", expected, wrong)
    expected = "a cookie that keeps to the rules of its name and attributes"
    judge_kinds(bench, "browsers ignore a cookie", expected, ignored, severity=Severity.MEDIUM)
    return bench.verdict()


@probe("HDR-9", phase=Phase.SERVE)
async def _pages_state_their_isolation(bench: Bench) -> Verdict:
    """Reads Referrer-Policy, Permissions-Policy and the cross-origin policies of pages."""
    pages = {kind: answer for kind, answer in (await _seen(bench)).items() if answer.ok and is_page(answer)}
    if not pages:
        return bench.not_applicable("no page was found (routes.html, /, /docs)")
    wrong: dict[str, tuple[str, Answer]] = {}
    for kind, answer in pages.items():
        bench.sample()
        stated = {
            "referrer-policy": referrer_policy(answer),
            "permissions-policy": permissions_policy(answer),
            _ISOLATING: any(cross_origin_policy(answer, each) for each in ("opener", "resource")),
        }
        if lacking := [name for name, value in stated.items() if not value]:
            present = [name for name in lacking if any(map(answer.field, name.split(" or ")))]
            void = f" ({', '.join(present)}: a value that browsers ignore)" if present else ""
            wrong[kind] = (f"without {', '.join(lacking)}{void}", answer)
    title = "a page does not state what other sites may learn from it"
    judge_kinds(bench, title, "each of them, with a value that browsers know", wrong, warns=True)
    return bench.verdict()


_ISOLATING = "cross-origin-opener-policy or cross-origin-resource-policy"

# Fields that browsers have dropped, and why each is better left out.
_OBSOLETE = {
    "public-key-pins": "could lock a site out of itself",
    "expect-ct": "is dropped",
    "x-webkit-csp": "was never a standard",
    "x-content-security-policy": "was never a standard",
}
# Fields of which a response has one value, so that two different ones contradict each other.
_SINGLE = (
    "x-content-type-options",
    "x-frame-options",
    "strict-transport-security",
    "content-type",
    "location",
    "etag",
    "access-control-allow-origin",
    "cross-origin-opener-policy",
)


def _harmful(answer: Answer) -> Iterator[str]:
    protection = answer.field("x-xss-protection")
    if protection is not None and not protection.strip().startswith("0"):
        yield f"X-XSS-Protection: {protection}"
    for name, why in _OBSOLETE.items():
        if answer.field(name):
            yield f"{name}, which {why}"
    if (answer.field("x-frame-options") or "").lower().startswith("allow-from"):
        yield "X-Frame-Options: ALLOW-FROM, which no browser reads"
    for name in _SINGLE:
        values = {value.strip().lower() for value in answer.all(name)}
        if len(values) > 1:
            yield f"{name} twice: {', '.join(sorted(values))}"
    if {"no-store", "public"} <= cache_control(answer).names:
        yield f"Cache-Control: {answer.field('cache-control')}"


@probe("HDR-10", phase=Phase.SERVE, samples=2)
async def _nothing_harmful_is_sent(bench: Bench) -> Verdict:
    """Looks for fields that opened holes or are dropped, and for values that contradict each other."""
    wrong: dict[str, tuple[str, Answer]] = {}
    for kind, answer in (await _seen(bench)).items():
        bench.sample()
        if found := list(_harmful(answer)):
            wrong[kind] = ("; ".join(found), answer)
    judge_kinds(bench, "a field is harmful, obsolete or contradictory", "none of these", wrong)
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _types_are_not_guessed,
    _types_are_true,
    _nothing_can_be_framed,
    _pages_have_a_policy,
    _hsts_over_https,
    _personal_data_is_not_stored,
    _no_version_is_told,
    _cookies_are_kept_safe,
    _pages_state_their_isolation,
    _nothing_harmful_is_sent,
)
