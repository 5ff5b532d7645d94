"""Weak secrets are refused at start, in production, by name."""

from __future__ import annotations

import logging

from ..settings import Settings, SettingsError, weak_secrets

__all__ = ("Environment",)

_log = logging.getLogger("roadworthy.environment")


class Environment:
    """Looks once at every secret of the settings, those of a service's subclass included.

    Parameters:
        settings: the effective settings. Every ``SecretStr`` and ``SecretBytes`` field that is set is
            looked at: a token has at least 16 characters, 5 distinct ones, and is no known default; in a URL
            only the password counts, and only known defaults are refused, others may be short for a reason.

    Attributes:
        problems: what is weak, by the name of the variable that was set or has to be set.
    """

    def __init__(self, settings: Settings) -> None:
        self._env = settings.env
        self.problems = tuple(weak_secrets(settings))

    def check(self) -> None:
        """Refuse weak secrets in production; log a warning for each in development; do nothing in test.

        Raises:
            SettingsError: ``env`` is production and secrets are weak; it names them all.
        """
        if not self.problems or self._env == "test":
            return
        if self._env == "production":
            raise SettingsError(self.problems)
        for problem in self.problems:
            _log.warning("weak secret, refused in production: %s", problem)
