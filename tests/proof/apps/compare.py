"""Which differences between two journeys there may be; every other one is a fault."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .visitor import Answer

__all__ = ("differences",)

ADDED = {
    "x-request-id",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "permissions-policy",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "x-permitted-cross-domain-policies",
    "cache-control",  # no-store, on JSON
    "ratelimit",
    "ratelimit-policy",
}
"""Fields that the layer adds where the application has none. Its own stay as they are."""
CODING = {"content-encoding", "content-length", "transfer-encoding"}
"""Fields that change when the layer compresses; the decoded body is the same."""
UNLIKE = {"date", "sec-websocket-accept", "connection", "keep-alive"}
"""Fields of the connection and the moment."""
_DEFAULT_ERROR = re.compile(
    rb'^{"detail":|^(?:[A-Z][a-z]+ ?)+$'
    rb'|^\s*<!doctype html>\s*<html lang="en">\s*<head>\s*<title>(?:Not Found|Bad Request)</title>'
)
"""What FastAPI, Starlette and Django answer where nobody made an error page."""
_VARIES = (
    r"(<input[^>]* name=[\"'](?:csrf\w+)[\"'] value=[\"'])[^\"']+",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?",
    r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
)


def differences(
    bare: Sequence[Answer], layered: Sequence[Answer], ports: tuple[str, str], varies: Iterable[str] = ()
) -> list[str]:
    """Return what differs and may not.

    Parameters:
        bare: the answers of uvicorn.
        layered: those of `roadworthy run`.
        ports: the port of each; addresses are compared without.
        varies: what is another value each time.
    """
    rules = [re.compile(one) for one in (*varies, *_VARIES)]
    found: list[str] = []
    for one, other in zip(bare, layered, strict=False):
        if len({_plain(step.step, port, rules) for step, port in zip((one, other), ports, strict=True)}) > 1:
            return [*found, f"the journeys part: {one.step} and {other.step}"]
        found += [f"{one.step}: {what}" for what in _of_one(one, other, ports, rules)]
    if len(bare) != len(layered):
        found.append(f"{len(bare)} answers and {len(layered)}")
    return found


def _of_one(
    bare: Answer, layered: Answer, ports: tuple[str, str], rules: list[re.Pattern[str]]
) -> Iterable[str]:
    if bare.status != layered.status:
        yield f"status {bare.status} became {layered.status} {layered.body[:200]!r}"
        return
    problem = _is_problem(bare, layered)
    before, after = (_fields(one, port, rules) for one, port in zip((bare, layered), ports, strict=True))
    for name in sorted(before | after):
        old, new = before.get(name, Counter()), after.get(name, Counter())
        if old != new and not _may_differ(name, old, new, after, problem):
            yield f"{name} {sorted(old.elements())} became {sorted(new.elements())}"
    if not problem and bare.body != layered.body:
        texts = [_text(one, port, rules) for one, port in zip((bare, layered), ports, strict=True)]
        if texts[0] != texts[1]:
            yield f"the body differs:\n{_shown(*texts)}"


def _is_problem(bare: Answer, layered: Answer) -> bool:
    """Return whether a framework's default error is in the common shape, or the layer refused."""
    if dict(layered.fields).get("content-type") != "application/problem+json":
        return False
    return bool(bare.refused or _DEFAULT_ERROR.search(bare.body))


def _may_differ(
    name: str, old: Counter[str], new: Counter[str], after: dict[str, Counter[str]], problem: bool
) -> bool:
    if name in UNLIKE or (name in ADDED and not old):
        return True
    if problem:
        return True
    if name == "vary":
        return {*_listed(old)} <= {*_listed(new)} and {*_listed(new)} - {*_listed(old)} <= {"accept-encoding"}
    if name in CODING:
        # What was not compressed is now, or has its length where it had none.
        return (
            "content-encoding" in after
            or (name != "content-encoding" and not old)
            or name == "transfer-encoding"
        )
    if name == "accept-ranges":
        # No range of what is compressed on the way can be had.
        return "content-encoding" in after and not new
    if name == "etag":
        # A compressed representation has no strong validator (RFC 9110 §8.8.3.3).
        return {*new} == {f"W/{one}" for one in old}
    return False


def _listed(values: Iterable[str]) -> Iterable[str]:
    return (one.strip().lower() for value in values for one in value.split(","))


def _fields(answer: Answer, port: str, rules: list[re.Pattern[str]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for name, value in answer.fields:
        shown = _cookie(value) if name == "set-cookie" else _plain(value, port, rules)
        if name == "content-length" and answer.body:
            shown = "…"  # tokens in the body are not all of one length; the bodies are compared
        found.setdefault(name, Counter())[shown] += 1
    return found


def _cookie(value: str) -> str:
    """Return the name of a cookie and its attributes, without the moment at which it expires."""
    pair, *attributes = value.split("; ")
    kept = sorted(one for one in attributes if not one.lower().startswith("expires="))
    return "; ".join((pair.partition("=")[0], *kept))


def _text(answer: Answer, port: str, rules: list[re.Pattern[str]]) -> str:
    if answer.step.endswith("/openapi.json") and answer.status == 200:
        return _plain(_without_errors(json.loads(answer.body)), port, rules)
    return _plain(answer.body.decode("utf-8", "surrogateescape"), port, rules)


def _without_errors(document: dict[str, Any]) -> str:
    """Return an OpenAPI document without the responses of status 422, which are in the common shape."""
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError", "Problem"):
        document.get("components", {}).get("schemas", {}).pop(name, None)
    return json.dumps(document)


def _plain(text: str, port: str, rules: list[re.Pattern[str]]) -> str:
    text = text.replace(f"127.0.0.1:{port}", "HOST").replace(f"127.0.0.1%3A{port}", "HOST")
    for rule in rules:
        text = rule.sub(lambda found: f"{found[1]}…" if found.re.groups else "…", text)
    return text


def _shown(bare: str, layered: str) -> str:
    before, after = (one.replace("><", ">\n<").replace(",", ",\n").splitlines() for one in (bare, layered))
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))
    return "\n".join(line[:300] for line in lines[:20])
