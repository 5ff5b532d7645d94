"""The fields that make browsers careful."""

import re
from html.parser import HTMLParser
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from litestar import Litestar

from roadworthy import RouteRule
from roadworthy.layer.frameworks.fastapi import FastAPIFramework
from roadworthy.layer.frameworks.litestar import LitestarFramework
from roadworthy.layer.security_headers import SecurityHeaders, inline_script_hashes
from roadworthy.settings import Settings, SettingsError

from .conftest import make_exchange

_JSON = (b"content-type", b"application/json")
_HTML = (b"content-type", b"text/html; charset=utf-8")


def _fields(
    *response: tuple[bytes, bytes],
    item: SecurityHeaders | None = None,
    path: str = "/",
    scheme: str = "http",
    rule: RouteRule | None = None,
    **settings: Any,
) -> dict[str, str]:
    item = item or SecurityHeaders(Settings(**settings), docs_paths=("/docs", "/redoc"))
    made = make_exchange(path=path, scheme=scheme, status=200, response_headers=response, rule=rule)
    item.respond(made)
    names = [name.lower() for name, _ in made.response_headers]
    assert len(names) == len(set(names)), "a field stands twice"
    return {name.decode(): value.decode() for name, value in made.response_headers}


@pytest.mark.parametrize(
    "media_type", [b"application/json", b"application/problem+json", b"Application/JSON; x=y"]
)
def test_json(media_type: bytes) -> None:
    """JSON gets the whole set: nothing in it is for a browser to run, frame or store."""
    fields = _fields((b"content-type", media_type))
    assert fields.pop("content-type")
    assert fields == {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }


def test_html() -> None:
    """A page gets no policy of what it loads and no cache rule; its own origin may frame it, popups work."""
    fields = _fields(_HTML)
    assert fields.pop("content-type")
    assert fields == {
        "x-content-type-options": "nosniff",
        "x-frame-options": "SAMEORIGIN",
        "content-security-policy": "frame-ancestors 'self'",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin-allow-popups",
    }


@pytest.mark.parametrize(
    "response", [[(b"content-type", b"text/css")], [(b"content-type", b"image/png")], []]
)
def test_other_types(response: list[tuple[bytes, bytes]]) -> None:
    """A static file, or a response without content, gets what holds everywhere."""
    fields = _fields(*response)
    fields.pop("content-type", None)
    assert set(fields) == {"x-content-type-options", "x-frame-options", "referrer-policy"}


@pytest.mark.parametrize(
    "own",
    [
        (b"Cache-Control", b"public, max-age=60"),
        (b"X-FRAME-OPTIONS", b"SAMEORIGIN"),
        (b"Content-Security-Policy", b"default-src 'self'"),
        (b"referrer-policy", b"origin"),
        (b"Cross-Origin-Resource-Policy", b"cross-origin"),
        (b"Strict-Transport-Security", b"max-age=1"),
        (b"x-content-type-options", b"nosniff"),
    ],
)
def test_the_apps_field_wins(own: tuple[bytes, bytes]) -> None:
    """What the app sets itself, in any case, stays as it is and is not doubled; the rest is still added."""
    fields = _fields(_JSON, own, scheme="https")
    assert fields[own[0].decode()] == own[1].decode()
    assert len(fields) == 8


@pytest.mark.parametrize("own", [(b"expires", b"0"), (b"pragma", b"no-cache")])
def test_older_cache_fields_are_a_decision_too(own: tuple[bytes, bytes]) -> None:
    """An app that decides about caching with Expires or Pragma is not overruled."""
    assert "cache-control" not in _fields(_JSON, own)


def test_frame_ancestors_is_a_decision_about_frames() -> None:
    """A page whose own policy says who may frame it gets no X-Frame-Options against it."""
    own = (b"content-security-policy", b"frame-ancestors https://partner.example")
    assert "x-frame-options" not in _fields(_HTML, own)
    assert "x-frame-options" in _fields(_HTML, (b"content-security-policy", b"default-src 'self'"))


@pytest.mark.parametrize("own", ["DENY", "SAMEORIGIN", "ALLOWALL"])
def test_an_apps_older_field_is_not_overruled_by_the_newer(own: str) -> None:
    """Browsers would read our frame-ancestors in place of the app's X-Frame-Options (CSP level 3 §6.4.2)."""
    field = (b"x-frame-options", own.encode())
    assert "content-security-policy" not in _fields(_HTML, field)
    assert _fields(_JSON, field)["content-security-policy"] == "default-src 'none'"
    for policy in ("frame-ancestors 'self'; img-src *", "img-src *;frame-ancestors 'self' ;"):
        assert _fields(_HTML, field, csp_pages=policy)["content-security-policy"] == "img-src *"


