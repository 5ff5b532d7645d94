"""The command line. Each command is a module of its own and imports its room only when it is called."""

from __future__ import annotations

from ._inherited import take_over

__all__ = ("main",)


def main() -> None:
    """Run the command line; it exits with 0 when all is well, 1 when work failed, 2 when asked wrongly."""
    take_over()
    # Only now: as process 1 this point is reached by the child, and the first process stays small.
    from ._commands import commands

    commands()
