"""What the checklist promises under ``compression`` (CMP)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="CMP-1",
        item="compression",
        severity=Severity.MEDIUM,
        title=(
            "A large text response is compressed when the client accepts it, and decodes to the same bytes"
        ),
        why="This is the purpose of the item: less to transfer, and nothing changed.",
        source="RFC 9110 §8.4, §12.5.3",
        depends_on=(On.ROUTE, On.ENCODING, On.CONNECTION, On.REPEAT, On.SIZE, On.HTTP_VERSION),
    ),
    Assertion(
        id="CMP-2",
        item="compression",
        severity=Severity.MEDIUM,
        title="Both the compressed and the plain variant have Vary: Accept-Encoding",
        why="A shared cache otherwise hands the compressed body to a client that cannot read it.",
        source="RFC 9110 §12.5.5",
        depends_on=(On.ROUTE, On.ENCODING, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="CMP-3",
        item="compression",
        severity=Severity.HIGH,
        title="A coding that the client forbids with q=0 is never used",
        why="A client that says it cannot decode gzip gets garbage when it is sent gzip.",
        source="RFC 9110 §12.5.3",
        depends_on=(On.ROUTE, On.ENCODING, On.CONNECTION, On.REPEAT, On.VALUE),
    ),
    Assertion(
        id="CMP-4",
        item="compression",
        severity=Severity.LOW,
        title="A client that accepts nothing on offer gets an answer, not a server error",
        why="Either 406 or the plain body is right; failing is not.",
        source="RFC 9110 §12.5.3, httpwg/http-core#980",
        depends_on=(On.ROUTE, On.ENCODING, On.CONNECTION),
    ),
    Assertion(
        id="CMP-5",
        item="compression",
        severity=Severity.INFO,
        title="The coding that the client prefers is used, and names compare without case",
        why="It costs nothing to honour and saves the client work.",
        source="RFC 9110 §8.4.1, §12.5.3",
        depends_on=(On.ROUTE, On.ENCODING),
    ),
    Assertion(
        id="CMP-6",
        item="compression",
        severity=Severity.LOW,
        title="Compression never makes a body larger",
        why="A small body grows by the header of the coding, and both ends pay for it in time.",
        source="RFC 9110 §8.4.1",
        depends_on=(On.ROUTE, On.STATUS, On.SIZE, On.ENCODING),
    ),
    Assertion(
        id="CMP-7",
        item="compression",
        severity=Severity.MEDIUM,
        title="Variants do not share a strong validator, and a conditional request still gives 304",
        why=(
            "Equal strong ETags promise equal bytes: a range or a conditional request across variants mixes"
            " two bodies."
        ),
        source="RFC 9110 §8.8.1, §8.8.3, §13.1.2",
        depends_on=(On.ROUTE, On.ENCODING, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="CMP-8",
        item="compression",
        severity=Severity.MEDIUM,
        title=(
            "No coding is applied twice or to a response that has no body or is compressed already, and "
            "lengths are true"
        ),
        why=(
            "A doubly encoded image or a wrong Content-Length is a broken response, and it often appears "
            "only behind one proxy."
        ),
        source="RFC 9110 §6.4.1, §8.4, §8.6",
        depends_on=(On.METHOD, On.STATUS, On.ENCODING, On.CONNECTION),
    ),
    Assertion(
        id="CMP-9",
        item="compression",
        severity=Severity.MEDIUM,
        title="A stream is sent event by event, not held back until a buffer is full",
        why="A compressor that waits for its buffer turns live events into one late answer.",
        source="WHATWG HTML: server-sent events, Kludex/starlette#2753",
        depends_on=(On.ENCODING, On.CONNECTION, On.HTTP_VERSION),
    ),
)
