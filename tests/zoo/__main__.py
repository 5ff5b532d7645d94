"""Starts the zoo's service: ``PORT=8000 ZOO_FAULT=hlt-4-asks-store python -m tests.zoo``."""

from __future__ import annotations

import asyncio
import os
import sys

from .parts import PARTS
from .parts.lifecycle import live_and_die
from .service import Zoo


def main() -> int:
    """Serve until a signal; return the exit status."""
    return asyncio.run(live_and_die(Zoo([part() for part in PARTS]), int(os.environ["PORT"])))


if __name__ == "__main__":
    sys.exit(main())
