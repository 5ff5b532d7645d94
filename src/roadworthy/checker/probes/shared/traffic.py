"""One answer of each kind that a service gives, for the items that are about every response."""

from __future__ import annotations

from ...bench import Bench
from ...bench.ways import PLAIN
from ...errors import StartFailed
from ...http.wire import Answer
from ...needs import Need
from .survey import asks

__all__ = (
    "ORIGIN",
    "STRANGER",
    "by_origin",
    "is_page",
    "judge_absent",
    "origin_of",
    "successes",
    "traffic",
)

ORIGIN = "https://check.roadworthy.example"
"""The page that asks where the manifest names no origin."""

STRANGER = "https://evil.example"
"""A page that no manifest allows."""

_MOST_ORIGINS = 2
_OVER_HTTPS = {"X-Forwarded-Proto": "https"}
# A service that admits more than this before a 429 is not driven to its limit here.
_MOST_FOR_429 = 200


def origin_of(bench: Bench) -> str:
    """Return the origin whose pages the service allows, or the one that is made up."""
    return next(iter(bench.manifest.cors.origins), ORIGIN)


async def traffic(bench: Bench) -> dict[str, Answer]:
    """Return answers by their kind: of each route, pages, and each error that can be provoked.

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
    if kind.startswith("too large"):
        # RFC 9112 §9.6: who closes before the whole request was read may destroy its own answer.
        bench.note(f"the refusal of a body that is too large did not arrive ({answer})")
    else:
        bench.missed(f"the answer to {kind!r}", answer)


async def _traffic(bench: Bench) -> dict[str, Answer]:
    asked = {"Origin": origin_of(bench), **_OVER_HTTPS}
    found = {kind: await ask(asked) for kind, ask in (await asks(bench)).items()}
    if bench.full and bench.way is PLAIN:
        limited = await _limited(bench, asked)
        found |= {"too many requests": limited} if limited is not None else {}
    return {kind: answer for kind, answer in found.items() if _is_there(kind, answer)}


async def by_origin(bench: Bench) -> dict[str, dict[str, Answer]]:
    """Return answers by the origin that they went to, an empty one for none, and by their kind."""
    origins = (*bench.manifest.cors.origins[:_MOST_ORIGINS], STRANGER, "")
    known, found = await asks(bench), dict[str, dict[str, Answer]]()
    for origin in dict.fromkeys((origin_of(bench), *origins)):
        fields = {"Origin": origin} if origin else {}
        answers = {kind: await ask(fields) for kind, ask in known.items()}
        found[origin] = {
            kind: answer for kind, answer in answers.items() if answer.complete and _is_there(kind, answer)
        }
    return found


def _is_there(kind: str, answer: Answer) -> bool:
    """Return whether a kind is there at all; of pages there may be none."""
    return not kind.startswith("page ") or (answer.ok and is_page(answer))


def successes(answers: dict[str, Answer]) -> dict[str, Answer]:
    """Return those of class 2xx."""
    return {kind: answer for kind, answer in answers.items() if answer.ok}


def is_page(answer: Answer) -> bool:
    """Tell whether a browser would show an answer as a page; the rules of pages are not those of data."""
    return answer.media_type in {"text/html", "application/xhtml+xml"}


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
