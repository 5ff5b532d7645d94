"""How a command reports what is wrong."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import NoReturn

__all__ = ("UsageError", "refuse")


class UsageError(Exception):
    """Raised when a command cannot work with its input; ``str()`` names the input and the remedy."""


def refuse(message: object) -> NoReturn:
    """Print the message on standard error and exit with 2.

    Raises:
        SystemExit: always.
    """
    # A reader that is gone costs the message, not the exit code.
    with suppress(OSError):
        print(f"roadworthy: {message}", file=sys.stderr)
    raise SystemExit(2)
