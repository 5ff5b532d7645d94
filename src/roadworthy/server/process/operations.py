"""What the operations listener offers besides reading: configuration, log level, drain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, cast, get_args

from ...errors import BadRequestError
from ...layer.exchange import Reply
from ...layer.logging import Level
from ...layer.operations import OperationsApp, Page, json_page
from ...settings import Settings, settings_sources
from ...settings.masking import masked_settings

__all__ = ("Control", "add_controls", "configuration_of")


class Control(Protocol):
    """What the listener's writes act upon."""

    def configuration(self) -> dict[str, Any]:
        """Return the effective settings, masked, each with its source."""
        ...

    def set_level(self, level: Level) -> None:
        """Change the lowest level that is written, in every process of the service."""
        ...

    def drain(self) -> None:
        """Begin what SIGTERM begins."""
        ...


def add_controls(app: OperationsApp, control: Control) -> OperationsApp:
    """Add the pages that act on the process; the writes among them want the token."""

    def level(headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        chosen = _level(body)
        control.set_level(chosen)
        return json_page({"level": chosen})

    def drain(headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        control.drain()
        return json_page({"status": "draining"}, 202)

    app.add(
        "/config",
        Page(lambda headers, body: json_page(control.configuration()), "effective settings, masked"),
    )
    app.add("/loglevel", Page(level, '{"level": "debug"} changes what is logged; wants the token', "PUT"))
    app.add("/drain", Page(drain, "does what SIGTERM does; wants the token", "POST"))
    return app


def configuration_of(settings: Settings) -> dict[str, Any]:
    """Return every setting as it may be shown, with where it came from."""
    values, sources = masked_settings(settings), settings_sources(settings)
    return {name: {"value": values[name], "source": sources[name]} for name in values}


def _level(body: bytes) -> Level:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    found = cast("dict[str, Any]", content).get("level") if isinstance(content, dict) else None
    if found not in get_args(Level):
        raise BadRequestError(f'The body is {{"level": one of {", ".join(get_args(Level))}}}')
    return cast("Level", found)
