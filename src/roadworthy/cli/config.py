"""``roadworthy config``: the effective settings, masked, with where each came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._messages import UsageError, refuse
from ._verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    Sources are an argument in code, an environment variable, `.env`, `roadworthy.toml` for rules of single
    routes, or the default.
    """
    from ..settings import SettingsError, settings_sources
    from ..settings.masking import masked_settings

    try:
        settings, rules = _effective(target)
    except (UsageError, SettingsError) as error:
        refuse(error)
    values, sources = masked_settings(settings), settings_sources(settings)
    if rules is not None:
        values["rules"] = rules
    if json:
        from json import dumps

        print(dumps({name: {"value": values[name], "source": sources[name]} for name in values}, indent=2))
    else:
        rules = values["rules"]
        values["rules"] = f"{len(rules)}, see below" if rules else None
        _print_table(values, sources)
        if rules:
            _print_rules(rules)


def effective_settings(target: str | None) -> Settings:
    """Return the settings of an app, or those of this folder, once it is clear that they can be served.

    Raises:
        UsageError: there is no such app.
        SettingsError: settings are wrong; it lists all of them.
    """
    return _effective(target)[0]


def _effective(target: str | None) -> tuple[Settings, list[dict[str, Any]] | None]:
    """Return the settings, and the rules that are in force where the app is known."""
    from ..settings import load_settings

    if target is None:
        settings = load_settings()
        judge(settings)
        return settings, None
    from .run import layered

    app = layered(target)
    return app.settings, app.hosting.rules()


def _print_table(values: dict[str, Any], sources: dict[str, str]) -> None:
    _print(("setting", "value"), ((name, _text(value), sources[name]) for name, value in values.items()))


def _print_rules(rules: list[dict[str, Any]]) -> None:
    shown = (
        (
            rule["route"],
            ", ".join(f"{name} = {_text(rule[name])}" for name in rule if name not in ("route", "source")),
            rule["source"],
        )
        for rule in rules
    )
    print()
    _print(("route", "rule"), shown)


def _print(titles: Iterable[str], rows: Iterable[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, "source", box=None, pad_edge=False, header_style="bold")
    for name, value, source in rows:
        table.add_row(name, Text(value), Text(source, style="dim" if source == "default" else "green"))
    Console(highlight=False, soft_wrap=True).print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"  # pyright: ignore[reportUnknownArgumentType]
    return f"{value:g}" if isinstance(value, float) else str(value)
