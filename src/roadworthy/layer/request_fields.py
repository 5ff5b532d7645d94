"""What several lines of one field mean: the one table, for everything here that reads a request's fields.

A dictionary made of the lines keeps the last one. The app may take the first, and a proxy before us both:
then a limit, an identity or the end of a body is judged by another line than the one that is used. So every
field that is read here has its rule, and what no rule names is a list (RFC 9110 §5.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from ..errors import BadRequestError
from ..types import Headers

__all__ = ("FIELDS", "Repeats", "join_fields")


class Repeats(Enum):
    """What several lines of a field mean."""

    NEVER = "never"
    """Refused, for they would differ in who is asked or where the body ends."""
    EQUAL = "equal"
    """One value: equal lines are one; lines that differ are refused."""
    LIST = "list"
    """Joined by ``, ``. A field of one value is malformed once joined; its reader decides what that means."""
    PAIRS = "pairs"
    """Joined by ``; ``."""


FIELDS: Mapping[bytes, Repeats] = MappingProxyType(
    {
        b":authority": Repeats.NEVER,  # as Host
        b"host": Repeats.NEVER,  # RFC 9112 §3.2
        b"content-length": Repeats.NEVER,  # RFC 9112 §6.3 (5)
        b"content-type": Repeats.NEVER,  # RFC 9110 §8.3: recipients differ in which line counts
        b"authorization": Repeats.EQUAL,  # RFC 9110 §11.6.2: one set of credentials
        b"origin": Repeats.EQUAL,  # RFC 6454 §7.3
        b"access-control-request-method": Repeats.EQUAL,  # Fetch: one method
        b"sec-websocket-key": Repeats.EQUAL,  # RFC 6455 §11.3.1
        b"sec-websocket-version": Repeats.EQUAL,  # RFC 6455 §11.3.5
        b"cookie": Repeats.PAIRS,  # RFC 9113 §8.2.3; RFC 6265 §5.4 allows one line in HTTP/1.1
        b"accept": Repeats.LIST,
        b"accept-encoding": Repeats.LIST,
        b"access-control-request-headers": Repeats.LIST,
        b"connection": Repeats.LIST,
        b"content-encoding": Repeats.LIST,  # each line is a further coding
        b"expect": Repeats.LIST,
        b"forwarded": Repeats.LIST,  # RFC 7239 §4: one element for each proxy
        b"if-none-match": Repeats.LIST,
        b"sec-websocket-extensions": Repeats.LIST,  # RFC 6455 §11.3.2
        b"sec-websocket-protocol": Repeats.LIST,  # RFC 6455 §11.3.4
        b"te": Repeats.LIST,
        b"tracestate": Repeats.LIST,  # Trace Context §3.3.1.1
        b"transfer-encoding": Repeats.LIST,  # RFC 9112 §6.1: each line is a further coding
        b"upgrade": Repeats.LIST,
        b"x-forwarded-for": Repeats.LIST,  # one for each proxy
        b"x-forwarded-proto": Repeats.LIST,  # one for each proxy
        # Of one value, but not ours to refuse for: a proxy may have added its own. Joined they are malformed.
        b"idempotency-key": Repeats.LIST,  # 422
        b"traceparent": Repeats.LIST,  # a new trace: Trace Context §3.2.2, of malformed ones
        b"x-request-id": Repeats.LIST,  # an id of our own
    }
)
"""The rule of every request field that the server, the layer or a pattern reads."""


def join_fields(raw: Headers) -> tuple[dict[bytes, bytes], BadRequestError | None]:
    """Return the fields by name, the lines of each made one by its rule, and the refusal of the request.

    Parameters:
        raw: the fields as they came, names in lower case.

    The refusal is that of the first field whose lines must not stand together, None where there is none.
    """
    fields: dict[bytes, bytes] = {}
    repeated: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        if name in fields:
            repeated.setdefault(name, [fields[name]]).append(value)
        else:
            fields[name] = value
    refused: BadRequestError | None = None
    for name, values in repeated.items():
        rule = FIELDS.get(name, Repeats.LIST)
        if rule is Repeats.EQUAL:
            values = list(dict.fromkeys(values))
        if refused is None and (rule is Repeats.NEVER or (rule is Repeats.EQUAL and len(values) > 1)):
            refused = BadRequestError(
                f"There is more than one {name.decode('ascii').strip(':').title()} field"
            )
        fields[name] = (b"; " if rule is Repeats.PAIRS else b", ").join(values)
    return fields, refused
