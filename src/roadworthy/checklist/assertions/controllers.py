"""What the checklist promises under ``controllers`` (CTL)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="CTL-1",
        item="controllers",
        severity=Severity.HIGH,
        title="Each route returns the success status that it documents",
        why=(
            "Clients and generated code branch on the documented status; 200 where 201 or 204 was promised "
            "breaks them."
        ),
        source="RFC 9110 §15.3, OpenAPI 3.1 Responses Object",
        depends_on=(On.METHOD, On.ROUTE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="CTL-2",
        item="controllers",
        severity=Severity.MEDIUM,
        title="A created resource is announced with a Location that reads back equal",
        why="It is the one place where the client learns where its new resource is.",
        source="RFC 9110 §10.2.2, §15.3.2",
        depends_on=(On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="CTL-3",
        item="controllers",
        severity=Severity.HIGH,
        title="Reading, changing or deleting a resource that does not exist returns 404",
        why="A 500, or a 200 with null in it, makes each client write a check of its own.",
        source="RFC 9110 §15.5.5",
        depends_on=(On.METHOD, On.ROUTE, On.REPEAT, On.VALUE),
    ),
    Assertion(
        id="CTL-4",
        item="controllers",
        severity=Severity.MEDIUM,
        title=(
            "Malformed JSON returns 400; well-formed but unacceptable values return 422 with one entry "
            "per field"
        ),
        why=(
            "The first is a mistake of the program, the second of its user; only the second can be shown "
            "beside a form."
        ),
        source="RFC 9110 §15.5.1, §15.5.21, RFC 9457 §3",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE, On.CONNECTION),
    ),
    Assertion(
        id="CTL-5",
        item="controllers",
        severity=Severity.MEDIUM,
        title="A conflict with stored data returns 409 and changes nothing",
        why=("A client can ask its user for another value only if it can tell a collision from a fault."),
        source="RFC 9110 §15.5.10",
        depends_on=(On.METHOD, On.ROUTE, On.PARALLEL, On.REPEAT),
    ),
    Assertion(
        id="CTL-6",
        item="controllers",
        severity=Severity.MEDIUM,
        title="Lists are bounded, and following the cursor visits every element exactly once",
        why=(
            "Pages counted by offset skip and repeat elements while others write, and an unbounded list is "
            "a way to stop the service."
        ),
        source="API4:2023",
        depends_on=(On.VALUE, On.REPEAT, On.PARALLEL, On.SIZE),
    ),
)
