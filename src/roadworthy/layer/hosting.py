"""What the process around the layer may ask of it and have it do: its face towards our own server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .graceful_shutdown import State
from .logging import Level
from .pipeline import Pass
from .routes import ANY_METHOD
from .rules import shown_rule

__all__ = ("Hosting",)


class Hosting:
    """The life of one layer as its process sees it.

    It stands apart from the layer itself, whose other attributes are the app's: each name that the layer
    takes is one that the app cannot have.

    Parameters:
        pass_: the items.
    """

    def __init__(self, pass_: Pass) -> None:
        self._pass = pass_

    # -- before it serves

    def configure_logging(self) -> None:
        """Have records written in the service's form, before the layer starts."""
        self._pass.logging.configure()

    async def prepare(self) -> None:
        """Do what is to be done once before any worker serves, such as migrations.

        Raises:
            SettingsError: a resource cannot work with its settings.
            RuntimeError: a resource could not be prepared.
        """
        await self._pass.pooling.prepare()

    def assume_prepared(self) -> None:
        """Leave that out at the start: another process of the service has done it."""
        self._pass.pooling.prepared = True

    # -- how it is

    @property
    def state(self) -> State:
        """Where in its life it is."""
        return self._pass.shutdown.state

    @property
    def failed(self) -> bool:
        """It ends because of a failure; the exit code is to show that."""
        return self._pass.shutdown.failed

    @property
    def refused(self) -> bool:
        """It did not start because of its settings; the exit code is to show that."""
        return self._pass.shutdown.refused

    @property
    def busy(self) -> bool:
        """Something is in flight."""
        return bool(self._pass.live)

    def ready(self) -> bool:
        """Return whether readiness is 200."""
        return self._pass.health.ready()

    def details(self) -> dict[str, Any]:
        """Return every health check in detail."""
        return self._pass.health.details()

    def unfinished(self) -> list[str]:
        """Describe the requests that have no whole answer yet."""
        return self._pass.shutdown.unfinished()

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules in force: ``route``, what each sets, and its ``source``, which may be ``code``."""
        return [
            {
                "route": _key(methods, template),
                **shown_rule(rule),
                "source": self._pass.places.get(id(rule), "code"),
            }
            for methods, template, rule in sorted(self._pass.rules, key=lambda one: one[1])
        ]

    # -- what it is to do

    def on_change(self, listener: Callable[[State], None]) -> None:
        """Call ``listener`` with each new state."""
        self._pass.shutdown.on_change(listener)

    def retire(self) -> None:
        """Have every response close its connection, while probes see no change: other workers serve on."""
        self._pass.shutdown.retire()

    def set_level(self, level: Level) -> None:
        """Change the lowest level that is written."""
        self._pass.logging.set_level(level)

    def flush(self) -> bool:
        """Write out the records that wait; False when they could not be written in time."""
        return self._pass.logging.writer.flush()


def _key(methods: frozenset[str], template: str) -> str:
    return template if methods >= ANY_METHOD else f"{','.join(sorted(methods))} {template}"
