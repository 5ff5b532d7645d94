"""The client's limit in the fields of a response, in any of the dialects that are in use."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...http.show import cut
from ...http.wire import Answer

__all__ = ("Quota", "quota_of")

_STRING = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf"(?:{_STRING}|:[A-Za-z0-9+/=]*:|-?[\w.*/%]+)"
# An item of a structured list with its parameters (RFC 9651 §3.1): "default";q=10;w=60
_ITEM = re.compile(
    rf"\s*({_STRING}|[A-Za-z*][\w:/.*%-]*|\d+)((?:\s*;\s*[a-z*][\w.*-]*(?:={_VALUE})?)*)\s*(?:,|$)"
)
_PARAMETER = re.compile(rf";\s*([a-z*][\w.*-]*)=({_VALUE})")
_LONGEST = 100
_MEMBER = re.compile(r"\s*(limit|remaining|reset)\s*=\s*(-?\d+)\s*(?:,|$)")


@dataclass(frozen=True, slots=True)
class Quota:
    """The limit as one response has it.

    Parameters:
        dialect: the fields that carry it.
        limit: requests per ``window`` seconds.
        remaining: requests that are left.
        reset: seconds until there are more, where the dialect counts in seconds.
        problem: what cannot be read; a client ignores such fields.
    """

    dialect: str
    limit: int | None = None
    window: int | None = None
    remaining: int | None = None
    reset: int | None = None
    problem: str = ""


def quota_of(answer: Answer, wanted: int | None = None) -> Quota | None:
    """Read the fields of a response; None when it has none of them.

    Parameters:
        wanted: the declared limit, to choose among several policies.
    """
    policy, state = answer.field("ratelimit-policy"), answer.field("ratelimit")
    if state is not None:
        member = dict(_MEMBER.findall(state))
        return _members(member, policy) if member else _structured(state, policy, wanted)
    for dialect in ("RateLimit", "X-RateLimit", "X-Rate-Limit"):
        texts = {name: answer.field(f"{dialect.lower()}-{name}") for name in ("limit", "remaining", "reset")}
        if any(text is not None for text in texts.values()):
            return _separate(dialect, texts)
    return None


def _members(member: dict[str, str], policy: str | None) -> Quota:
    """Draft 7: ``limit=10, remaining=9, reset=60``, and ``10;w=60`` as the policy."""
    items = _items(policy or "")
    window = items[0][1].get("w") if items else None
    return Quota(
        "RateLimit (draft 7)",
        _whole(member.get("limit")),
        _whole(window),
        _whole(member.get("remaining")),
        _whole(member.get("reset")),
        "" if "remaining" in member else f"no remaining in {cut(str(member), _LONGEST)}",
    )


def _structured(state: str, policy: str | None, wanted: int | None) -> Quota:
    """Draft 8 and later: ``"default";r=9;t=60``, and ``"default";q=10;w=60`` as the policy."""
    dialect = "RateLimit"
    states, policies = _items(state), dict(_items(policy or "") or ())
    if not states:
        return Quota(dialect, problem=f"RateLimit cannot be read: {cut(state, _LONGEST)}")
    if policy is not None and not policies:
        return Quota(dialect, problem=f"RateLimit-Policy cannot be read: {cut(policy, _LONGEST)}")
    fitting = [each for each in states if _whole(policies.get(each[0], {}).get("q")) == wanted]
    name, values = (fitting or states)[0]
    remaining, agreed = _whole(values.get("r")), policies.get(name, {})
    problem = "" if remaining is not None else f"RateLimit without a whole number r: {cut(state, _LONGEST)}"
    return Quota(
        dialect,
        _whole(agreed.get("q")),
        _whole(agreed.get("w")),
        remaining,
        _whole(values.get("t")),
        problem,
    )


def _separate(dialect: str, texts: dict[str, str | None]) -> Quota:
    limit, remaining = _whole(texts["limit"]), _whole(texts["remaining"])
    problem = "" if remaining is not None else f"{dialect}-Remaining is no whole number"
    # X-RateLimit-Reset is seconds in some services and the time of day in others.
    reset = _whole(texts["reset"]) if dialect == "RateLimit" else None
    return Quota(f"{dialect}-*", limit, None, remaining, reset, problem)


def _items(text: str) -> list[tuple[str, dict[str, str]]]:
    """Return names and parameters of a structured list; nothing when it is malformed."""
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(text):
        match = _ITEM.match(text, at)
        if match is None:
            return []
        found.append((match[1], dict(_PARAMETER.findall(match[2]))))
        at = match.end()
    return found


def _whole(text: str | None) -> int | None:
    # The old fields may carry a list of policies behind the number: "10, 10;w=60".
    number = (text or "").partition(",")[0].partition(";")[0].strip()
    return int(number) if re.fullmatch(r"-?\d{1,15}", number) else None
