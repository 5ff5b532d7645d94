"""Structured fields, by the examples and the parsing rules of RFC 9651."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from roadworthy.checker.http.structured import Item, Token, read_dictionary, read_item, read_list


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0", 0),
        ("  42  ", 42),
        ("999999999999999", 999_999_999_999_999),
        ("-999999999999999", -999_999_999_999_999),
        ("4.5", Decimal("4.5")),
        ("-0.125", Decimal("-0.125")),
        ("123456789012.125", Decimal("123456789012.125")),
        ('"hello world"', "hello world"),
        (r'"a \"b\" \\"', 'a "b" \\'),
        ("foo123/456", Token("foo123/456")),
        ("*a:b", Token("*a:b")),
        (":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:", b"pretend this is binary content."),
        (":aGVsbG8:", b"hello"),
        ("::", b""),
        ("?1", True),
        ("?0", False),
        ("@1659578233", 1_659_578_233),
        ("@-1", -1),
        ('%"This is intended for display to %c3%bcsers."', "This is intended for display to üsers."),
    ],
)
def test_bare_items(text: str, value: object) -> None:
    """§3.3: each type, and the bounds of numbers."""
    item = read_item(text)
    assert item is not None
    assert (type(item.value), item.value, item.parameters) == (type(value), value, {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5 6",
        "5,",
        "1000000000000000",
        "1234567890123.1",
        "1.1234",
        "1.",
        ".5",
        "-",
        "--1",
        "+1",
        "1.2.3",
        "٣",
        '"open',
        '"tab\there"',
        '"é"',
        r'"\x"',
        "'a'",
        "a b",
        "1a",
        ":a b:",
        ":a:",
        ":open",
        "?2",
        "?",
        "@1.5",
        "@",
        '%"%C3%BC"',
        '%"%ff"',
        '%"é"',
        "(1 2)",
        "\t5",
        "a;B=1",
        "a;1=1",
        "a; =1",
        "a;b=",
        "a;b =1",
        "a ;b",
    ],
)
def test_what_is_no_item(text: str) -> None:
    """§4.2: one mistake, and the field is as if it were absent."""
    assert read_item(text) is None


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ('"abc";a=1;b=2; c', {"a": 1, "b": 2, "c": True}),
        ("a;b=?0", {"b": False}),
        ("a;*x_.-*=:aGk=:", {"*x_.-*": b"hi"}),
        ("a;q=1;q=2", {"q": 2}),
    ],
)
def test_parameters(text: str, parameters: dict[str, object]) -> None:
    """§3.1.2: a key without a value is true, and the last of a key counts."""
    item = read_item(text)
    assert item is not None
    assert item.parameters == parameters


def _plain(item: Item) -> Any:
    value = tuple(map(_plain, item.value)) if isinstance(item.value, tuple) else item.value
    return (value, dict(item.parameters)) if item.parameters else value


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("sugar, tea, rum", ["sugar", "tea", "rum"]),
        ("sugar\t,  tea", ["sugar", "tea"]),
        ("", []),
        ('("foo" "bar"), ("baz"), ("bat" "one"), ()', [("foo", "bar"), ("baz",), ("bat", "one"), ()]),
        ('("foo";a=1;b=2);lvl=5', [((("foo", {"a": 1, "b": 2}),), {"lvl": 5})]),
        ("(  1  2  )", [(1, 2)]),
        ("a,", None),
        (",a", None),
        ("a,,b", None),
        ("a b", None),
        ("(1 2", None),
        ("(1,2)", None),
        ("(1\t2)", None),
        ("((1))", None),
        ('("a""b")', None),
    ],
)
def test_lists(text: str, members: list[Any] | None) -> None:
    """§4.2.1 and §4.2.1.2, with no comma at the end and no list within an inner list."""
    found = read_list(text)
    assert (None if found is None else [_plain(member) for member in found]) == members


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ('en="Applepie", da=:w4ZibGV0w6ZydGU=:', {"en": "Applepie", "da": "Æbletærte".encode()}),
        ("a=?0, b, c; foo=bar", {"a": False, "b": True, "c": (True, {"foo": "bar"})}),
        ("rating=1.5, feelings=(joy sadness)", {"rating": Decimal("1.5"), "feelings": ("joy", "sadness")}),
        (
            "a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid",
            {"a": (1, 2), "b": 3, "c": (4, {"aa": "bb"}), "d": ((5, 6), {"valid": True})},
        ),
        ("a=1, a=2", {"a": 2}),
        ("", {}),
        ("a=1,", None),
        ("A=1", None),
        ("a=", None),
        ("a =1", None),
        ("a= 1", None),
        ("geolocation 'none'", None),
        ("a=1; b=", None),
    ],
)
def test_dictionaries(text: str, members: dict[str, Any] | None) -> None:
    """§4.2.2: keys are in lower case, and the last of a key counts."""
    found = read_dictionary(text)
    assert (None if found is None else {key: _plain(member) for key, member in found.items()}) == members
