"""The command line. Each command is a module of its own and imports its room only when it is called."""

from __future__ import annotations

from typing import Annotated

import typer

from .check import check
from .config import config
from .explain import explain
from .run import run

__all__ = ("main",)

_app = typer.Typer(
    name="roadworthy",
    help="The whole production checklist on any ASGI app.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks with local variables would print whatever secrets the locals hold.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_app.command()(run)
_app.command()(config)
_app.add_typer(check, name="check")
_app.command()(explain)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"roadworthy {version('roadworthy')}")
        raise typer.Exit


@_app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; it exits with 0 when all is well, 1 when work failed, 2 when asked wrongly."""
    _app()
