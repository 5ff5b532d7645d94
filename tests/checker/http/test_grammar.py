"""Tokens, quoted strings, lists, parameters and dates, by the examples and the ABNF of RFC 9110."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from roadworthy.checker.http.grammar import http_date, list_elements, parameters, unquoted

_EXAMPLE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
_NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gzip", "gzip"),
        ("!#$%&'*+-.^_`|~aZ09", "!#$%&'*+-.^_`|~aZ09"),
        ("", None),
        ("a b", None),
        ("a,b", None),
        ("a/b", None),
        ("é", None),
        ('""', ""),
        ('"a b, c;d"', "a b, c;d"),
        (r'"a \"b\" \\"', 'a "b" \\'),
        ('"tab\there"', "tab\there"),
        ('"\xe9"', "\xe9"),
        ('"open', None),
        ('"a"b"', None),
        ('"a\x00b"', None),
        ('"a\x7fb"', None),
        ('"ends\\"', None),
    ],
)
def test_tokens_and_quoted_strings(text: str, value: str | None) -> None:
    """§5.6.2 and §5.6.4: what is neither stands for nothing."""
    assert unquoted(text) == value


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("foo,bar", ("foo", "bar")),
        ("foo ,bar,", ("foo", "bar")),
        ("foo , ,bar,charlie", ("foo", "bar", "charlie")),
        ("", ()),
        (",", ()),
        (",   ,", ()),
        ('a="b, c", d', ('a="b, c"', "d")),
        (r'a="\",", d', (r'a="\","', "d")),
        ('a, "b, c', ("a", '"b, c')),
        ("a\t,\tb", ("a", "b")),
    ],
)
def test_lists(value: str, elements: tuple[str, ...]) -> None:
    """§5.6.1.2 with its own examples, valid and invalid: empty elements count for nothing."""
    assert list_elements(value) == elements


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        (";charset=utf-8", {"charset": "utf-8"}),
        ('; Charset="utf-8"', {"charset": "utf-8"}),
        (" ; a=1 ;; b=2;", {"a": "1", "b": "2"}),
        (';a="x;y"', {"a": "x;y"}),
        (";a=1;a=2", {"a": "1"}),
        (";a = 1", None),
        (";a", None),
        (";a=", None),
        (";a=b c", None),
        ("a=1", None),
        (';a="open', None),
    ],
)
def test_parameters(text: str, found: dict[str, str] | None) -> None:
    """§5.6.6: no blanks around the equals sign, no name without a value."""
    assert parameters(text) == found


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", _EXAMPLE),
        ("Sunday, 06-Nov-94 08:49:37 GMT", _EXAMPLE),
        ("Sun Nov  6 08:49:37 1994", _EXAMPLE),
        ("Sun Nov 16 08:49:37 1994", _EXAMPLE.replace(day=16)),
        ("Sunday, 06-Nov-76 08:49:37 GMT", _EXAMPLE.replace(year=2076)),
        ("Sunday, 06-Nov-77 08:49:37 GMT", _EXAMPLE.replace(year=1977)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("sun, 06 nov 1994 08:49:37 gmt", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("Sun, 06 Nov 94 08:49:37 GMT", None),
        ("06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun Nov 6 08:49:37 1994", None),
        ("1994-11-06T08:49:37Z", None),
        ("Sun, ٠٦ Nov 1994 08:49:37 GMT", None),
        ("", None),
    ],
)
def test_dates(text: str, date: datetime | None) -> None:
    """§5.6.7: three forms that compare with their case, of which the two old ones are read as well."""
    assert http_date(text, _NOW) == date
