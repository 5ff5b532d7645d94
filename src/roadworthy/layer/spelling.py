"""Other spellings of a path: what servers, routers and people take for the same.

Only for apps whose routing cannot be seen. There every spelling that some router is known to fold counts as
the path itself: it is better to count a request too often than to let a limit lapse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from unicodedata import normalize
from urllib.parse import unquote

__all__ = ("fold_template", "spellings")

# Decoded once more by a proxy or an app that decodes what is decoded; three rounds are one more than seen.
_ROUNDS = 3
# Parameters of a segment (RFC 3986 §3.3), and what stands where a query or a fragment would begin.
_PARAMETERS = re.compile(r";[^/]*")
_TAIL = re.compile(r"[?#].*", re.DOTALL)
_INVISIBLE = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202f\u2060\ufeff]+")
# What folding leaves as it is: most paths, so that they cost one match.
_PLAIN = re.compile(r"/|(?:/[a-z0-9_~-][a-z0-9_.~-]*)+")
_PARTS = re.compile(r"(\{[^}]*\}|<[^>]*>)")


def spellings(path: str) -> Iterator[str]:
    """Give what ``path`` may be to an app that folds in some of these ways and not in others, each once.

    All have no percent-encoding, no case, no invisible characters and no doubled slashes. Parameters, what
    looks like a query, backslashes and dots are folded in one and stay in another: an app that does not cut
    ``?me`` off takes it for a name, and one that does takes ``/users/me?`` for ``/users/me``.
    """
    if _PLAIN.fullmatch(path):
        yield path
        return
    for _ in range(_ROUNDS):
        decoded = unquote(path) if "%" in path else path
        if decoded == path:
            break
        path = decoded
    begun = [_INVISIBLE.sub("", normalize("NFKC", path).casefold())]
    for change in (_without_tail, _without_parameters, _with_slashes, _without_parameters, _without_dots):
        begun += [changed for one in begun if (changed := change(one)) != one]
    seen: set[str] = set()
    for one in begun:
        spelling = "/" + "/".join(segment for segment in one.split("/") if segment)
        if spelling not in seen:
            seen.add(spelling)
            yield spelling


def _without_tail(path: str) -> str:
    return _TAIL.sub("", path)


def _without_parameters(path: str) -> str:
    return _PARAMETERS.sub("", path)


def _with_slashes(path: str) -> str:
    return path.replace("\\", "/")


def _without_dots(path: str) -> str:
    if "." not in path:
        return path
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
        *_, plainest = spellings(template)
        return plainest
    folded = "".join(
        part if part.startswith(("{", "<")) else normalize("NFKC", part).casefold() for part in parts
    )
    return folded.rstrip("/") or "/"
