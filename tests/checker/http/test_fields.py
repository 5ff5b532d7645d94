"""Single fields, by tables of what their standards call valid and invalid."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from roadworthy.checker.http import fields
from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.response import Head
from roadworthy.checker.http.wire import Answer, Ending

_NOW = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC)


def _answer(name: str, *values: str, path: str = "/api/items?x=1") -> Answer:
    head = Head("1.1", 200, "", tuple((name, value) for value in values), b"")
    return Answer(Request("GET", path, Address("127.0.0.1", 80)), Ending.COMPLETE, head)


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        # The examples of RFC 6797 §6.2.
        (["max-age=31536000"], 31_536_000),
        (["max-age=15768000 ; includeSubDomains"], 15_768_000),
        (['max-age="31536000"'], 31_536_000),
        (["max-age=0"], 0),
        (["max-age=0; includeSubDomains"], 0),
        # Case, order, blanks, and empty directives.
        (["MAX-AGE=31536000; IncludeSubdomains"], 31_536_000),
        (["includeSubDomains; max-age=31536000; preload"], 31_536_000),
        (["; ;max-age = 31536000 ;; "], 31_536_000),
        (['max-age=31536000;unknown=token;other="a;b"'], 31_536_000),
        # The first of several fields counts.
        (["max-age=1", "max-age=31536000"], 1),
        ([f"max-age={'9' * 5000}"], 2**31),
        ([], None),
        ([""], None),
        (["includeSubDomains"], None),
        (["max-age"], None),
        (["max-age="], None),
        (['max-age=""'], None),
        (["max-age=-1"], None),
        (["max-age=1.5"], None),
        (["max-age=31536000s"], None),
        (["max-age=31536000, includeSubDomains"], None),
        (["max-age=31536000 includeSubDomains"], None),
        (["max-age=31536000; max-age=31536000"], None),
        (["max-age=31536000; MAX-AGE=1"], None),
        (["max-age=31536000; a=1; A=2"], None),
        (["max-age=31536000; includeSubDomains=true"], None),
        (["max-age='31536000'"], None),
        (['max-age="31536000'], None),
        (["x-max-age=31536000"], None),
        (["max-age:31536000"], None),
    ],
)
def test_hsts(lines: list[str], seconds: int | None) -> None:
    """RFC 6797 §6.1: a field that breaks the syntax, or repeats a directive, is ignored as a whole."""
    assert fields.hsts_max_age(_answer("Strict-Transport-Security", *lines)) == seconds


@pytest.mark.parametrize(
    ("lines", "names", "max_age"),
    [
        (["no-store"], {"no-store"}, None),
        (["No-Store, MAX-AGE=60"], {"no-store", "max-age"}, 60),
        (["private", "max-age=60"], {"private", "max-age"}, 60),
        (['max-age="60"'], {"max-age"}, 60),
        (['private="set-cookie, x-a", max-age=5'], {"max-age"}, 5),
        (['no-cache="set-cookie"'], set(), None),
        (["max-age=5, max-age=60"], {"max-age"}, 5),
        (['community="no-store, UCI"'], {"community"}, None),
        (["max-age=soon"], {"max-age"}, None),
        (["max-age = 5"], set(), None),
        (["no store"], set(), None),
        (["public;max-age=5"], set(), None),
        ([""], set(), None),
        ([], set(), None),
    ],
)
def test_cache_control(lines: list[str], names: set[str], max_age: int | None) -> None:
    """RFC 9111 §5.2: a directive is a token, with a token or a quoted string behind an equals sign."""
    found = fields.cache_control(_answer("Cache-Control", *lines))
    assert (found.names, found.seconds("max-age")) == (names, max_age)


def _with(pairs: dict[str, str]) -> Answer:
    head = Head("1.1", 200, "", tuple(pairs.items()), b"")
    return Answer(Request("GET", "/", Address("127.0.0.1", 80)), Ending.COMPLETE, head)


@pytest.mark.parametrize(
    ("pairs", "seconds"),
    [
        ({}, 0),
        ({"Cache-Control": "max-age=60"}, 60),
        ({"Cache-Control": "max-age=0"}, 0),
        ({"Cache-Control": "max-age=0, s-maxage=60"}, 60),
        ({"Cache-Control": "no-store, max-age=60"}, 0),
        ({"Cache-Control": "no-cache, max-age=60"}, 0),
        ({"Cache-Control": 'no-cache="set-cookie", max-age=60'}, 60),
        ({"Cache-Control": "max-age=soon"}, 0),
        ({"Cache-Control": "public"}, 0),
        ({"Cache-Control": "max-age=60", "Expires": "0"}, 60),
        ({"Cache-Control": "max-age=0", "Expires": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0),
        ({"Expires": "Sun, 06 Nov 1994 08:49:37 GMT"}, 37),
        ({"Expires": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:30 GMT"}, 7),
        ({"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"Expires": "0"}, 0),
        ({"Expires": "-1"}, 0),
    ],
)
def test_freshness(pairs: dict[str, str], seconds: int) -> None:
    """RFC 9111 §4.2.1 and §5.3: max-age comes before Expires, of which an invalid one has passed."""
    assert fields.fresh_for(_with(pairs), _NOW) == seconds


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("close", True),
        ("Close", True),
        ("keep-alive, close", True),
        ("upgrade ,\tclose,", True),
        ("keep-alive", False),
        ("closed", False),
        ("x-close", False),
        ("", False),
    ],
)
def test_connection_options(text: str, closing: bool) -> None:
    """RFC 9110 §7.6.1: options are a list of words that compare without case."""
    assert fields.is_closing(_answer("Connection", text)) is closing


@pytest.mark.parametrize(
    ("text", "opaque", "is_weak"),
    [
        ('"xyzzy"', '"xyzzy"', False),
        ('W/"xyzzy"', '"xyzzy"', True),
        ('""', '""', False),
        ('W/""', '""', True),
        ('"a,b;c=\xe9"', '"a,b;c=\xe9"', False),
    ],
)
def test_entity_tags(text: str, opaque: str, is_weak: bool) -> None:
    """RFC 9110 §8.8.3, with its examples."""
    assert fields.entity_tag(text) == fields.EntityTag(opaque, is_weak)


@pytest.mark.parametrize(
    "text", [None, "", "xyzzy", 'w/"a"', "'a'", '"a', 'a"', '"a b"', '"a"b"', 'W/ "a"', '"a", "b"', "W/a"]
)
def test_what_is_no_entity_tag(text: str | None) -> None:
    """Quotes are part of it, W/ compares with its case, and there are no blanks in it."""
    assert fields.entity_tag(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.999),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.999),
        ("Sun Nov  6 08:49:37 1994", 37.999),
        ("Sun, 06 Nov 1994 08:48:00 GMT", -59.001),
        ("1.5", None),
        ("-1", None),
        ("+1", None),
        ("120s", None),
        ("٣", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("1994-11-06T08:49:37Z", None),
        ("120, 60", None),
        ("", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    """RFC 9110 §10.2.3: whole seconds, or an HTTP-date in any of its forms."""
    assert fields.retry_after(_answer("Retry-After", text), _NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("text/html;charset=utf-8", {"charset": "utf-8"}),
        ('Text/HTML;Charset="utf-8"', {"charset": "utf-8"}),
        ('text/html; charset="utf-8"', {"charset": "utf-8"}),
        ("text/html", {}),
        ("text/html;", {}),
        ('application/vnd.api+json; ext="a,b"', {"ext": "a,b"}),
        ("text/plain; xcharset=utf-8", {"xcharset": "utf-8"}),
        ("text", None),
        ("text/", None),
        ("/html", None),
        ("text/html; charset", None),
        ("text/html; charset = utf-8", None),
        ("text/html, text/plain", None),
        ("text /html", None),
        ("", None),
    ],
)
def test_media_types(text: str, found: dict[str, str] | None) -> None:
    """RFC 9110 §8.3.1, with its four equal examples."""
    assert fields.media_type_parameters(_answer("Content-Type", text)) == found


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("/api/items/5", "http://127.0.0.1:80/api/items/5"),
        ("items/5", "http://127.0.0.1:80/api/items/5"),
        ("./5", "http://127.0.0.1:80/api/5"),
        ("../5", "http://127.0.0.1:80/5"),
        ("?page=2", "http://127.0.0.1:80/api/items?page=2"),
        ("#part", "http://127.0.0.1:80/api/items?x=1#part"),
        ("//other.example/a", "http://other.example/a"),
        ("https://other.example/a?b#c", "https://other.example/a?b#c"),
        ("", "http://127.0.0.1:80/api/items?x=1"),
        ("http://[::1", None),
        ("http://a:port/", None),
        ("/a b", None),
        ("/ä", None),
        ("/a\x00", None),
    ],
)
def test_location(text: str, url: str | None) -> None:
    """RFC 9110 §10.2.2: a reference is resolved against the URL of the request (RFC 3986 §5.2)."""
    assert fields.location_of(_answer("Location", text)) == url


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("/api/items/5", "5"),
        ("/api/items/5/", "5"),
        ("5?view=full", "5"),
        ("http://a.example/items/5#top", "5"),
        ("http://a.example", ""),
        ("http://[::1", ""),
    ],
)
def test_the_id_in_a_location(text: str, part: str) -> None:
    """Neither a query nor a fragment belongs to it."""
    assert fields.last_part(_answer("Location", text)) == part


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://a.example", "/"),
        ("http://a.example/b/c", "/b/c"),
        ("http://a.example?d=1", "/?d=1"),
        ("http://a.example/b?d=1#e", "/b?d=1"),
    ],
)
def test_the_target_of_a_url(url: str, path: str) -> None:
    """RFC 9112 §3.2.1: an empty path is a slash, and a fragment is never sent."""
    assert fields.path_in(url) == path


def test_without_a_location() -> None:
    """A response without the field leads nowhere."""
    assert fields.location_of(_answer("Other", "/")) is None


@pytest.mark.parametrize(
    ("lines", "policy"),
    [
        (["no-referrer"], "no-referrer"),
        (["No-Referrer"], "no-referrer"),
        (["unsafe-url, strict-origin"], "strict-origin"),
        (["no-referrer", "same-origin"], "same-origin"),
        (["strict-origin, from-the-future"], "strict-origin"),
        (["same-origin, , "], "same-origin"),
        (["never"], ""),
        (["no referrer"], ""),
        ([""], ""),
        ([], ""),
    ],
)
def test_referrer_policy(lines: list[str], policy: str) -> None:
    """W3C Referrer Policy §8.1 and §11.1: of a list the last word that is known counts."""
    assert fields.referrer_policy(_answer("Referrer-Policy", *lines)) == policy


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("geolocation=()", {"geolocation"}),
        ("geolocation=(), camera=(self), microphone=*", {"geolocation", "camera", "microphone"}),
        ('fullscreen=(self "https://a.example"), payment=self', {"fullscreen", "payment"}),
        ("geolocation=();report-to=main", {"geolocation"}),
        ("geolocation 'none'; camera 'self'", set()),
        ("geolocation=(); camera=()", set()),
        ("geolocation=(),", set()),
        ("Geolocation=()", set()),
        ("geolocation=(self, 'a')", set()),
        ("", set()),
    ],
)
def test_permissions_policy(text: str, features: set[str]) -> None:
    """W3C Permissions Policy §5.2: a dictionary of structured fields, or nothing at all."""
    assert set(fields.permissions_policy(_answer("Permissions-Policy", text))) == features


@pytest.mark.parametrize(
    ("kind", "text", "policy"),
    [
        ("opener", "same-origin", "same-origin"),
        ("opener", 'same-origin-allow-popups; report-to="main"', "same-origin-allow-popups"),
        ("opener", "unsafe-none", "unsafe-none"),
        ("opener", "noopener-allow-popups", "noopener-allow-popups"),
        ("opener", '"same-origin"', ""),
        ("opener", "Same-Origin", ""),
        ("opener", "same-site", ""),
        ("opener", "same-origin, same-origin", ""),
        ("resource", "same-origin", "same-origin"),
        ("resource", "same-site", "same-site"),
        ("resource", "cross-origin", "cross-origin"),
        ("resource", "Same-Origin", ""),
        ("resource", "same-origin; a", ""),
        ("resource", "same-origin, same-origin", ""),
        ("resource", "", ""),
    ],
)
def test_cross_origin_policies(kind: str, text: str, policy: str) -> None:
    """HTML has a structured item for openers, Fetch three words for resources; anything else is none."""
    assert fields.cross_origin_policy(_answer(f"Cross-Origin-{kind}-Policy", text), kind) == policy
