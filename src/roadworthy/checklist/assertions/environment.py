"""What the checklist promises under ``environment`` (ENV)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="ENV-1",
        item="environment",
        severity=Severity.HIGH,
        title="PORT is obeyed, and nothing else listens",
        why=(
            "A platform assigns the port; a service that listens elsewhere is never reached, and a second "
            "listener may be one that nobody guards."
        ),
        source="The Twelve-Factor App III, VII",
        depends_on=(On.ENVIRONMENT, On.WORKER),
    ),
    Assertion(
        id="ENV-2",
        item="environment",
        severity=Severity.HIGH,
        title="A bad PORT stops the start with a message that names the variable",
        why=(
            'Express takes "abc" for the name of a Unix socket and reports success, while nobody can connect.'
        ),
        source="The Twelve-Factor App III",
        depends_on=(On.ENVIRONMENT,),
    ),
    Assertion(
        id="ENV-3",
        item="environment",
        severity=Severity.HIGH,
        title="A missing required variable stops the start with a message that names it",
        why="A default that was guessed fails later, in a place that says nothing about the cause.",
        source="The Twelve-Factor App III",
        depends_on=(On.ENVIRONMENT,),
    ),
    Assertion(
        id="ENV-4",
        item="environment",
        severity=Severity.HIGH,
        title=(
            "A bad database URL fails fast or keeps the service not ready; it never falls back to another "
            "store"
        ),
        why=(
            "Writes into a forgotten local file look like a working service until the container is replaced."
        ),
        source="The Twelve-Factor App III, IV",
        depends_on=(On.ENVIRONMENT,),
    ),
    Assertion(
        id="ENV-5",
        item="environment",
        severity=Severity.MEDIUM,
        title="LOG_LEVEL is obeyed, and a bad value is refused or reported by name",
        why='A mistyped level that silently means "info" is found out in the incident.',
        source="The Twelve-Factor App III, XI",
        depends_on=(On.ENVIRONMENT,),
    ),
    Assertion(
        id="ENV-6",
        item="environment",
        severity=Severity.CRITICAL,
        title="The value of a secret is never shown",
        why=(
            "Start-up errors, debug pages and the list of processes are read by more people and tools than "
            "may know the secret."
        ),
        source="ASVS 5.0 13.3, 13.4.2, 16.2.5, CWE-532, pydantic/pydantic-settings#937",
        depends_on=(On.ENVIRONMENT, On.STATUS),
    ),
    Assertion(
        id="ENV-7",
        item="environment",
        severity=Severity.HIGH,
        title="A weak or default secret is refused in production",
        why='"changeme" in the example file is the first thing anybody tries.',
        source="ASVS 5.0 13.2.3, Django security.W009",
        depends_on=(On.ENVIRONMENT,),
    ),
    Assertion(
        id="ENV-8",
        item="environment",
        severity=Severity.MEDIUM,
        title="The environment wins over files",
        why=("A .env file left in an image otherwise overrides what the platform sets, and nobody sees why."),
        source="The Twelve-Factor App III",
        depends_on=(On.ENVIRONMENT,),
    ),
    Assertion(
        id="ENV-9",
        item="environment",
        severity=Severity.MEDIUM,
        title="Debugging is off unless it is asked for",
        why="Debug pages show sources, settings and sometimes a console to whoever causes an error.",
        source="ASVS 5.0 13.4.2, Django security.W018",
        depends_on=(On.ENVIRONMENT, On.STATUS, On.ROUTE),
    ),
    Assertion(
        id="ENV-10",
        item="environment",
        severity=Severity.LOW,
        title="Every declared variable has an effect or a documented default",
        why="A variable that does nothing is a promise that somebody relies on.",
        source="The Twelve-Factor App III",
        depends_on=(On.ENVIRONMENT,),
    ),
)
