"""Whether a service can start with its settings: one answer for every command that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = ("judge",)


def judge(settings: Settings) -> None:
    """Refuse settings that a start would refuse, all that is wrong with them at once.

    Raises:
        SettingsError: secrets are weak in production, an item of the layer cannot work with a value, or this
            machine lacks what they ask for.
    """
    from ..layer.mistakes import mistakes_in
    from ..server.process.machine import machine_problems
    from ..settings import SettingsError, weak_secrets

    problems = [
        *(weak_secrets(settings) if settings.env == "production" else ()),
        *mistakes_in(settings),
        *machine_problems(settings),
    ]
    if problems:
        raise SettingsError(problems)
