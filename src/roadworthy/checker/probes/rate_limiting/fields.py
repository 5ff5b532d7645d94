"""The client's limit in the fields of a response, in any of the dialects that are in use.

draft-ietf-httpapi-ratelimit-headers-11 has structured fields (RFC 9651); the others are older.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...http.show import cut
from ...http.structured import Item, read_dictionary, read_list
from ...http.wire import Answer

__all__ = ("Quota", "quota_of")

_LONGEST = 100


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
        members = read_dictionary(state) or {}
        if members.keys() & {"limit", "remaining", "reset"}:
            return _members(members, policy)
        return _structured(state, policy, wanted)
    for dialect in ("RateLimit", "X-RateLimit", "X-Rate-Limit"):
        texts = {name: answer.field(f"{dialect.lower()}-{name}") for name in ("limit", "remaining", "reset")}
        if any(text is not None for text in texts.values()):
            return _separate(dialect, texts)
    return None


def _members(members: Mapping[str, Item], policy: str | None) -> Quota:
    """Draft 7: ``limit=10, remaining=9, reset=60``, and ``10;w=60`` as the policy."""
    values = {name: _integer(member.value) for name, member in members.items()}
    policies = read_list(policy or "") or ()
    agreed = next((each for each in policies if each.value == values.get("limit")), None)
    return Quota(
        "RateLimit (draft 7)",
        values.get("limit"),
        _integer(agreed.parameters.get("w")) if agreed else None,
        values.get("remaining"),
        values.get("reset"),
        "" if values.get("remaining") is not None else "RateLimit without a whole number remaining",
    )


def _structured(state: str, policy: str | None, wanted: int | None) -> Quota:
    """Draft 8 and later: ``"default";r=9;t=60``, and ``"default";q=10;w=60`` as the policy."""
    dialect = "RateLimit"
    states, policies = read_list(state), read_list(policy or "")
    if not states or not all(map(_is_named, states)):
        return Quota(dialect, problem=f"RateLimit cannot be read: {cut(state, _LONGEST)}")
    if policies is None or (policy is not None and not policies) or not all(map(_is_named, policies)):
        return Quota(dialect, problem=f"RateLimit-Policy cannot be read: {cut(policy or '', _LONGEST)}")
    agreed = {str(each.value): each.parameters for each in policies}
    fitting = [
        each for each in states if _integer(agreed.get(str(each.value), {}).get("q")) == wanted is not None
    ]
    chosen = (fitting or states)[0]
    remaining, terms = _integer(chosen.parameters.get("r")), agreed.get(str(chosen.value), {})
    problem = "" if remaining is not None else f"RateLimit without a whole number r: {cut(state, _LONGEST)}"
    return Quota(
        dialect,
        _integer(terms.get("q")),
        _integer(terms.get("w")),
        remaining,
        _integer(chosen.parameters.get("t")),
        problem,
    )


def _is_named(item: Item) -> bool:
    """Tell whether an item is the name of a policy: a string; drafts 8 and 9 have tokens as well."""
    return isinstance(item.value, str)


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _separate(dialect: str, texts: dict[str, str | None]) -> Quota:
    limit, remaining = _whole(texts["limit"]), _whole(texts["remaining"])
    problem = "" if remaining is not None else f"{dialect}-Remaining is no whole number"
    # X-RateLimit-Reset is seconds in some services and the time of day in others.
    reset = _whole(texts["reset"]) if dialect == "RateLimit" else None
    return Quota(f"{dialect}-*", limit, None, remaining, reset, problem)


def _whole(text: str | None) -> int | None:
    # The old fields may carry a list of policies behind the number: "10, 10;w=60".
    number = (text or "").partition(",")[0].partition(";")[0].strip()
    return int(number) if re.fullmatch(r"-?\d{1,15}", number) else None
