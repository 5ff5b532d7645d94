"""Other spellings of a path: what servers, routers and people take for the same.

Only for apps whose routing cannot be seen. There every spelling that some router is known to fold counts as
the path itself: it is better to count a request too often than to let a limit lapse.
"""

from __future__ import annotations

import re
from unicodedata import normalize
from urllib.parse import unquote

__all__ = ("fold", "fold_template")

# Decoded once more by a proxy or an app that decodes what is decoded; three rounds are one more than seen.
_ROUNDS = 3
# Parameters of a segment (RFC 3986 §3.3), and what stands where a query or a fragment would begin.
_PARAMETERS = re.compile(r";[^/]*")
_TAIL = re.compile(r"[?#].*", re.DOTALL)
_INVISIBLE = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202f\u2060\ufeff]+")
# What folding leaves as it is: most paths, so that they cost one match.
_PLAIN = re.compile(r"/|(?:/[a-z0-9_~-][a-z0-9_.~-]*)+")
_PARTS = re.compile(r"(\{[^}]*\}|<[^>]*>)")


def fold(path: str) -> str:
    """Return the plainest spelling of ``path``: decoded, no case, parameters, dots or doubled slashes."""
    if _PLAIN.fullmatch(path):
        return path
    for _ in range(_ROUNDS):
        decoded = unquote(path) if "%" in path else path
        if decoded == path:
            break
        path = decoded
    path = normalize("NFKC", path).casefold().replace("\\", "/")
    path = _INVISIBLE.sub("", _PARAMETERS.sub("", _TAIL.sub("", path)))
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments)


def fold_template(template: str) -> str:
    """Return ``template`` with its fixed parts folded and its parameters as they are."""
    parts = _PARTS.split(template)
    if len(parts) == 1:
        return fold(template)
    folded = "".join(
        part if part.startswith(("{", "<")) else normalize("NFKC", part).casefold() for part in parts
    )
    return folded.rstrip("/") or "/"
