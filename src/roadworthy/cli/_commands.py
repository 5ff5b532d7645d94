"""The commands, and what stands beside them on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from .check import check
from .config import config
from .explain import explain
from .run import run

__all__ = ("commands",)

commands = typer.Typer(
    name="roadworthy",
    help="The whole production checklist on any ASGI app.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks with local variables would print whatever secrets the locals hold.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.command()(run)
commands.command()(config)
commands.add_typer(check, name="check")
commands.command()(explain)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"roadworthy {version('roadworthy')}")
        raise typer.Exit


@commands.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass
