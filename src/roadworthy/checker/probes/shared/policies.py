"""Reads content security policies as a browser does (CSP Level 3)."""

from __future__ import annotations

import re

from ...http.fetch_standard import framing_options
from ...http.wire import Answer

__all__ = ("Policy", "framable", "nonces", "policies_of", "scripts")

Policy = dict[str, tuple[str, ...]]
"""The directives of one policy with their sources, in lower case but for nonces and hashes."""

_ANYWHERE = frozenset({"*", "http:", "https:", "data:", "blob:"})
_ANY_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?\*(?::(?:[0-9]+|\*))?(?:/.*)?", re.I)
"""``https://*`` and ``*:443`` are host-sources whose host is any (CSP Level 3 §2.3.1)."""
_CHOSEN = re.compile(r"'(?:nonce|sha256|sha384|sha512)-[A-Za-z0-9+/_-]+={0,2}'", re.I)
"""nonce-source and hash-source, whole: what is not one is ignored (CSP Level 3 §2.3.1, base64-value)."""


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


def nonces(answer: Answer) -> set[str]:
    """Return the nonces of scripts in the policies of a response."""
    found: set[str] = set()
    for policy in policies_of(answer):
        for kind in ("script-src-elem", "script-src"):
            _, sources = _effective(policy, kind)
            found |= {source for source in sources or () if source.lower().startswith("'nonce-")}
    return found


def scripts(policy: Policy) -> str:
    """Return why a policy does not keep scripts out, or nothing.

    Elements and attributes have directives of their own, which fall back on ``script-src``; what is evaluated
    has not (CSP Level 3 §6.1 and §6.8.4).
    """
    name, sources = _effective(policy, "script-src")
    for kind in ("script-src-elem", "script-src-attr"):
        if why := _lets_in(*_effective(policy, kind), elements=kind.endswith("elem")):
            return why
    if "'unsafe-eval'" in {source.lower() for source in sources or ()}:
        return f"{name} with 'unsafe-eval'"
    return ""


def _effective(policy: Policy, name: str) -> tuple[str, tuple[str, ...] | None]:
    """Return the directive that counts for another, and its sources; None where there is none."""
    names = dict.fromkeys((name, "script-src", "default-src"))
    return next(((each, policy[each]) for each in names if each in policy), (name, None))


def _lets_in(name: str, sources: tuple[str, ...] | None, *, elements: bool) -> str:
    if sources is None:
        return "neither script-src nor default-src"
    plain = {source.lower() for source in sources}
    is_strict = "'strict-dynamic'" in plain
    # A nonce, a hash or 'strict-dynamic' make 'unsafe-inline' ineffective (CSP Level 3 §6.7.3.2).
    if "'unsafe-inline'" in plain and not is_strict and not any(map(_CHOSEN.fullmatch, sources)):
        return f"{name} with 'unsafe-inline'"
    anywhere = sorted(source for source in plain if source in _ANYWHERE or _ANY_HOST.fullmatch(source))
    if elements and anywhere and not is_strict:
        return f"{name} with {', '.join(anywhere)}"
    return ""


def framable(answer: Answer) -> str:
    """Return why another site can frame a response, or nothing. frame-ancestors wins (CSP Level 3 §6.4.2)."""
    ancestors = [policy["frame-ancestors"] for policy in policies_of(answer) if "frame-ancestors" in policy]
    if ancestors:
        if all({source.lower() for source in sources} & _ANYWHERE for sources in ancestors):
            return f"frame-ancestors {' '.join(ancestors[0])}"
        return ""
    if framing_options(answer):
        return ""
    options = answer.field("x-frame-options")
    return f"X-Frame-Options: {options}" if options else "neither frame-ancestors nor X-Frame-Options"
