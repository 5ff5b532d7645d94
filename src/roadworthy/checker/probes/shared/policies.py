"""Reads content security policies as a browser does (CSP Level 3)."""

from __future__ import annotations

import re

from ...http.wire import Answer

__all__ = ("Policy", "framable", "policies_of", "scripts")

Policy = dict[str, tuple[str, ...]]
"""The directives of one policy with their sources, in lower case but for nonces and hashes."""

_ANYWHERE = frozenset({"*", "http:", "https:", "data:", "blob:"})
# CSP Level 3 §2.3.1: with one of these in the list, 'unsafe-inline' is ignored.
_CHOSEN = re.compile(r"'(?:nonce-|sha(?:256|384|512)-)", re.I)


def policies_of(answer: Answer) -> list[Policy]:
    """Return the policies of a response. What is only reported is not enforced, so it is left out."""
    found: list[Policy] = []
    for text in (answer.field("content-security-policy") or "").split(","):
        policy: Policy = {}
        for directive in text.split(";"):
            name, *sources = directive.split() or [""]
            if name:
                policy.setdefault(name.lower(), tuple(sources))
        if policy:
            found.append(policy)
    return found


def scripts(policy: Policy) -> str:
    """Return why a policy does not keep scripts out, or nothing."""
    sources = policy.get("script-src", policy.get("default-src"))
    if sources is None:
        return "neither script-src nor default-src"
    plain = {source.lower() for source in sources}
    if "'unsafe-eval'" in plain:
        return "script-src with 'unsafe-eval'"
    chosen = any(_CHOSEN.match(source) for source in sources)
    if "'unsafe-inline'" in plain and not chosen and "'strict-dynamic'" not in plain:
        return "script-src with 'unsafe-inline'"
    if plain & _ANYWHERE and "'strict-dynamic'" not in plain:
        return f"script-src with {', '.join(sorted(plain & _ANYWHERE))}"
    return ""


def framable(answer: Answer) -> str:
    """Return why another site can frame a response, or nothing. frame-ancestors wins (CSP Level 3 §6.4.2)."""
    ancestors = [policy["frame-ancestors"] for policy in policies_of(answer) if "frame-ancestors" in policy]
    if ancestors:
        if all({source.lower() for source in sources} & _ANYWHERE for sources in ancestors):
            return f"frame-ancestors {' '.join(ancestors[0])}"
        return ""
    options = (answer.field("x-frame-options") or "").strip().lower()
    if options.partition(",")[0].strip() in {"deny", "sameorigin"}:
        return ""
    return f"X-Frame-Options: {options}" if options else "neither frame-ancestors nor X-Frame-Options"
