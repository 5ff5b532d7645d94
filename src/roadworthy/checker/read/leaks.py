"""What no response may show: traces of how a service is built."""

from __future__ import annotations

import re

__all__ = ("internals",)

# Up to the first :1:2 of the line; no place in the text is read again for the next beginning.
_JAVASCRIPT = r"(?:\n|\\n)[^\S\n]++at (?:[^\n\\:]++|\\(?!n)|:(?!\d{1,9}:\d))++:\d"

# Of each: what it is called in a finding, and how it looks. ASVS 5.0 16.5.1, API8:2023.
_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a Python traceback", re.compile(r"Traceback \(most recent call last\)|File \"[^\"]+\", line \d+")),
    ("a JavaScript stack", re.compile(_JAVASCRIPT)),
    ("a Go stack", re.compile(r"goroutine \d+ \[|\bpanic: ")),
    (
        "a Java stack",
        re.compile(r"Exception in thread|\bat [\w.$]+\([A-Z]\w+\.(?:java|kt):\d+\)|\.java:\d+\)"),
    ),
    ("a path of a library", re.compile(r"/site-packages/|node_modules/|/dist-packages/|\.m2/repository")),
    (
        "a path of the project",
        re.compile(r"(?<![\w/:.])/(?:home|root|usr|srv|opt|app|work|var|Users)/[\w./-]+"),
    ),
    (
        "an SQL statement",
        re.compile(
            r"\b(?:SELECT\s(?:(?!\bSELECT\s).){1,2000}?\sFROM|INSERT\s+INTO|UPDATE\s++\w++\s++SET|DELETE\s+FROM)\b",
            re.S,
        ),
    ),
    (
        "an SQL error",
        re.compile(r"SQLSTATE|sqlite3\.|psycopg|asyncpg\.|\bER_[A-Z_]{4,}|syntax error at or near"),
    ),
    (
        "a connection string",
        re.compile(r"\b(?:postgres(?:ql)?|mysql|mongodb|redis|amqp|sqlite|tcp)(?:\+\w+)?://\S"),
    ),
)


def internals(text: str) -> list[str]:
    """Return what of the service's inside stands in a text, in words."""
    return [name for name, sign in _SIGNS if sign.search(text)]
