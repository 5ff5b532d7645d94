"""Content security policies and cookies, read as a browser reads them."""

from __future__ import annotations

import pytest

from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.response import Head
from roadworthy.checker.http.wire import Answer, Ending
from roadworthy.checker.probes.shared.cookies import cookies_of
from roadworthy.checker.probes.shared.policies import framable, policies_of, scripts

_REQUEST = Request("GET", "/", Address("127.0.0.1", 80))


def _answer(*fields: tuple[str, str]) -> Answer:
    return Answer(_REQUEST, Ending.COMPLETE, Head("1.1", 200, "", fields, b""))


@pytest.mark.parametrize(
    ("policy", "closed"),
    [
        ("default-src 'none'", True),
        ("script-src 'self'; object-src 'none'", True),
        ("SCRIPT-SRC 'Self'", True),
        ("script-src 'self' 'unsafe-inline'", False),
        ("script-src 'unsafe-inline' 'nonce-AbC'", True),
        ("script-src 'unsafe-inline' 'sha256-AbC='", True),
        ("script-src 'strict-dynamic' 'nonce-AbC' https:", True),
        ("script-src 'nonce-AbC' 'unsafe-eval'", False),
        ("script-src https:", False),
        ("default-src *", False),
        ("default-src *; script-src 'self'", True),
        ("img-src 'self'", False),
        ("script-src 'self'; script-src *", True),
        # What is no nonce and no hash protects nothing.
        ("script-src 'unsafe-inline' 'nonce-'", False),
        ("script-src 'unsafe-inline' 'nonce-a b'", False),
        ("script-src 'unsafe-inline' 'nonce-AbC", False),
        ("script-src 'unsafe-inline' nonce-AbC", False),
        ("script-src 'unsafe-inline' 'nonce-{{nonce}}'", False),
        ("script-src 'unsafe-inline' 'nonce-AbC==='", False),
        ("script-src 'unsafe-inline' 'nonce-AbC=='", True),
        ("script-src 'unsafe-inline' 'NONCE-a-b_c+/'", True),
        ("script-src 'unsafe-inline' 'sha1-AbC='", False),
        ("script-src 'unsafe-inline' 'sha512-AbC='", True),
        ("script-src 'unsafe-inline' 'strict-dynamic'", True),
        # Elements and attributes, each with its own directive or without.
        ("script-src 'self'; script-src-elem *", False),
        ("script-src 'self'; script-src-elem 'self' 'unsafe-inline'", False),
        ("script-src 'self'; script-src-attr 'unsafe-inline'", False),
        ("script-src 'self'; script-src-attr *", True),
        ("script-src 'unsafe-inline' *; script-src-elem 'self'; script-src-attr 'none'", True),
        ("script-src 'unsafe-inline'; script-src-elem 'self'", False),
        ("default-src 'unsafe-inline'; script-src-elem 'self'; script-src-attr 'none'", True),
        ("script-src-elem 'self'; script-src-attr 'none'", True),
        ("script-src-elem 'self'", False),
        ("script-src 'unsafe-eval'; script-src-elem 'self'; script-src-attr 'none'", False),
        ("script-src 'self'; script-src-elem 'unsafe-eval'", True),
        # Every host is anywhere.
        ("script-src https://*", False),
        ("script-src *:443", False),
        ("script-src https://*.example.com", True),
        ("script-src https://cdn.example.com/*", True),
    ],
)
def test_what_keeps_scripts_out(policy: str, closed: bool) -> None:
    """A nonce or a hash makes 'unsafe-inline' ineffective; the first directive of a name counts."""
    (found,) = policies_of(_answer(("Content-Security-Policy", policy)))
    assert (scripts(found) == "") is closed


def test_several_policies_are_all_enforced() -> None:
    """Lines and commas separate policies; one that is only reported is none."""
    fields = [("Content-Security-Policy", "default-src *, default-src 'none'")]
    fields += [("Content-Security-Policy-Report-Only", "default-src 'self'")]
    assert [scripts(policy) == "" for policy in policies_of(_answer(*fields))] == [False, True]


