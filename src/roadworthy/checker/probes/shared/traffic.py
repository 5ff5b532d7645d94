"""One answer of each kind that a service gives, for the items that are about every response."""

from __future__ import annotations

from contextlib import suppress

from ...bench import Bench
from ...errors import ControlFailed, StartFailed
from ...http.wire import Answer
from ...needs import Need

__all__ = ("ORIGIN", "is_page", "judge_absent", "origin_of", "successes", "traffic")

ORIGIN = "https://check.roadworthy.example"
"""The page that asks where the manifest names no origin."""

_JSON = {"Content-Type": "application/json"}
_PAGES = ("/", "/docs")
# A service that admits more than this before a 429 is not driven to its limit here.
_MOST_FOR_429 = 200


def origin_of(bench: Bench) -> str:
    """Return the origin whose pages the service allows, or the one that is made up."""
    return next(iter(bench.manifest.cors.origins), ORIGIN)


async def traffic(bench: Bench) -> dict[str, Answer]:
    """Return answers by their kind: successes, pages, and each error that can be provoked.

    All come from a page of the allowed origin, through a proxy that was reached over HTTPS. An answer that
    did not arrive is named as not judged.
    """
    found = await bench.shared(_traffic)
    for kind, answer in found.items():
        if not answer.complete:
            judge_absent(bench, kind, answer)
    return {kind: answer for kind, answer in found.items() if answer.complete}


def judge_absent(bench: Bench, kind: str, answer: Answer) -> None:
    """Name an answer that did not arrive."""
    if kind == "too large":
        # RFC 9112 §9.6: who closes before the whole request was read may destroy its own answer.
        bench.note(f"the refusal of a body that is too large did not arrive ({answer})")
    else:
        bench.missed(f"the answer to {kind!r}", answer)


async def _traffic(bench: Bench) -> dict[str, Answer]:
    asked = {"Origin": origin_of(bench), "X-Forwarded-Proto": "https"}
    found = await _successes(bench, asked)
    for path in _PAGES:
        answer = await bench.get(path, {**asked, "Accept": "text/html"})
        if answer.ok and is_page(answer):
            found[f"page {path}"] = answer
    found["unknown path"] = await bench.get(bench.unknown_path(), asked)
    found |= await _errors(bench, asked)
    if bench.full:
        limited = await _limited(bench, asked)
        found |= {"too many requests": limited} if limited is not None else {}
    return found


def successes(answers: dict[str, Answer]) -> dict[str, Answer]:
    """Return those of class 2xx."""
    return {kind: answer for kind, answer in answers.items() if answer.ok}


def is_page(answer: Answer) -> bool:
    """Tell whether a browser would show an answer as a page; the rules of pages are not those of data."""
    return answer.media_type in {"text/html", "application/xhtml+xml"}


async def _successes(bench: Bench, asked: dict[str, str]) -> dict[str, Answer]:
    routes = bench.manifest.routes.by_role
    found: dict[str, Answer] = {}
    if bench.manifest.health.live:
        found["live"] = await bench.get(bench.manifest.health.live, asked)
    if "create" in routes:
        with suppress(ControlFailed):
            created = await bench.create(headers=asked)
            found["create"] = created.answer
            if created.path:
                found["read"] = await bench.get(created.path, asked)
    for role in ("list", "html", "login"):
        if role in routes:
            found[role] = await bench.call(routes[role], headers=asked)
    return found


async def _errors(bench: Bench, asked: dict[str, str]) -> dict[str, Answer]:
    routes = bench.manifest.routes.by_role
    found: dict[str, Answer] = {}
    listing = routes.get("list")
    if listing is not None:
        document = await bench.openapi()
        if "PATCH" not in document.methods(listing.path):
            found["wrong method"] = await bench.request("PATCH", listing.path, asked)
    create = routes.get("create")
    if create is not None:
        as_json = {**_JSON, **asked}
        found["malformed"] = await bench.request(create.method, create.path, as_json, b'{"a": ')
        found["validation"] = await bench.request(create.method, create.path, as_json, b"{}")
        as_text = {"Content-Type": "text/plain", **asked}
        found["media type"] = await bench.request(create.method, create.path, as_text, b"a")
        limit = bench.manifest.limits.body
        if limit is not None and limit <= 1 << 25:
            found["too large"] = await bench.request(create.method, create.path, as_json, b" " * (limit + 1))
    if "fails" in routes:
        found["exception"] = await bench.call(routes["fails"], headers=asked)
    return found


async def _limited(bench: Bench, asked: dict[str, str]) -> Answer | None:
    """Return a 429, from a process of its own with the shorter limit; None where there is no limit."""
    manifest = bench.manifest
    route = manifest.routes.by_role.get(manifest.rate_limit.route)
    most = manifest.check.rate_limit.requests or manifest.rate_limit.requests or 0
    if route is None or "{id}" in route.path or route.method != "GET" or not manifest.startable:
        return None
    if not bench.has(Need.RATE_LIMIT) or most > _MOST_FOR_429:
        return None
    try:
        async with bench.launch(limited=True):
            for _ in range(most * 3):
                answer = await bench.call(route, headers=asked, patient=False)
                if answer.status == 429:
                    return answer
    except StartFailed as failed:
        bench.note(f"no 429 was seen: {failed}")
    return None
