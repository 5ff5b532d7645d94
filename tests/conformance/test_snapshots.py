"""What the layer changes about responses that were there before it, kept as reviewed snapshots.

``SNAPSHOTS=write pytest tests/conformance/test_snapshots.py`` writes them anew; the difference in
version control is then the review.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from roadworthy.types import ASGIApp
from tests.asgi_driver import Driven
from tests.layer.frameworks.driving import answer

pytestmark = pytest.mark.anyio

_FOLDER = Path(__file__).parent / "snapshots"
_WRITE = os.environ.get("SNAPSHOTS") == "write"
_BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

# Values that differ from run to run.
_SCRUBBED = [
    (re.compile(rb'name="csrfmiddlewaretoken" value="[^"]+"'), b'name="csrfmiddlewaretoken" value="X"'),
    (re.compile(rb"csrftoken=[^;]+"), b"csrftoken=X"),
    (re.compile(rb";r=\d+;t=\d+"), b";r=X;t=X"),
    (re.compile(rb"expires=[^;]+"), b"expires=X"),
    (re.compile(rb"^[0-9a-f]{32}$"), b"<id>"),
    (re.compile(rb"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT"), b"<date>"),
    (re.compile(rb'"[0-9a-f]{32}"'), b'"<etag>"'),
]
_PER_FILE = ("content-length", "etag")

_DJANGO = {
    "login page": ("GET", "/admin/login/", _BROWSER),
    "admin redirect": ("GET", "/admin/", _BROWSER),
    "slash redirect": ("GET", "/admin", _BROWSER),
    "static css": ("GET", "/static/admin/css/base.css", "text/css,*/*;q=0.1"),
    "static missing": ("GET", "/static/none.css", _BROWSER),
    "page": ("GET", "/page", _BROWSER),
    "file": ("GET", "/file", "*/*"),
    "json list": ("GET", "/items", "application/json"),
    "default 404, browser": ("GET", "/nowhere", _BROWSER),
    "default 404, program": ("GET", "/nowhere", "*/*"),
    "default 500, browser": ("GET", "/fail", _BROWSER),
    "default 500, program": ("GET", "/fail", "application/json"),
    "forged post": ("POST", "/admin/login/", _BROWSER),
}
_PAGES = {
    "own 404": ("GET", "/nowhere", _BROWSER),
    "own 404, program": ("GET", "/nowhere", "application/json"),
    "own 500": ("GET", "/fail", _BROWSER),
    "own 422": ("GET", "/items/x", "application/json"),
    "default 405": ("POST", "/items", "application/json"),
    "docs page": ("GET", "/docs", _BROWSER),
    "redoc page": ("GET", "/redoc", _BROWSER),
    "document": ("GET", "/openapi.json", "application/json"),
    "html page": ("GET", "/page", _BROWSER),
    "file": ("GET", "/file", "*/*"),
    "static file": ("GET", "/static/common.py", "*/*"),
    "cookie": ("GET", "/cookie", "application/json"),
    "json list": ("GET", "/items", "application/json"),
}


def _scrub(value: bytes) -> bytes:
    for pattern, put in _SCRUBBED:
        value = pattern.sub(put, value)
    return value


def _fields(driven: Driven) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw in driven.messages[0]["headers"]:
        name = raw_name.decode().lower()
        value = "<varies>" if name in _PER_FILE else _scrub(raw).decode()
        found[name] = f"{found[name]} | {value}" if name in found else value
    return found


def _difference(before: Driven, after: Driven) -> dict[str, Any]:
    old, new = _fields(before), _fields(after)
    same = _scrub(before.body) == _scrub(after.body)
    return {
        "status": [before.status, after.status] if before.status != after.status else before.status,
        "body": "same" if same else "changed",
        # Which responses have a length by themselves differs between versions of Django; the layer adds one.
        "added": {name: new[name] for name in sorted(new.keys() - old.keys() - {"content-length"})},
        "removed": {name: old[name] for name in sorted(old.keys() - new.keys())},
        "changed": {
            name: [old[name], new[name]] for name in sorted(old.keys() & new.keys()) if old[name] != new[name]
        },
    }


async def _compare(
    name: str, plain: ASGIApp, layered: ASGIApp, asked: dict[str, tuple[str, str, str]]
) -> None:
    seen: dict[str, Any] = {}
    for title, (method, path, accept) in asked.items():
        before = await answer(plain, method, path, accept)
        after = await answer(layered, method, path, accept)
        seen[title] = {"request": f"{method} {path}", **_difference(before, after)}
    file = _FOLDER / f"{name}.json"
    if _WRITE:
        file.write_text(json.dumps(seen, indent=2) + "\n")
    assert seen == json.loads(file.read_text()), "reviewed difference of the layer has changed"


async def test_a_django_site_keeps_its_responses() -> None:
    """The admin, static files, pages and redirects of a Django site change as reviewed and no more."""
    from tests.apps.django_site import asgi

    await _compare("django", asgi.create(), asgi.app, _DJANGO)


async def test_an_app_with_its_own_error_pages_keeps_them() -> None:
    """Custom error pages, documentation, files and lists of a FastAPI app change as reviewed and no more."""
    from tests.apps import fastapi_pages

    await _compare("fastapi_pages", fastapi_pages.plain, fastapi_pages.app, _PAGES)
