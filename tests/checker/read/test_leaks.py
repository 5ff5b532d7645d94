"""What counts as a trace of how a service is built, and what only looks like one."""

from __future__ import annotations

import pytest

from roadworthy.checker.read.leaks import internals

_STACK = "Error: no\n    at fails (/src/service.js:72:9)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"code": "INTERNAL_SERVER_ERROR", "title": "Internal Server Error"}', []),
        ("ER_NO_SUCH_TABLE: Table 'a.items' doesn't exist", ["an SQL error"]),
        (_STACK, ["a JavaScript stack"]),
        ('{"detail": "' + _STACK.replace("\n", "\\n") + '"}', ["a JavaScript stack"]),
        ("the meeting\n  at noon, 12:30", []),
    ],
    ids=["a code in capitals", "an error of MySQL", "a stack", "a stack in JSON", "a time"],
)
def test_internals(text: str, found: list[str]) -> None:
    """A generic error shows nothing; stacks and errors of databases are found in text and in JSON."""
    assert internals(text) == found