def test_what_updates_a_stored_page_has_no_policy() -> None:
    """A 304 has no Content-Type; a policy in it would replace the stored page's (RFC 9111 §3.2)."""
    assert "content-security-policy" not in _fields()
    assert _fields()["x-frame-options"] == "SAMEORIGIN"


_PARTNER = "https://partner.example"


@pytest.mark.parametrize(
    ("who", "policy", "options"),
    [
        ("self", "frame-ancestors 'self'", "SAMEORIGIN"),
        ("'none'", "frame-ancestors 'none'", "DENY"),
        (f"self, {_PARTNER}", f"frame-ancestors 'self' {_PARTNER}", None),
        (
            ["SELF", "https://*.partner.example:8443"],
            "frame-ancestors 'self' https://*.partner.example:8443",
            None,
        ),
        ("*", None, None),
    ],
)
def test_both_fields_about_frames_say_the_same(who: Any, policy: str | None, options: str | None) -> None:
    """One setting, or one rule, drives frame-ancestors and X-Frame-Options of a page."""
    rule = RouteRule(frame_ancestors=who)
    for fields in (_fields(_HTML, frame_ancestors=who), _fields(_HTML, rule=rule)):
        assert fields.get("content-security-policy") == policy
        assert fields.get("x-frame-options") == options
    data = _fields(_JSON, rule=rule)
    sources = f"; {policy}" if policy else ""
    assert data["content-security-policy"] == f"default-src 'none'{sources}"
    assert data.get("x-frame-options") == options
    assert _fields(_JSON, frame_ancestors=who)["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "field", [_HTML, _JSON, (b"content-type", b"image/png"), (b"content-type", b"text/html")]
)
@pytest.mark.parametrize("policy", ["", "img-src *", "frame-ancestors 'none'", f"Frame-Ancestors {_PARTNER}"])
@pytest.mark.parametrize("where", ["csp", "csp_pages", "rule"])
@pytest.mark.parametrize("who", [None, "none", "self", "*", _PARTNER])
def test_the_older_field_never_contradicts_the_newer(
    field: tuple[bytes, bytes], policy: str, where: str, who: str | None
) -> None:
    """Whatever is set, X-Frame-Options says what frame-ancestors says, or is not sent."""
    settings: dict[str, Any] = {} if who is None else {"frame_ancestors": who}
    rule = None
    if where == "rule":
        rule = RouteRule(csp=policy, frame_ancestors=who)
        settings = {}
    else:
        settings[where] = policy
    fields = _fields(field, rule=rule, **settings)
    named = re.search(r"(?i)frame-ancestors ([^;]*)", fields.get("content-security-policy", ""))
    options = fields.get("x-frame-options")
    if named:
        assert options == {"'none'": "DENY", "'self'": "SAMEORIGIN"}.get(named[1])
    assert (named or options) or who == "*"


def test_the_policies_of_pages_are_settings_and_rules() -> None:
    """The opener policy and the content policy of pages come from the settings, and a rule outranks them."""
    page = _fields(_HTML, coop="same-origin", csp_pages="default-src 'self'")
    assert page["cross-origin-opener-policy"] == "same-origin"
    assert page["content-security-policy"] == "default-src 'self'; frame-ancestors 'self'"
    rule = RouteRule(coop="unsafe-none", csp="img-src *")
    page = _fields(_HTML, coop="same-origin", csp_pages="default-src 'self'", rule=rule)
    assert page["cross-origin-opener-policy"] == "unsafe-none"
    assert page["content-security-policy"] == "img-src *; frame-ancestors 'self'"
    assert "cross-origin-opener-policy" not in _fields(_HTML, coop="")
    assert "cross-origin-opener-policy" not in _fields(_HTML, rule=RouteRule(coop=""))
    assert _fields(_HTML, rule=RouteRule(compress=False)) == _fields(_HTML)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame_ancestors": []},
        *({"frame_ancestors": who} for who in ("", "none, self", "* self", "a b;c", "'unsafe'x", "a\r\nb;c")),
        *({"coop": value} for value in ("same-site", "same-origin\r\nx: y")),
        {"csp": "a\r\nx: y"},
    ],
)
def test_a_wrong_value_of_a_rule_is_refused(wrong: dict[str, Any]) -> None:
    """What no browser could read, or what would split the head, is refused where it is written."""
    with pytest.raises(ValueError, match=r"frame|coop|csp"):
        RouteRule(**wrong)
    if "csp" not in wrong:
        with pytest.raises(
            SettingsError, match=f"ROADWORTHY_{next(iter(wrong)).upper()}|{next(iter(wrong))}"
        ):
            Settings(_env_file=None, **wrong)


