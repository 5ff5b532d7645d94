"""What a service sends, taken apart."""

from __future__ import annotations

import pytest

from roadworthy.checker.read.shapes import elements, members, whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("9" * 5_000, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        (" 1", None),
        ("\u0663", None),
    ],
)
def test_a_number_of_any_length_raises_nothing(text: str, number: int | None) -> None:
    """Digits that fit 64 bits are a number; more of them, signs, spaces and other scripts' are none."""
    assert whole_number(text) == number


def test_what_has_another_shape_is_empty() -> None:
    """Where an object or an array was expected and something else came, it has nothing in it."""
    for value in (None, 1, "a", True):
        assert (members(value), elements(value)) == ({}, [])
    assert (members([1]), elements({"a": 1})) == ({}, [])
