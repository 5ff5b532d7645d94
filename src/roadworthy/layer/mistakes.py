"""Settings of the right type that an item of the layer cannot work with, found before the start."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..settings import PREFIX, Problem, Settings, cluster_problems, settings_sources
from .cors import Cors
from .logs.redaction import Redactor
from .rules import rule_problems
from .security_headers import SecurityHeaders
from .trusted_host import TrustedHost

__all__ = ("mistakes_in",)

_NAMED = re.compile(rf"{PREFIX}(\w+): (.+)", re.DOTALL)


def mistakes_in(settings: Settings) -> list[Problem]:
    """Return what the items refuse, each by the variable that was set.

    Building the layer stops at the first of these; here each item is asked, so that one start shows them all.
    """
    items: tuple[Callable[[], object], ...] = (
        lambda: Redactor(settings.log_redact),
        lambda: TrustedHost(settings),
        lambda: Cors(settings),
        lambda: SecurityHeaders(settings),
        lambda: _redis(settings),
    )
    sources = settings_sources(settings)
    found = [problem for item in items if (problem := _refusal(item, sources)) is not None]
    return [*found, *cluster_problems(settings), *rule_problems(settings.rules)]


def _refusal(item: Callable[[], object], sources: dict[str, str]) -> Problem | None:
    try:
        item()
    except (ValueError, RuntimeError) as error:
        named = _NAMED.fullmatch(str(error))
        if named is None:
            raise
        source = sources.get(named[1].lower(), "default")
        return Problem(
            PREFIX + named[1] if source in ("default", "argument", "secrets") else source, named[2]
        )
    return None


def _redis(settings: Settings) -> object:
    from .redis_link import connect

    return settings.redis_url and connect(settings.redis_url.get_secret_value())
