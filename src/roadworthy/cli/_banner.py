"""What a person reads at the start of ``roadworthy run`` in development."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..server.process.run import Addresses
    from ..settings import Settings

__all__ = ("show_banner",)


def show_banner(addresses: Addresses, target: str, settings: Settings) -> None:
    """Print where the service is, and what of the layer is on, to standard error."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _lines(addresses, settings):
        table.add_row(name, Text(value))
    console = Console(stderr=True, highlight=False)
    console.print()
    console.print(Text.assemble(("roadworthy", "bold green"), f"  {target}"))
    console.print(table)
    console.print(Text("Ctrl-C stops.", style="dim"))
    console.print()


def _lines(addresses: Addresses, settings: Settings) -> list[tuple[str, str]]:
    operations = addresses.operations
    return [
        ("service", addresses.public),
        ("operations", "off" if operations is None else f"{operations}/metrics"),
        ("environment", settings.env),
        ("errors", settings.error_format),
        ("limits", f"{settings.rate_limit or 'no rate limit'}, body {_size(settings.body_limit)}"),
        ("cors", ", ".join(settings.cors_origins) or "no other origin"),
        ("compression", "zstd, br, gzip" if settings.compression else "off"),
        ("deadlines", f"request {settings.request_timeout:g} s, idle connection {settings.keep_alive:g} s"),
    ]


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024 or count % 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"