@pytest.mark.parametrize(
    ("fields", "open_to_all"),
    [
        ([], True),
        ([("X-Frame-Options", "sameorigin")], False),
        ([("X-Frame-Options", " Deny ")], False),
        ([("X-Frame-Options", "DENY"), ("X-Frame-Options", "DENY")], False),
        ([("X-Frame-Options", "SAMEORIGIN, ALLOWALL")], False),
        ([("X-Frame-Options", "ALLOW-FROM https://a.example, DENY")], False),
        ([("X-Frame-Options", "allowall")], True),
        ([("X-Frame-Options", "DENY;")], True),
        ([("X-Frame-Options", '"DENY"')], True),
        ([("X-Frame-Options", "a, b")], True),
        ([("X-Frame-Options", "ALLOW-FROM https://a.example")], True),
        ([("Content-Security-Policy", "frame-ancestors 'self' https://a.example")], False),
        ([("Content-Security-Policy", "frame-ancestors *"), ("X-Frame-Options", "DENY")], True),
        ([("Content-Security-Policy", "default-src 'none'"), ("X-Frame-Options", "DENY")], False),
        ([("Content-Security-Policy", "frame-ancestors 'self'")], False),
        ([("Content-Security-Policy", "frame-ancestors 'self'"), ("X-Frame-Options", "SAMEORIGIN")], False),
    ],
)
def test_who_may_frame(fields: list[tuple[str, str]], open_to_all: bool) -> None:
    """frame-ancestors wins over X-Frame-Options, and default-src says nothing about frames."""
    assert bool(framable(_answer(*fields))) is open_to_all


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ("session=1; Secure; HttpOnly; SameSite=Lax", []),
        ("SESSION=1; secure; httponly; samesite=strict", []),
        ("sid=1; SameSite=None; Secure", ["HttpOnly"]),
        ("theme=dark; Secure; SameSite=Lax", []),
        ("csrf_token=1; Secure; SameSite=Strict", []),
        ("auth=1", ["Secure", "HttpOnly", "SameSite"]),
        ("auth=; Max-Age=0", []),
        ("auth=; Max-Age=-1", []),
        ("auth=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", []),
        ("auth=; Expires=Thu, 01-Jan-70 00:00:00 GMT", []),
        ("auth=; expires=Thu Jan  1 00:00:00 1970", []),
        ("auth=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60", ["Secure", "HttpOnly", "SameSite"]),
        ("auth=1; Expires=Tue, 19 Jan 2038 03:14:07 GMT", ["Secure", "HttpOnly", "SameSite"]),
        ("auth=1; Expires=soon", ["Secure", "HttpOnly", "SameSite"]),
        ("auth=1; Max-Age=x", ["Secure", "HttpOnly", "SameSite"]),
        # Names of attributes compare without case, blanks mean nothing, the last of a name counts.
        ("sid=1;SECURE; HTTPONLY ;  SameSite = Lax", []),
        ("sid=1; Secure=; HttpOnly=false; SameSite=Lax", []),
        ("sid=1; Secure; HttpOnly; SameSite=Lax; SameSite=other", ["SameSite"]),
        ("sid=1; Secure; HttpOnly; SameSite", ["SameSite"]),
        ('sid=1; Secure; HttpOnly; SameSite="Lax"', ["SameSite"]),
        ("sid=1; Secured; HttpOnly; SameSite=Lax", ["Secure"]),
        ("sid=a; b, Secure; HttpOnly; SameSite=Lax", ["Secure"]),
        # An attribute of more than 1,024 bytes is as if it were absent.
        (f"a=1; Secure; SameSite=Lax; SameSite={'x' * 1025}", []),
    ],
)
def test_what_a_cookie_lacks(line: str, lacking: list[str]) -> None:
    """Sessions are for no script, tokens against forgery are, and a cookie that is deleted needs nothing."""
    (cookie,) = cookies_of(_answer(("Set-Cookie", line)))
    assert cookie.lacking() == lacking


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a=1; Secure; SameSite=None", ""),
        ("__Secure-a=1; Secure; SameSite=Lax", ""),
        ("__Host-a=1; Secure; SameSite=Lax; Path=/", ""),
        ("__host-a=1; Secure; SameSite=Lax; Path=/api", "Path=/"),
        ("__Host-a=1; Secure; SameSite=Lax", "Path=/"),
        ("__Host-a=1; Secure; SameSite=Lax; Path=/; Domain=a.example", "Domain"),
        ("__Host-a=1; Secure; SameSite=Lax; Path=/; Domain=", ""),
        ("__SECURE-a=1; SameSite=Lax", "Secure"),
        ("a=1; SameSite=None", "SameSite=None"),
        ("__Secure-a; Secure", "Secure"),
        (f"a={'x' * 4095}; Secure", ""),
        (f"a={'x' * 4096}; Secure", "4,096"),
    ],
)
def test_a_cookie_that_browsers_ignore(line: str, why: str) -> None:
    """Prefixes and SameSite=None have rules of their own, and a cookie has a largest size."""
    (cookie,) = cookies_of(_answer(("Set-Cookie", line)))
    assert why in cookie.ignored()
    assert bool(cookie.ignored()) == bool(why)


@pytest.mark.parametrize("line", ["", "=", " ; Secure", "a=\x01", "a=1; Path=/\x00", "a=\x7f"])
def test_what_is_no_cookie(line: str) -> None:
    """Without a name and a value, or with control characters, nothing is set."""
    assert cookies_of(_answer(("Set-Cookie", line))) == []


def test_a_cookie_without_a_name() -> None:
    """Without an equals sign all of it is the value."""
    (cookie,) = cookies_of(_answer(("Set-Cookie", " a b ; Secure")))
    assert (cookie.name, cookie.value) == ("", "a b")
