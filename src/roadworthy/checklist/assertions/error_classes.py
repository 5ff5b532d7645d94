"""What the checklist promises under ``error-classes`` (ECL)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="ECL-1",
        item="error-classes",
        severity=Severity.HIGH,
        title="Each error class has its own status and code",
        why="Clients switch on the code, which must not depend on where the error was raised.",
        source="RFC 9457 §3.1, RFC 9110 §15",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.REPEAT),
    ),
    Assertion(
        id="ECL-2",
        item="error-classes",
        severity=Severity.MEDIUM,
        title="Details given to an error reach the client unchanged",
        why=("Details are what lets a program react: the fields that are wrong, the limit that was hit."),
        source="RFC 9457 §3.2",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE),
    ),
    Assertion(
        id="ECL-3",
        item="error-classes",
        severity=Severity.HIGH,
        title="Any other exception returns 500 with a fixed code and message",
        why="The text of an unknown exception was written for developers and may hold anything.",
        source="ASVS 5.0 16.5.1",
        depends_on=(On.METHOD, On.REPEAT, On.MEDIA_TYPE),
    ),
    Assertion(
        id="ECL-4",
        item="error-classes",
        severity=Severity.MEDIUM,
        title="The stack is shown in development only, in every error format",
        why=("It is help at the desk and a leak in production; the environment decides, not the code."),
        source="ASVS 5.0 13.4.2, RFC 9457 §5",
        depends_on=(On.ENVIRONMENT, On.MEDIA_TYPE, On.METHOD),
    ),
)
