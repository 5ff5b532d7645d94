"""What the checklist promises under ``request-validation`` (VAL)."""

from ..dimensions import Dimension as On
from ..model import Assertion, Severity

__all__ = ("ASSERTIONS",)

ASSERTIONS = (
    Assertion(
        id="VAL-0",
        item="request-validation",
        severity=Severity.HIGH,
        title="A valid request is accepted and reads back equal",
        why=(
            "This is the control of the family: a service that refuses everything would pass every other "
            "assertion, so none of them counts without it. A network may deliver a request in any pieces, "
            "and it stays the same request."
        ),
        source="RFC 9110 §15.3.2, RFC 9112 §2.2",
        depends_on=(On.METHOD, On.MEDIA_TYPE, On.CONNECTION, On.SIZE, On.REPEAT, On.PARALLEL, On.VALUE),
    ),
    Assertion(
        id="VAL-1",
        item="request-validation",
        severity=Severity.HIGH,
        title="Malformed JSON, an empty body or a wrong top-level value is refused with a 4xx",
        why=(
            "A 2xx means the service stored something that it did not understand; a 5xx means that it fell "
            "over."
        ),
        source="RFC 9110 §15.5.1",
        depends_on=(On.METHOD, On.ROUTE, On.MEDIA_TYPE, On.CONNECTION, On.REPEAT, On.VALUE, On.SIZE),
    ),
    Assertion(
        id="VAL-2",
        item="request-validation",
        severity=Severity.MEDIUM,
        title="A body of another media type is refused",
        why=(
            "A JSON body sent as text/plain crosses origins without a preflight, so accepting it opens "
            "writes to any web page."
        ),
        source="RFC 9110 §15.5.16, ASVS 5.0 3.5.2, OWASP REST Security Cheat Sheet",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE, On.CONNECTION),
    ),
    Assertion(
        id="VAL-3",
        item="request-validation",
        severity=Severity.HIGH,
        title="A missing required field or a value of the wrong type is refused",
        why="What the schema says must be what is enforced, for each field by itself.",
        source="ASVS 5.0 2.2.1, API3:2023",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="VAL-4",
        item="request-validation",
        severity=Severity.MEDIUM,
        title="An unknown field is refused or ignored, never stored",
        why=("A client that can set is_admin by adding it to the body has been given the right to do so."),
        source="API3:2023, CWE-915",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE),
    ),
    Assertion(
        id="VAL-5",
        item="request-validation",
        severity=Severity.HIGH,
        title="A number outside the ordinary range is refused or kept exactly",
        why=(
            "NaN and 1e400 crash serialisers, and an integer above 2^53 changes silently in any reader that"
            " uses doubles."
        ),
        source="RFC 8259 §6, RFC 7493 §2.2",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE),
    ),
    Assertion(
        id="VAL-6",
        item="request-validation",
        severity=Severity.MEDIUM,
        title="Text of any kind is kept exactly or refused, never a 5xx",
        why=(
            "Invalid UTF-8, lone surrogates and NUL reach a driver or an encoder that cannot hold them, "
            "which turns a bad request into a server error."
        ),
        source="RFC 8259 §8.1, §8.2, RFC 3629",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE, On.SIZE),
    ),
    Assertion(
        id="VAL-7",
        item="request-validation",
        severity=Severity.MEDIUM,
        title="Deep nesting is refused without harm",
        why=(
            "A few hundred kilobytes of brackets are enough to exhaust the stack or the memory of a "
            "careless parser."
        ),
        source="RFC 8259 §9, CWE-674",
        depends_on=(On.METHOD, On.ROUTE, On.SIZE, On.CONNECTION),
    ),
    Assertion(
        id="VAL-8",
        item="request-validation",
        severity=Severity.HIGH,
        title="The size of a body is limited, whether it is declared or not",
        why=(
            "Without a limit one client fills the memory with one request; a limit that trusts "
            "Content-Length is passed by leaving it out."
        ),
        source="RFC 9110 §15.5.14, API4:2023",
        depends_on=(On.METHOD, On.ROUTE, On.SIZE, On.CONNECTION, On.MEDIA_TYPE),
    ),
    Assertion(
        id="VAL-9",
        item="request-validation",
        severity=Severity.MEDIUM,
        title="Bad path and query values are refused, and the size of an answer is bounded",
        why=(
            "A limit of a billion is a request for the whole table, and an identifier that is not a number "
            "must not become a 500."
        ),
        source="API4:2023, RFC 9110 §15.5.1",
        depends_on=(On.ROUTE, On.VALUE, On.CONNECTION, On.REPEAT),
    ),
    Assertion(
        id="VAL-10",
        item="request-validation",
        severity=Severity.LOW,
        title=(
            "A refusal names the field and does not repeat what was sent; oversize or ambiguous messages "
            "are refused too"
        ),
        why=(
            "The author of a client needs to know what to change, and a password in an error message ends "
            "up in the client's log."
        ),
        source="RFC 9457 §3, RFC 9112 §6.1, ASVS 5.0 4.2.1",
        depends_on=(On.METHOD, On.ROUTE, On.VALUE),
    ),
)