def test_hsts() -> None:
    """Strict-Transport-Security goes over https only, with its settings, and 0 turns it off."""
    name = "strict-transport-security"
    assert name not in _fields(_JSON)
    assert _fields(_JSON, scheme="https")[name] == "max-age=31536000; includeSubDomains"
    assert _fields(_HTML, scheme="https", hsts=60, hsts_subdomains=False)[name] == "max-age=60"
    assert name not in _fields(_JSON, scheme="https", hsts=0)


def test_nothing_obsolete() -> None:
    """X-XSS-Protection and a Server field are never sent."""
    for response in (_JSON, _HTML):
        assert not {"x-xss-protection", "server", "x-powered-by"} & _fields(response, scheme="https").keys()


def test_settings_change_the_values() -> None:
    """Policy and referrer policy come from the settings, and an empty one sends none."""
    fields = _fields(_JSON, csp="default-src 'self'", referrer_policy="origin")
    assert (fields["content-security-policy"], fields["referrer-policy"]) == ("default-src 'self'", "origin")
    assert (
        not {"content-security-policy", "referrer-policy"} & _fields(_JSON, csp="", referrer_policy="").keys()
    )


@pytest.mark.parametrize("name", ["csp", "csp_pages", "referrer_policy"])
def test_a_setting_cannot_split_the_head(name: str) -> None:
    """A line break in a setting stops the start, naming the setting."""
    with pytest.raises(ValueError, match=f"(?i)ROADWORTHY_{name}"):
        SecurityHeaders(Settings().model_copy(update={name: "a\r\nx: y"}))


class _Page(HTMLParser):
    """What a page loads: ``(directive, origin or "inline")``."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.needs: set[tuple[str, str]] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            self._add("script-src", given.get("src"))
        elif tag == "link" and given.get("rel") in ("stylesheet", "shortcut icon", "icon"):
            self._add("style-src" if given["rel"] == "stylesheet" else "img-src", given.get("href"))
        elif tag == "style":
            self.needs.add(("style-src", "inline"))

    def _add(self, directive: str, url: str | None) -> None:
        match = re.match(r"https://[^/]+|data:", url or "")
        self.needs.add((directive, "inline" if url is None else match[0] if match else "'self'"))


async def _page(app: Any, path: str) -> str:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://example.com") as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect", "/schema", "/schema/swagger"])
def test_docs_pages_work_under_their_policy(path: str) -> None:
    """All that docs pages of FastAPI and Litestar load is allowed to them (TypeError/secure#43)."""
    app = LitestarFramework(Litestar([])) if path.startswith("/schema") else FastAPIFramework(FastAPI())
    html = anyio.run(_page, app.app, path)
    item = SecurityHeaders(Settings(), docs_paths=app.docs_paths())
    fields = _fields(_HTML, item=item, path=path)
    assert "cross-origin-opener-policy" not in fields
    policy = dict(part.strip().split(" ", 1) for part in fields["content-security-policy"].split(";"))
    needs = _Page(html).needs
    assert needs
    for directive, origin in needs:
        allowed = policy[directive].split(" ")
        assert ("'unsafe-inline'" if origin == "inline" else origin) in allowed, (directive, origin)
    assert policy["default-src"] == "'none'"


def test_docs_scripts_by_hash() -> None:
    """With the page known at start its inline script is allowed by hash, and no other inline script is."""
    html = anyio.run(_page, FastAPI(), "/docs").encode()
    item = SecurityHeaders(Settings(), docs_paths=["/docs"], docs_pages=lambda root: [html])
    policy = _fields(_HTML, item=item, path="/docs")["content-security-policy"]
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert scripts
    assert "'unsafe-inline'" not in scripts[1]
    (source,) = inline_script_hashes(html)
    assert source in scripts[1].split()


def test_known_hash() -> None:
    """The hash of an inline script is the one given as the example in CSP level 3 §8.3."""
    page = b'<script src="/x.js"></script><script>doSomething();</script>'
    assert inline_script_hashes(page) == ("'sha256-RFWPLDbv2BY+rCkDzsE+0fr8ylGr2R2faWMhq4lfEQc='",)


def test_the_docs_policy_is_for_docs_pages_only() -> None:
    """JSON under a docs path, and pages under other paths, do not get the docs policy."""
    assert "default-src 'none'; frame" in _fields(_JSON, path="/docs")["content-security-policy"]
    other = _fields(_HTML, path="/docs/other")["content-security-policy"]
    assert other == "frame-ancestors 'self'"
