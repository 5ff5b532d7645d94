"""What a browser would decide: the CORS check and the preflight of the Fetch standard, step by step.

https://fetch.spec.whatwg.org/#http-cors-protocol. Each function returns nothing when the browser lets the
page have what it wants, else the reason why not; a field that is merely there proves neither.
"""

from __future__ import annotations

from collections.abc import Iterable

from .grammar import TOKEN, list_elements, split_list
from .wire import Answer

__all__ = ("cors_check", "framing_options", "is_nosniff", "preflight_check", "words")

# Fetch, "CORS-safelisted method".
_SAFE_METHODS = frozenset({"GET", "HEAD", "POST"})


def words(answer: Answer, name: str) -> tuple[str, ...]:
    """Return the elements of a list field, empty ones left out."""
    return list_elements(answer.field(name) or "")


def is_nosniff(answer: Answer) -> bool:
    """Tell whether a browser takes the media type as it is: the first value counts ("determine nosniff")."""
    return split_list(answer.field("x-content-type-options") or "")[0].lower() == "nosniff"


def framing_options(answer: Answer) -> bool:
    """Tell whether X-Frame-Options keeps other sites out (HTML, "check a navigation response's adherence").

    Several different values, one of which means something, keep everybody out.
    """
    options = {value.lower() for value in split_list(answer.field("x-frame-options") or "")}
    if len(options) > 1:
        return bool(options & {"deny", "sameorigin", "allowall"})
    return bool(options & {"deny", "sameorigin"})


def cors_check(answer: Answer, origin: str, *, credentials: bool) -> str:
    """Run the CORS check on a response to a request of a page of ``origin``."""
    if not answer.complete:
        return f"there is no response ({answer})"
    granted = answer.field("access-control-allow-origin")
    if granted is None:
        return "no Access-Control-Allow-Origin"
    if granted == "*" and not credentials:
        return ""
    if granted != origin:
        return f"Access-Control-Allow-Origin: {granted}"
    name = "Access-Control-Allow-Credentials"
    value = answer.field(name)
    if credentials and value != "true":
        return f"{name}: {value}" if value else f"no {name}"
    return ""


def preflight_check(
    answer: Answer, origin: str, method: str, fields: Iterable[str], *, credentials: bool
) -> str:
    """Run the steps of a CORS-preflight fetch on the response to the preflight.

    Parameters:
        method: the method of the request that is to follow.
        fields: the names of its fields that are not safelisted, ``content-type`` with JSON for example.
    """
    failed = cors_check(answer, origin, credentials=credentials)
    if failed:
        return failed
    if not 200 <= answer.status < 300:
        return f"status {answer.status}, which is no ok status"
    methods = words(answer, "access-control-allow-methods")
    for name in ("Access-Control-Allow-Methods", "Access-Control-Allow-Headers"):
        # "Extracting header list values": what breaks the grammar fails as a whole.
        if not all(map(TOKEN.fullmatch, words(answer, name))):
            return f"{name} is not a list of names: {answer.field(name)}"
    # A wildcard is one only for requests without credentials; methods compare with their case.
    if method not in methods and method not in _SAFE_METHODS and (credentials or "*" not in methods):
        return f"Access-Control-Allow-Methods: {', '.join(methods)}" if methods else "no method is allowed"
    allowed = {word.lower() for word in words(answer, "access-control-allow-headers")}
    for name in fields:
        wildcard = "*" in allowed and not credentials and name.lower() != "authorization"
        if name.lower() not in allowed and not wildcard:
            return f"the field {name} is not in Access-Control-Allow-Headers"
    return ""
