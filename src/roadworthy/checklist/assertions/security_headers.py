"""What the checklist promises under ``security-headers`` (HDR)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="HDR-1",
        item="security-headers",
        severity=Severity.MEDIUM,
        title="Every response has X-Content-Type-Options: nosniff",
        why="A browser that guesses types can run an uploaded text as a script.",
        source="ASVS 5.0 3.4.4, WHATWG Fetch: X-Content-Type-Options",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.MEDIA_TYPE, On.CONNECTION, On.HTTP_VERSION, On.REPEAT),
    ),
    Assertion(
        id="HDR-2",
        item="security-headers",
        severity=Severity.MEDIUM,
        title="Every response with a body has a true Content-Type, with a charset where it is text",
        why=("A missing or false type is guessed, and the guess can be chosen by whoever wrote the content."),
        source="ASVS 5.0 4.1.1, RFC 9110 §8.3",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.MEDIA_TYPE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="HDR-3",
        item="security-headers",
        severity=Severity.MEDIUM,
        title="No response can be framed by another site",
        why="A page in a hidden frame lets another site have its visitors click on it.",
        source="ASVS 5.0 3.4.6, CSP Level 3 frame-ancestors, RFC 7034",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.MEDIA_TYPE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="HDR-4",
        item="security-headers",
        severity=Severity.HIGH,
        title="Every page has a content security policy that allows no inline script",
        why="It is the second line against script injection, when the escaping was forgotten once.",
        source="ASVS 5.0 3.4.3, CSP Level 3",
        depends_on=(On.ROUTE, On.STATUS, On.MEDIA_TYPE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="HDR-5",
        item="security-headers",
        severity=Severity.MEDIUM,
        title="Over HTTPS, HSTS is sent with at least a year",
        why=(
            "Without it the first request of each visit can be taken over on the way. Over plain HTTP the "
            "field means nothing and is not asked for."
        ),
        source="RFC 6797 §6.1, §7.2, ASVS 5.0 3.4.1",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="HDR-6",
        item="security-headers",
        severity=Severity.MEDIUM,
        title="Personal data is not stored by caches",
        why="A shared cache or the back button otherwise shows one person's data to another.",
        source="RFC 9111 §5.2.2.5, OWASP REST Security Cheat Sheet, API8:2023",
        depends_on=(On.METHOD, On.ROUTE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="HDR-7",
        item="security-headers",
        severity=Severity.LOW,
        title="No field reveals the product's version",
        why="The version selects the exploit.",
        source="RFC 9110 §10.2.4, ASVS 5.0 13.4.6",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.HTTP_VERSION, On.REPEAT),
    ),
    Assertion(
        id="HDR-8",
        item="security-headers",
        severity=Severity.HIGH,
        title="Cookies are Secure, and session cookies HttpOnly and SameSite",
        why=(
            "Each missing attribute is a way to take over a session: on the wire, by script, from another "
            "site."
        ),
        source="ASVS 5.0 3.3, RFC 6265 §4.1.2",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="HDR-9",
        item="security-headers",
        severity=Severity.INFO,
        title="Pages state their referrer policy, permissions and isolation",
        why="They limit what other sites learn from a link or reach through a window.",
        source="W3C Referrer Policy, W3C Permissions Policy, WHATWG HTML cross-origin opener policies",
        depends_on=(On.ROUTE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="HDR-10",
        item="security-headers",
        severity=Severity.LOW,
        title="Nothing harmful, obsolete or contradictory is sent",
        why=(
            "X-XSS-Protection opened holes of its own, and of two contradictory values each browser picks "
            "another."
        ),
        source="OWASP HTTP Headers Cheat Sheet, RFC 9110 §5.3",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.CONNECTION, On.REPEAT),
    ),
)
