"""What the checklist promises under ``cors`` (COR)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="COR-1",
        item="cors",
        severity=Severity.CRITICAL,
        title="An origin that is not trusted is never granted access",
        why=(
            "A reflected or loosely matched origin, together with cookies, lets any web page read what the "
            "signed-in user can read."
        ),
        source="WHATWG Fetch: CORS protocol, ASVS 5.0 3.4.2",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.ORIGIN, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="COR-2",
        item="cors",
        severity=Severity.MEDIUM,
        title="The wildcard origin is never combined with credentials",
        why=(
            "Browsers refuse the combination, so it never does what was meant; some libraries make it a "
            "reflection of every origin."
        ),
        source="WHATWG Fetch: CORS protocol and credentials",
        depends_on=(On.METHOD, On.STATUS, On.ORIGIN),
    ),
    Assertion(
        id="COR-3",
        item="cors",
        severity=Severity.MEDIUM,
        title="An allowed origin is granted exactly: one value, byte for byte",
        why=(
            'A list, a trailing slash or "True" fails the comparison in the browser, and the front end sees'
            " nothing but a network error."
        ),
        source="WHATWG Fetch: CORS protocol, HTTP responses",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.ORIGIN, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="COR-4",
        item="cors",
        severity=Severity.MEDIUM,
        title="Every response has Vary: Origin when the grant depends on the origin",
        why="A cache otherwise serves one origin's grant, or the lack of one, to another.",
        source="WHATWG Fetch: CORS protocol and HTTP caches",
        depends_on=(On.ROUTE, On.STATUS, On.ORIGIN, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="COR-5",
        item="cors",
        severity=Severity.HIGH,
        title="A preflight for the methods and fields that the API uses succeeds without credentials",
        why=(
            "Browsers send no credentials with a preflight: one that demands them, redirects or is limited "
            "blocks every real call."
        ),
        source="WHATWG Fetch: CORS-preflight fetch",
        depends_on=(On.METHOD, On.ROUTE, On.ORIGIN, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="COR-6",
        item="cors",
        severity=Severity.MEDIUM,
        title="A preflight from a foreign origin or for an unlisted method or field fails",
        why="The preflight is the only barrier before an unsafe request is sent.",
        source="WHATWG Fetch: CORS-preflight fetch",
        depends_on=(On.METHOD, On.ROUTE, On.ORIGIN, On.VALUE),
    ),
    Assertion(
        id="COR-7",
        item="cors",
        severity=Severity.INFO,
        title="The preflight answer may be cached for a sensible time",
        why=(
            "Without Access-Control-Max-Age a browser asks again after five seconds, which doubles the "
            "number of requests."
        ),
        source="WHATWG Fetch: CORS protocol, HTTP responses",
        depends_on=(On.ROUTE, On.ORIGIN),
    ),
    Assertion(
        id="COR-8",
        item="cors",
        severity=Severity.MEDIUM,
        title="Errors are readable for an allowed origin",
        why=(
            "An error without the grant is shown to the front end as a network failure, so neither the user"
            " nor the developer learns what went wrong."
        ),
        source="WHATWG Fetch: CORS protocol, Kludex/starlette#1175",
        depends_on=(On.STATUS, On.ORIGIN, On.METHOD),
    ),
    Assertion(
        id="COR-9",
        item="cors",
        severity=Severity.LOW,
        title=(
            "Each CORS field is on the kind of response it belongs to, and clients can read what they need"
        ),
        why=(
            "Preflight fields on ordinary responses mean nothing; a request id or Retry-After that is not "
            "exposed cannot be read by scripts."
        ),
        source="WHATWG Fetch: CORS protocol, HTTP responses",
        depends_on=(On.ROUTE, On.STATUS, On.ORIGIN, On.METHOD),
    ),
    Assertion(
        id="COR-10",
        item="cors",
        severity=Severity.MEDIUM,
        title="A service that declares no cross-origin use grants none",
        why=(
            "The absence of these fields is the safe state and counts as kept; a grant that nobody declared"
            " is a mistake."
        ),
        source="OWASP REST Security Cheat Sheet",
        depends_on=(On.METHOD, On.ROUTE, On.STATUS, On.ORIGIN),
    ),
)
