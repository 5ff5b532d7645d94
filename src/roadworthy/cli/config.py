"""``roadworthy config``: the effective settings, masked, with where each came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._messages import UsageError, refuse
from ._verdict import judge

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = ("config", "effective_settings")


def config(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:APP]",
            show_default=False,
            help="The app whose settings to show, its own included.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show the effective settings, secrets masked, and where each came from; refuse what `run` refuses.

    Sources are an argument in code, an environment variable, `.env`, or the default.
    """
    from ..settings import SettingsError, settings_sources
    from ..settings.masking import masked_settings

    try:
        settings = effective_settings(target)
    except (UsageError, SettingsError) as error:
        refuse(error)
    values, sources = masked_settings(settings), settings_sources(settings)
    if json:
        from json import dumps

        print(dumps({name: {"value": values[name], "source": sources[name]} for name in values}, indent=2))
    else:
        _print_table(values, sources)


def effective_settings(target: str | None) -> Settings:
    """Return the settings of an app, or those of this folder, once it is clear that they can be served.

    Raises:
        UsageError: there is no such app.
        SettingsError: settings are wrong; it lists all of them.
    """
    from ..settings import load_settings

    if target is None:
        settings = load_settings()
        judge(settings)
        return settings
    from .run import layered

    return layered(target).settings


def _print_table(values: dict[str, Any], sources: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", "value", "source", box=None, pad_edge=False, header_style="bold")
    for name, value in values.items():
        source = Text(sources[name], style="dim" if sources[name] == "default" else "green")
        table.add_row(name, Text(_text(value)), source)
    Console(highlight=False, soft_wrap=True).print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"  # pyright: ignore[reportUnknownArgumentType]
    return f"{value:g}" if isinstance(value, float) else str(value)
