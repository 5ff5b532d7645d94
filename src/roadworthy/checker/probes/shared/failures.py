"""What a service reports about a failure: the request id of its response, and its records."""

from __future__ import annotations

import re

from ...http.wire import Answer
from ...read.records import Record
from ...read.shapes import members

__all__ = ("ABANDONED", "errors_of", "request_id_of")

ABANDONED = re.compile(
    r"exception was never retrieved|Task was destroyed|was never awaited"
    r"|unhandled ?(?:promise ?)?rejection|nobody handled it|goroutine \d+ \[",
    re.IGNORECASE,
)
"""What asyncio, Node.js, Go and our own layer write about a failure that nobody has waited for."""


def request_id_of(answer: Answer) -> str | None:
    """Return the request id that a response names in a field or in its error."""
    for name in ("x-request-id", "request-id", "x-correlation-id", "x-trace-id"):
        if answer.field(name):
            return answer.field(name)
    found = members(answer.json()).get("request_id")
    return found if isinstance(found, str) else None


def errors_of(records: list[Record], request_id: str) -> list[Record]:
    """Return the error records of a request; an access record that reports the 5xx is no second one."""
    mine = [record for record in records if record.rank >= 40 and record.mentions(request_id)]
    with_error = [record for record in mine if record.get("error") is not None]
    return with_error or mine[:1]
