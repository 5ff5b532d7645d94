"""What a browser would decide."""

from __future__ import annotations

import pytest

from roadworthy.checker.http.fetch_standard import cors_check, is_nosniff, preflight_check
from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.response import Head
from roadworthy.checker.http.wire import Answer, Ending

_APP = "https://app.example"
_REQUEST = Request("GET", "/", Address("127.0.0.1", 80))


def _answer(*fields: tuple[str, str], status: int = 200) -> Answer:
    return Answer(_REQUEST, Ending.COMPLETE, Head("1.1", status, "", fields, b""))


def _grant(origin: str, credentials: str = "") -> list[tuple[str, str]]:
    fields = [("Access-Control-Allow-Origin", origin)]
    return [*fields, ("Access-Control-Allow-Credentials", credentials)] if credentials else fields


@pytest.mark.parametrize(
    ("fields", "credentials", "granted"),
    [
        ([], False, False),
        (_grant("*"), False, True),
        (_grant("*", "true"), True, False),
        (_grant(_APP), False, True),
        (_grant(_APP), True, False),
        (_grant(_APP, "true"), True, True),
        (_grant(_APP, "True"), True, False),
        (_grant(f"{_APP}/"), False, False),
        (_grant("https://APP.example"), False, False),
        (_grant(f"{_APP}, https://other.example"), False, False),
        (_grant(_APP) + _grant(_APP), False, False),
    ],
)
def test_the_cors_check(fields: list[tuple[str, str]], credentials: bool, granted: bool) -> None:
    """The grant is one value, byte for byte, and the wildcard is none for credentials."""
    assert (cors_check(_answer(*fields), _APP, credentials=credentials) == "") is granted


@pytest.mark.parametrize(
    ("methods", "names", "credentials", "granted"),
    [
        ("PUT", "content-type, authorization", True, True),
        ("put", "content-type, authorization", True, False),
        ("GET, POST", "content-type, authorization", True, False),
        ("*", "content-type, authorization", False, True),
        ("*", "content-type, authorization", True, False),
        ("PUT", "*", False, False),
        ("PUT", "*, Authorization", False, True),
        ("PUT", "*, Authorization", True, False),
        ("PUT", "", True, False),
        ("put, PUT", "content-type,, Authorization", True, True),
        # A list that breaks the grammar is none, whatever else is in it.
        ("PUT POST", "content-type, authorization", True, False),
        ("PUT, (DELETE)", "content-type, authorization", True, False),
        ("PUT", "content-type, authorization, x y", True, False),
        ("PUT", '"content-type", authorization', True, False),
    ],
)
def test_the_preflight(methods: str, names: str, credentials: bool, granted: bool) -> None:
    """Methods compare with their case, fields without, and a wildcard never covers Authorization."""
    lists = [("Access-Control-Allow-Methods", methods), ("Access-Control-Allow-Headers", names)]
    answer = _answer(*_grant(_APP, "true"), *lists, status=204)
    failed = preflight_check(answer, _APP, "PUT", ("authorization", "content-type"), credentials=credentials)
    assert (failed == "") is granted


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        (["nosniff"], True),
        (["NoSniff"], True),
        ([" nosniff\t"], True),
        (["nosniff", "nosniff"], True),
        (["nosniff, other"], True),
        (["other, nosniff"], False),
        ([", nosniff"], False),
        (['"nosniff"'], False),
        (["nosniff;"], False),
        (["no sniff"], False),
        ([""], False),
        ([], False),
    ],
)
def test_nosniff(values: list[str], holds: bool) -> None:
    """Of a list the first value counts, and an empty one is one ("determine nosniff")."""
    assert is_nosniff(_answer(*(("X-Content-Type-Options", value) for value in values))) is holds


def test_safelisted_methods_need_no_list() -> None:
    """GET, HEAD and POST are allowed by the grant alone; a redirect or an error is no grant."""
    assert preflight_check(_answer(*_grant(_APP)), _APP, "POST", (), credentials=False) == ""
    for status in (302, 401, 429):
        assert preflight_check(_answer(*_grant(_APP), status=status), _APP, "POST", (), credentials=False)
