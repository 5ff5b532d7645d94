"""The links of an answer, as services write them; collections and their elements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

from ..http.wire import Answer
from ..read.shapes import elements, members

__all__ = ("collection", "like", "linked_paths", "own_link")

_DEEPEST = 4
_HEADER_LINK = re.compile(r"<([^<>]{1,2000})>")
# Parts of a URI template that may be left out (RFC 6570 §1.2: levels 3 and 4).
_OPTIONAL = re.compile(r"\{[?&#;/.][^{}]*\}")
_HIDDEN = re.compile(r"(?:^_|_at$|At$|^id$|^links?$|^href$|^url$|^self$|^version$|^created|^updated|^etag$)")
_MOST = 64


def linked_paths(answer: Answer) -> list[str]:
    """Return the paths on the same host that an answer links to.

    Its JSON may have them as ``_links`` (HAL), as ``links``, as ``href`` and ``url`` anywhere, or as texts
    that are paths; the field ``Link`` has them as RFC 8288 writes it.
    """
    here = f"http://{answer.request.address}{answer.request.path}"
    fields = [match for line in answer.all("link") for match in _HEADER_LINK.findall(line)]
    found: dict[str, None] = {}
    for text in (*_texts(answer.json()), *fields):
        path = _path(here, text)
        if path and path != answer.request.path and len(found) < _MOST:
            found[path] = None
    return list(found)


def _texts(value: object, depth: int = 0) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        if value.startswith(("/", "./", "http://", "https://")):
            yield value
        return
    for name, entry in members(value).items():
        if name == "href" and isinstance(entry, str):
            yield entry
        elif name not in {"self", "curies", "profile"}:
            yield from _texts(entry, depth + 1)
    for entry in elements(value):
        yield from _texts(entry, depth + 1)


def _path(here: str, link: str) -> str:
    """Return the path of a link to the same host; nothing where it leads elsewhere or needs a value."""
    link = _OPTIONAL.sub("", link)
    try:
        whole = urlsplit(urljoin(here, link))
    except ValueError:
        return ""
    if whole.hostname not in {urlsplit(here).hostname, "localhost", "127.0.0.1"} or "{" in link:
        return ""
    return whole.path


def collection(value: object) -> list[Any] | None:
    """Return the elements of a collection: an array, or the array of an object, below ``_embedded`` too."""
    if isinstance(value, list):
        return elements(cast("object", value))
    inside = members(value)
    for entry in (*members(inside.get("_embedded")).values(), *inside.values()):
        if isinstance(entry, list):
            found = elements(cast("object", entry))
            if all(isinstance(one, dict) for one in found):
                return found
    return None


def own_link(element: dict[str, Any]) -> tuple[str, str]:
    """Return where an element is by its own link, with ``{id}``, and its id; nothing where it has no link."""
    links = members(element.get("_links"))
    link = members(links.get("self")).get("href") or element.get("href") or element.get("url")
    path = urlsplit(link).path.rstrip("/") if isinstance(link, str) else ""
    before, slash, last = path.rpartition("/")
    return (f"{before}/{{id}}", last) if slash and last and path.startswith("/") else ("", "")


def like(element: dict[str, Any]) -> dict[str, Any]:
    """Return the body that might create another element: its plain members, with texts that are new."""
    found: dict[str, Any] = {}
    for name, value in element.items():
        if _HIDDEN.search(name) or value is None or isinstance(value, dict | list):
            continue
        if isinstance(value, str):
            value = f"{{unique}}{value[value.index('@') :]}" if "@" in value else f"{name} {{unique}}"
        found[name] = value
    return found
