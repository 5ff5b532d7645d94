"""What a package of this folder says about its application."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .visitor import Visitor

__all__ = ("FOLDER", "Application", "application", "names")

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Application:
    """How an application is served, and what a person does with it.

    Parameters:
        journey: what is asked of it; the same under both servers.
        target: what is served, as `uvicorn` and `roadworthy run` name it.
        factory: the target is a function that makes the app.
        prepare: arguments of Python, run once in its folder before it is served, such as a migration.
        env: its own variables.
        settings: settings of `roadworthy run` that it needs, each with the reason.
        varies: what is another value each time, as regular expressions; a group keeps the rest.
        click: for a browser: the page, what to click on, and what is true after that, both in JavaScript.
    """

    journey: Callable[[Visitor], None]
    target: str = "main:app"
    factory: bool = False
    prepare: tuple[tuple[str, ...], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    varies: tuple[str, ...] = ()
    click: tuple[str, str, str] | None = None


def names() -> list[str]:
    """Return the name of each application."""
    return sorted(one.parent.name for one in FOLDER.glob("*/journey.py"))


def application(name: str) -> Application:
    """Return what a package says."""
    found = importlib.import_module(f"{__package__}.{name}.journey").APPLICATION
    assert isinstance(found, Application)
    return found
