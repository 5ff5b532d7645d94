"""Starts the zoo's service: ``PORT=8000 ZOO_FAULT=hlt-4-asks-store python -m tests.zoo``.

With ``production`` behind it, it has none of the routes that are made for checks.
"""

from __future__ import annotations

import asyncio
import sys

from .configuration import Misconfigured, read_configuration
from .parts import PARTS
from .parts.lifecycle import live_and_die
from .parts.made_for_checks import MadeForChecks
from .service import Zoo, faulty
from .workers import number_of_workers, supervise


def main() -> int:
    """Serve until a signal, in one process or several; return the exit status."""
    return supervise(serve) if number_of_workers() > 1 else serve()


def serve() -> int:
    """Serve in this process."""
    production = "production" in sys.argv and not faulty("wir-5-left-in")
    parts = [part() for part in PARTS if not production or part is not MadeForChecks]
    try:
        port = read_configuration()
        return asyncio.run(live_and_die(Zoo(parts), port))
    except (OSError, ValueError) as problem:
        if faulty("wir-4-status-0"):
            return 0
        if isinstance(problem, Misconfigured):
            print(problem, file=sys.stderr)
            return 2
        raise


if __name__ == "__main__":
    sys.exit(main())
