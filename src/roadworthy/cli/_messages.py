"""How a command reports what is wrong."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

__all__ = ("UsageError", "did_you_mean", "refuse")


class UsageError(Exception):
    """Raised when a command cannot work with its input; ``str()`` names the input and the remedy."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean x?`` for the entry that looks most like ``word``, or nothing."""
    found = difflib.get_close_matches(word, [name for name in known if not name.startswith("_")], n=1)
    return f"; did you mean {found[0]}?" if found else ""


def refuse(message: object) -> NoReturn:
    """Print the message on standard error and exit with 2.

    Raises:
        SystemExit: always.
    """
    # A reader that is gone costs the message, not the exit code.
    with suppress(OSError):
        print(f"roadworthy: {message}", file=sys.stderr)
    raise SystemExit(2)
